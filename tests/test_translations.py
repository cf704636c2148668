"""No page says anything in the wrong language: everything is marked, everything marked is translated."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import Environment, nodes

from tests.builders import make_sale
from tests.translations import read, source, titles
from webapp.db import Database
from webapp.web import languages
from webapp.web.failures import TITLES
from webapp.web.languages import LANGUAGES, SOURCE
from webapp.web.phrases import NEXT_STEPS

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
OTHERS = sorted(set(LANGUAGES) - {SOURCE})
# What is the same in every language.
NAMES = {"Jari", "자리"}
SPEAKS_ENGLISH = {"api/docs.html": "the API's documentation, for developers, like the API itself"}
READ_ALOUD = {"alt", "aria-label", "aria-roledescription", "placeholder", "title"}
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}|%%")


def texts(entry: str | tuple[str, ...] | list[str]) -> list[str]:
    return [entry] if isinstance(entry, str) else list(entry)


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    known = {tuple(texts(message.id)): texts(message.string) for message in read(language)}
    missing = {
        tuple(texts(message.id))
        for message in source()
        if message.id and not all(known.get(tuple(texts(message.id)), [""]))
    }
    assert missing == set(), "python -m tests.translations, then translate"
    unused = known.keys() - {tuple(texts(message.id)) for message in source()}
    assert unused == set(), "python -m tests.translations"


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_what_is_filled_in(language: str) -> None:
    for message in read(language):
        if message.id:
            wanted = set(PLACEHOLDER.findall(texts(message.id)[-1]))
            for text in texts(message.string):
                assert set(PLACEHOLDER.findall(text)) == wanted, message.id


def test_what_failures_and_phrases_say_is_marked() -> None:
    marked = {text for message in source() if message.id for text in texts(message.id)}
    assert {*titles(), *TITLES.values(), *NEXT_STEPS.values()} <= marked


class _Reader(HTMLParser):
    """Collects what people read or hear."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.said += [value for name, value in attrs if name in READ_ALOUD and value]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def literals(template: str) -> Iterator[str]:
    """Yield the words that a template says without asking a catalogue."""
    environment = Environment(extensions=["jinja2.ext.i18n"])
    tree = environment.parse((TEMPLATES / template).read_text("utf-8"))
    page = "".join(
        node.data if isinstance(node, nodes.TemplateData) else "\N{OBJECT REPLACEMENT CHARACTER}"
        for output in tree.find_all(nodes.Output)
        for node in output.nodes
    )
    reader = _Reader()
    reader.feed(page)
    for text in reader.said:
        yield from (word for word in re.findall(r"[^\W\d_]{2,}", text) if word not in NAMES)


@pytest.mark.parametrize(
    "template", sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.html"))
)
def test_templates_say_nothing_of_their_own(template: str) -> None:
    found = list(literals(template))
    assert bool(found) is (template in SPEAKS_ENGLISH), found


# -- choosing a language ------------------------------------------------------------------------


def heading(client: FlaskClient, **headers: str) -> str:
    page = client.get("/", headers=headers)
    match = re.search(r"<h1>(.*?)</h1>", page.text)
    assert match
    assert f'lang="{page.headers["Content-Language"]}"' in page.text
    return match[1]


def test_the_browser_chooses(client: FlaskClient) -> None:
    assert heading(client) == "Events"
    assert heading(client, **{"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}) == "공연"
    assert heading(client, **{"Accept-Language": "fr, en;q=0.5"}) == "Events"
    assert heading(client, **{"Accept-Language": "fr"}) == "Events"


def test_the_visitor_switches_and_stays_where_they_were(client: FlaskClient) -> None:
    switched = client.get("/language/ko?next=/sign-in?next=/wallet")
    assert switched.status_code == 303
    assert switched.headers["Location"] == "/sign-in?next=/wallet"
    assert heading(client, **{"Accept-Language": "en"}) == "공연"
    assert client.get("/language/en?next=//evil.example").headers["Location"] == "/"
    assert heading(client) == "Events"
    assert client.get("/language/tlh").status_code == 404


def test_an_odd_cookie_chooses_nothing(client: FlaskClient) -> None:
    client.set_cookie(languages.COOKIE, "../../etc")
    assert heading(client) == "Events"


def test_the_api_speaks_english(client: FlaskClient) -> None:
    refused = client.get("/api/v1/events/none", headers={"Accept-Language": "ko"})
    assert refused.json is not None
    assert refused.json["title"] == "There is nothing here."
    page = client.get("/events/none", headers={"Accept-Language": "ko"})
    assert "여기에는 아무것도 없습니다." in page.text


def test_money_dates_and_plurals_follow_the_language(client: FlaskClient, db: Database) -> None:
    sale = make_sale(db, price_minor=12_000, seats_max=1)
    path = f"/performances/{sale}"
    english = client.get(path).text
    korean = client.get(path, headers={"Accept-Language": "ko"}).text
    assert "₩12,000" in english
    assert "12,000원" in korean
    assert "At most 1 seat for" in english
    assert "최대 좌석 1개." in korean
    assert re.search(r"\d{4}년 \d{1,2}월 \d{1,2}일 \([월화수목금토일]\) \d\d:\d\d", korean)


def test_languages_outside_of_a_request_are_the_source(app: Flask) -> None:
    assert languages.language() == SOURCE
    with app.test_request_context(headers={"Accept-Language": "ko"}):
        assert languages.ngettext("%(num)s seat", "%(num)s seats", 2) == "좌석 2개"
