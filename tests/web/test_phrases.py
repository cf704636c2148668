"""Words for people: exact, and the same way back."""

from datetime import UTC, datetime, timedelta

import pytest

from webapp.web import phrases


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (12_000, "KRW", "₩12,000"),
        (0, "KRW", "₩0"),
        (-3_000, "KRW", "−₩3,000"),
        (1_250, "USD", "$12.50"),
        (5, "EUR", "€0.05"),
        (100, "CHF", "CHF 1.00"),
    ],
)
def test_money_is_written_with_its_currency(amount: int, currency: str, text: str) -> None:
    assert phrases.money(amount, currency) == text


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("12,000", "KRW", 12_000),
        (" 12000 ", "KRW", 12_000),
        ("12.5", "USD", 1_250),
        ("12", "USD", 1_200),
        (".5", "USD", 50),
        ("12.5", "KRW", None),
        ("12.345", "USD", None),
        ("", "KRW", None),
        (".", "KRW", None),
        ("-5", "KRW", None),
        ("²", "KRW", None),
        ("١٢", "KRW", None),
        ("9" * 16, "KRW", None),
    ],
)
def test_money_is_read_as_people_write_it(text: str, currency: str, amount: int | None) -> None:
    assert phrases.parse_money(text, currency) == amount


@pytest.mark.parametrize("currency", ["KRW", "USD"])
def test_what_a_field_is_filled_with_can_be_read(currency: str) -> None:
    for amount in (0, 5, 1_250, 99_999_999):
        assert phrases.parse_money(phrases.enter_money(amount, currency), currency) == amount


def test_times_are_korean_and_say_so() -> None:
    moment = datetime(2026, 11, 22, 15, 30, 5, tzinfo=UTC)
    assert phrases.day_and_time(moment) == "Mon 23 Nov 2026, 00:30 KST (UTC+9)"
    assert phrases.time_of_day(moment) == "00:30:05 KST (UTC+9)"


def test_how_long_something_takes() -> None:
    spans = {20: "less than a minute", 60: "about a minute", 290: "about 5 minutes"}
    for seconds, text in spans.items():
        assert phrases.duration(seconds) == text
    assert phrases.duration(timedelta(hours=3).total_seconds()) == "about 3 hours"
    assert [phrases.countdown(s) for s in (245.9, 59, -3)] == ["4:05", "0:59", "0:00"]
