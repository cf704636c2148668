"""The published contract is the code: valid, complete, and nothing beside it."""

from html.parser import HTMLParser

from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from tests.web.contract import BY_NAME
from webapp.web import contract, failures
from webapp.web.api import OPERATIONS, described
from webapp.web.contract import BASE, Operation


def test_the_document_is_valid_and_served(client: FlaskClient) -> None:
    response = client.get("/api/v1/openapi.json")
    assert response.status_code == 200
    assert response.json["openapi"].startswith("3.1")
    assert response.json == described()
    validate(response.json)


def test_every_route_is_in_the_document_and_every_call_has_a_route(app: Flask) -> None:
    routes = {
        (contract.PARAMETER.sub(r"{\2}", rule.rule.removeprefix(BASE)), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.") and rule.endpoint not in ("api.openapi", "api.docs")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    documented = {
        (path, method) for path, calls in described()["paths"].items() for method in calls
    }
    assert documented == routes
    assert len(BY_NAME) == len(OPERATIONS)


def test_every_code_has_one_status_and_a_title() -> None:
    for code in {code for operation in OPERATIONS for code in operation.refused_with()}:
        assert 400 <= contract.status_of(code) <= 503
        assert len(contract.title_of(code)) > 10
    domain = {leaf.code for leaf in contract.refusals()}
    assert not domain & set(contract.STATUSES)
    assert set(contract.STATUSES) <= set(failures.TITLES)


def test_no_code_is_declared_twice() -> None:
    def twice(operation: Operation) -> list[str]:
        codes = operation.refused_with()
        return [code for code in codes if codes.count(code) > 1]

    assert {op.view.__name__: twice(op) for op in OPERATIONS if twice(op)} == {}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]
        assert "style" not in dict(attrs)


def test_the_page_for_people_shows_every_call_and_every_refusal(client: FlaskClient) -> None:
    response = client.get("/api/v1/docs")
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    page = _Page()
    page.feed(response.text)
    assert not page.tags & {"script", "style"}
    assert len(page.ids) == len(set(page.ids))
    assert {f"problem-{code}" for op in OPERATIONS for code in op.refused_with()} <= set(page.ids)
    assert set(BY_NAME) <= set(page.ids)
    inside = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)


def test_a_problem_names_its_place_in_the_page(client: FlaskClient) -> None:
    problem = client.get("/api/v1/holds/none").json
    page, _, anchor = problem["type"].partition("#")
    assert anchor in client.get(page).text
