"""What counts as asking too soon, and how many looks at the page are let through nevertheless."""

import uuid

import pytest

from webapp.web.failures import Rejected
from webapp.web.pacing import EARLY_LOOKS, TOO_SOON_SHARE, Pacing

PAUSE_MS = 60_000


@pytest.fixture
def pacing() -> Pacing:
    return Pacing(kept_max=2)


@pytest.fixture
def one(pacing: Pacing) -> uuid.UUID:
    """A stay that was told a moment ago to wait."""
    stay = uuid.uuid4()
    pacing.told(stay, PAUSE_MS)
    return stay


def early_looks(pacing: Pacing, stay: uuid.UUID) -> int:
    """Look at the page until it refuses; return how often it did not."""
    for looks in range(EARLY_LOOKS + 1):
        try:
            pacing.refuse_reloading(stay)
        except Rejected:
            return looks
        pacing.told(stay, PAUSE_MS)
    raise AssertionError("it never refuses")


def test_who_asks_too_soon_is_told_how_long_to_wait(pacing: Pacing, one: uuid.UUID) -> None:
    with pytest.raises(Rejected) as refused:
        pacing.refuse_hasty(one)
    assert (refused.value.status, refused.value.code) == (429, "poll_too_soon")
    assert refused.value.facts == {"retry_after": PAUSE_MS / 1000 * TOO_SOON_SHARE}
    pacing.refuse_hasty(uuid.uuid4())  # nothing is known of this one


def test_a_few_early_looks_at_the_page_are_let_through(pacing: Pacing, one: uuid.UUID) -> None:
    assert early_looks(pacing, one) == EARLY_LOOKS


def test_an_early_look_puts_nothing_off(pacing: Pacing, one: uuid.UUID) -> None:
    due = pacing._not_before[one]
    early_looks(pacing, one)
    assert pacing._not_before[one] == due


def test_who_is_told_to_come_sooner_may(pacing: Pacing, one: uuid.UUID) -> None:
    pacing.refuse_reloading(one)
    pacing.told(one, 0)
    pacing.refuse_hasty(one)


def test_a_look_that_is_due_brings_new_early_ones(pacing: Pacing, one: uuid.UUID) -> None:
    """Above all after the answer that it is one's turn: the script loads the page again then."""
    early_looks(pacing, one)
    pacing._not_before[one] = 0.0  # time passes
    pacing.told(one, PAUSE_MS)
    assert early_looks(pacing, one) == EARLY_LOOKS


def test_no_more_are_remembered_than_may_be(pacing: Pacing, one: uuid.UUID) -> None:
    pacing.refuse_reloading(one)
    for _ in range(2):
        pacing.told(uuid.uuid4(), PAUSE_MS)
    pacing.refuse_hasty(one)
    assert not pacing._early_looks
