"""Who is sent away when more come than can be served: newcomers, where no waiting room stands."""

import pytest
from flask import Flask

from tests.builders import make_accounts, make_sale
from tests.web.contract import Api
from tests.web.surfer import Surfer
from tests.web.visitors import visitor
from webapp import nowait
from webapp.web.lateness import COME_BACK_SECONDS, LATE_SECONDS


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


@pytest.mark.failure("F39")
@pytest.mark.parametrize("key", [None, "a-key"])  # ahead of Flask, and by it
def test_without_a_room_who_comes_late_is_told_when_to_come_back(api: Api, key: str | None) -> None:
    late = visitor(api, make_sale(api.db, capacity=None))
    api.house.lateness.seconds = LATE_SECONDS + 0.1
    refused = api.call("join_queue", late.who, path=late.path, key=key)
    told = refused.get_json()
    assert (refused.status_code, told["code"]) == (503, "busy")
    soonest, latest = COME_BACK_SECONDS
    assert soonest <= int(refused.headers["Retry-After"]) <= latest
    assert told["retry_after"] == int(refused.headers["Retry-After"])
    api.house.lateness.seconds = LATE_SECONDS - 0.1
    assert late.join().access


def test_a_form_that_was_refused_is_not_sent_again_by_itself(api: Api, app: Flask) -> None:
    sale = make_sale(api.db, capacity=None)
    surfer = Surfer(app, make_accounts(api.db)[0])
    page = surfer.get(f"/performances/{sale}")
    api.house.lateness.seconds = LATE_SECONDS + 0.1
    late = surfer.send(page, "/queue", 503)
    assert int(late.response.headers["Retry-After"]) > 0
    assert "Refresh" not in late.response.headers
    assert "by itself" not in late.words


def test_before_a_waiting_room_nobody_loses_a_place_for_it(api: Api) -> None:
    late = visitor(api, make_sale(api.db, capacity=0))
    api.house.lateness.seconds = 100.0
    assert late.join().waiting


def test_how_late_a_turn_came_is_known_to_a_thread_only(api: Api) -> None:
    """Where all connections wait nobody has waited, so there nobody may join past those who have."""
    with pytest.raises(nowait.MustWait):
        nowait.work(api.house.lateness.refuse_newcomer)


def test_who_is_inside_goes_on(api: Api) -> None:
    inside = visitor(api, make_sale(api.db, capacity=None)).join()
    api.house.lateness.seconds = 100.0
    assert inside.choose().access
