"""The table of failures is whole, and its page says what the tests say."""

from tests import failures


def test_every_row_that_one_machine_can_show_has_a_test() -> None:
    assert failures.REQUIRED - failures.marked().keys() == set()


def test_every_mark_names_a_row() -> None:
    assert failures.marked().keys() <= failures.ROWS.keys()


def test_the_page_is_up_to_date() -> None:
    said = failures.PAGE.read_text("utf-8")
    assert said == failures.page(), "run: python -m tests.failures"
