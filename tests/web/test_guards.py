"""Nobody uses what is another's, and no route stands open by accident."""

import uuid

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.builders import make_accounts
from tests.web.contract import Api, refused
from tests.web.visitors import new_key, visitor

GUARDS = {"public", "customer", "organiser", "door"}
NEED_ROLES = {"organiser", "door"}


def routes(app: Flask) -> list[tuple[Rule, str, str]]:
    """Every route but the static files, with each of its methods and its guard."""
    return [
        (rule, method, app.view_functions[rule.endpoint].guard)
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def url_of(app: Flask, rule: Rule) -> str:
    values = {name: uuid.uuid4() if "id" in name else "x" for name in rule.arguments}
    values |= {name: 1 for name, kind in rule._converters.items() if hasattr(kind, "num_convert")}
    with app.test_request_context():
        built = rule.build(values)
    assert built is not None
    return built[1]


@pytest.mark.failure("F47")
def test_every_route_has_a_guard_and_the_guard_asks_who_it_is(app: Flask) -> None:
    app.config["WTF_CSRF_ENABLED"] = False  # the token of the form is another wall's matter
    client = app.test_client()
    assert {guard for _, _, guard in routes(app)} <= GUARDS
    for rule, method, guard in routes(app):
        response = client.open(url_of(app, rule), method=method)
        what = (rule.rule, method, response.status_code)
        if guard == "public":
            assert response.status_code != 403, what
            assert "sign-in?" not in response.headers.get("Location", ""), what
            if response.is_json and response.status_code == 401:
                assert response.json["code"] == "token_missing", what
        elif rule.rule.startswith("/api/"):
            assert refused(response, 401, "session_missing"), what
        else:
            assert response.status_code == 302, what
            assert "/sign-in" in response.headers["Location"], what


@pytest.mark.failure("F47")
def test_roles_are_asked_for(app: Flask, api: Api) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    [customer] = make_accounts(api.db)
    api.client.set_cookie("jari_session", customer.session)
    for rule, method, guard in routes(app):
        if guard in NEED_ROLES:
            response = api.client.open(url_of(app, rule), method=method, headers=customer.bearer)
            assert response.status_code == 403, (rule.rule, method)


def test_the_api_does_not_read_the_cookie(api: Api) -> None:
    [customer] = make_accounts(api.db)
    api.client.set_cookie("jari_session", customer.session)
    refused(api.call("get_wallet"), 401, "session_missing")


@pytest.mark.failure("F47")
def test_what_is_anothers_is_not_there(api: Api) -> None:
    owner = visitor(api).join().choose("ST-A-1")
    thief = visitor(api, owner.performance_id).join()
    for name in ("get_hold", "release_hold"):
        refused(api.call(name, thief.who, path=owner.holding), 404, "not_found")
    payment = {"access": thief.access, "key": new_key(), "json": owner.holding}
    refused(api.call("pay", thief.who, **payment), 404, "not_found")

    owner.pay()
    refused(api.call("get_booking", thief.who, path=owner.booked), 404, "not_found")
    for name in ("get_ticket_svg", "get_ticket_pdf"):
        refused(api.call(name, thief.who, path=owner.ticket), 404, "not_found")
    response = api.call("cancel", thief.who, key=new_key(), path=owner.booked)
    refused(response, 404, "not_found")
    assert api.ok("list_bookings", thief.who)["items"] == []
    own = thief.choose("ST-A-2").pay()
    mixed = own.booked | {"code": owner.ticket["code"]}
    refused(api.call("get_ticket_svg", thief.who, path=mixed), 404, "not_found")
    assert [e["kind"] for e in api.ok("list_wallet_entries", owner.who)["items"]] == [
        "spend",
        "top_up",
    ]


@pytest.mark.failure("F47")
def test_anothers_access_token_neither_holds_nor_pays(api: Api) -> None:
    owner = visitor(api).join().choose("ST-A-1")
    thief = visitor(api, owner.performance_id).who
    wish = {"json": {"seats": ["ST-A-2"]}}
    response = api.call("place_hold", thief, access=owner.access, path=owner.path, **wish)
    refused(response, 403, "token_wrong_customer")
    response = api.call("pay", thief, access=owner.access, key=new_key(), json=owner.holding)
    refused(response, 403, "token_wrong_customer")
    owner.pay()
