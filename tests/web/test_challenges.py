"""The challenge before joining: off by default, and a work that can be checked without keeping anything."""

import hashlib
import itertools
from typing import Any

import pytest
from flask import Flask

from tests.builders import make_accounts, make_sale
from tests.conftest import AdvancingClock
from tests.web.contract import Api, refused
from tests.web.surfer import Surfer
from tests.web.visitors import stand_within_a_window, visitor
from webapp.db import Database
from webapp.web.challenges import WINDOW_SECONDS, ProofOfWork


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


@pytest.fixture
def work(api: Api) -> ProofOfWork:
    stand_within_a_window(api)
    api.house.challenge = ProofOfWork(api.db.clock, "k" * 40, 6)
    return api.house.challenge


def solve(work: ProofOfWork, who: Any, sale: int) -> str:
    challenge = work.issue(who.id, sale)["challenge"]
    answers = (f"{challenge}:{nonce}" for nonce in itertools.count())
    return next(answer for answer in answers if work.accepts(who.id, sale, answer))


def test_nothing_is_asked_unless_it_is_switched_on(api: Api) -> None:
    assert api.house.challenge is None
    visitor(api).join()


def test_whoever_has_done_the_work_joins(api: Api, work: ProofOfWork) -> None:
    someone = visitor(api)
    problem = refused(
        api.call("join_queue", someone.who, path=someone.path), 403, "challenge_required"
    )
    assert problem["challenge"] == work.issue(someone.who.id, someone.performance_id)
    answer = solve(work, someone.who, someone.performance_id)
    headers = {"Challenge-Answer": answer}
    api.ok("join_queue", someone.who, path=someone.path, headers=headers)


def test_an_answer_is_ones_own_and_ends(api: Api, work: ProofOfWork, clock: AdvancingClock) -> None:
    someone, other = make_accounts(api.db, 2)
    answer = solve(work, someone, 1)
    assert not work.accepts(other.id, 1, answer)
    assert not work.accepts(someone.id, 2, answer)
    for spoilt in ("", ":", answer[:32], answer + "x" * 60, "é:1"):
        assert not work.accepts(someone.id, 1, spoilt)
    clock.advance(2 * WINDOW_SECONDS)
    assert not work.accepts(someone.id, 1, answer)


def test_the_work_is_the_bits_it_says(api: Api, work: ProofOfWork) -> None:
    [someone] = make_accounts(api.db)
    challenge = work.issue(someone.id, 1)["challenge"]
    answers = [f"{challenge}:{nonce}" for nonce in range(2_000)]
    digests = [hashlib.sha256(answer.encode()).hexdigest() for answer in answers]
    six_zero_bits = [digest[0] == "0" and digest[1] in "0123" for digest in digests]
    assert [work.accepts(someone.id, 1, answer) for answer in answers] == six_zero_bits
    assert any(six_zero_bits)


def test_the_page_brings_the_challenge_along(app: Flask, db: Database, work: ProofOfWork) -> None:
    sale = make_sale(db, capacity=1)
    [person] = make_accounts(db)
    surfer = Surfer(app, person)
    page = surfer.get(f"/performances/{sale}")
    assert f'data-challenge="{work.issue(person.id, sale)["challenge"]}"' in page.text
    assert (
        surfer.send(page, "/queue", 403).heading == "Something is asked of you before you may join."
    )
    surfer.send(f"/performances/{sale}", "/queue", challenge_answer=solve(work, person, sale))
    assert surfer.get(f"/performances/{sale}/queue").heading == "You are in the waiting room"


def test_an_answer_that_comes_too_late_brings_a_new_challenge(
    app: Flask, db: Database, work: ProofOfWork, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=1)
    [person] = make_accounts(db)
    surfer = Surfer(app, person)
    page = surfer.get(f"/performances/{sale}")
    late = solve(work, person, sale)
    clock.advance(2 * WINDOW_SECONDS)
    again = surfer.follow(surfer.send(page, "/queue", challenge_answer=late))
    assert "The page had been open for too long." in again.words
    assert f'data-challenge="{work.issue(person.id, sale)["challenge"]}"' in again.text
    surfer.send(again, "/queue", challenge_answer=solve(work, person, sale))
    assert surfer.get(f"/performances/{sale}/queue").heading == "You are in the waiting room"
