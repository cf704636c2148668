"""The judge of a soak sees what is wrong: each kind of lie is told to it once."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.shoppers import Reply
from tests.soak.history import API, BOOKINGS_MIN, History, Kept, differences, outcome_of

ACCOUNT = uuid.uuid4()


def sold(count: int = BOOKINGS_MIN) -> tuple[History, Kept]:
    """An honest run: so many bookings, one of them cancelled, one top-up, one scan."""
    history = History()
    kept = Kept({}, {}, set(), 0, {}, {}, set())
    for number in range(count):
        hold_id, reference = uuid.uuid4(), f"REF{number}"
        kept.holds[hold_id] = "paid"
        hold = {"id": str(hold_id)}
        history.note("hold", ACCOUNT, f"{API}/holds", None, "A", Reply(201, hold, {}))
        answer = {"reference": reference}
        path, key = f"{API}/bookings", f"key-{number}"
        history.note("pay", ACCOUNT, path, key, str(hold_id), Reply(0, {}, {}))
        history.note("pay", ACCOUNT, path, key, str(hold_id), Reply(201, answer, {}))
        kept.answers[ACCOUNT, path, key] = answer
        kept.bookings[reference] = hold_id
    ledger_id = uuid.uuid4()
    answer = {"id": str(ledger_id), "amount_minor": 5}
    path = f"{API}/wallet/top-ups"
    history.note("top_up", ACCOUNT, path, "t", "5", Reply(201, answer, {}))
    kept.answers[ACCOUNT, path, "t"] = answer
    kept.top_ups[ledger_id] = 5
    path = f"{API}/bookings/REF0/cancellation"
    history.note("cancel", ACCOUNT, path, "c", "REF0", Reply(201, {"refund_minor": 1}, {}))
    kept.answers[ACCOUNT, path, "c"] = {"refund_minor": 1}
    kept.cancelled.add("REF0")
    history.note("scan", ACCOUNT, f"{API}/scans", None, "CODE", Reply(201, {}, {}))
    kept.scanned.add("CODE")
    return history, replace(kept, refunds=1)


def test_an_honest_run_has_no_differences() -> None:
    assert differences(*sold()) == []


def lose_a_booking(history: History, kept: Kept) -> Kept:
    del kept.bookings["REF1"]
    del kept.answers[ACCOUNT, f"{API}/bookings", "key-1"]
    return kept


def book_twice(history: History, kept: Kept) -> Kept:
    kept.bookings["AGAIN"] = kept.bookings["REF1"]
    return kept


def answer_differently(history: History, kept: Kept) -> Kept:
    kept.answers[ACCOUNT, f"{API}/bookings", "key-1"] = {"reference": "REF2"}
    return kept


def do_what_was_refused(history: History, kept: Kept) -> Kept:
    path, refused = f"{API}/wallet/top-ups", Reply(422, {"code": "invalid"}, {})
    history.note("top_up", ACCOUNT, path, "r", "7", refused)
    ledger_id = uuid.uuid4()
    kept.answers[ACCOUNT, path, "r"] = {"id": str(ledger_id), "amount_minor": 7}
    kept.top_ups[ledger_id] = 7
    return kept


def lose_a_hold(history: History, kept: Kept) -> Kept:
    kept.holds.popitem()
    return kept


def forget_a_release(history: History, kept: Kept) -> Kept:
    hold_id = next(iter(kept.holds))
    history.note("release", ACCOUNT, f"{API}/holds/x", None, str(hold_id), Reply(204, {}, {}))
    return kept


def open_the_door_twice(history: History, kept: Kept) -> Kept:
    history.note("scan", ACCOUNT, f"{API}/scans", None, "CODE", Reply(201, {}, {}))
    return kept


def refund_twice(history: History, kept: Kept) -> Kept:
    return replace(kept, refunds=2)


def add_money(history: History, kept: Kept) -> Kept:
    kept.top_ups[uuid.uuid4()] = 1_000
    return kept


def break_down(history: History, kept: Kept) -> Kept:
    broken = Reply(500, {"code": "internal_error"}, {})
    history.note("look", ACCOUNT, "", None, "", broken)
    return kept


@pytest.mark.parametrize(
    "lie",
    [
        lose_a_booking,
        book_twice,
        answer_differently,
        do_what_was_refused,
        lose_a_hold,
        forget_a_release,
        open_the_door_twice,
        refund_twice,
        add_money,
        break_down,
    ],
)
def test_a_lie_is_noticed(lie: Callable[[History, Kept], Kept]) -> None:
    history, kept = sold()
    kept = lie(history, kept)
    assert differences(history, kept) != []


@pytest.mark.failure("F35")
def test_a_run_in_which_nothing_was_sold_fails_however_fast_it_was() -> None:
    history, kept = sold(count=1)
    for _ in range(1_000):
        refused = Reply(503, {"code": "busy"}, {})
        history.note("pay", ACCOUNT, f"{API}/bookings", None, "x", refused)
    assert any("bookings: such a run shows nothing" in one for one in differences(history, kept))


@pytest.mark.failure("F36")
def test_a_refusal_is_no_failure_and_an_undeclared_error_is_one() -> None:
    assert outcome_of(Reply(409, {"code": "seats_taken"}, {})) == "refused"
    assert outcome_of(Reply(503, {"code": "busy"}, {})) == "refused"
    assert outcome_of(Reply(503, {"code": "outcome_unknown"}, {})) == "unknown"
    assert outcome_of(Reply(500, {"code": "internal_error"}, {})) == "broken"
    assert outcome_of(Reply(502, {}, {})) == "broken"
