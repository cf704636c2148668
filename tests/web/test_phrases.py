"""Words for people: exact, and the same way back."""

from datetime import UTC, datetime

import pytest
from flask import Flask

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


@pytest.mark.parametrize(
    ("seconds", "text", "korean"),
    [
        (1, "1 second", "1초"),
        (90.9, "90 seconds", "90초"),
        (120, "2 minutes", "2분"),
        (290, "4 minutes", "4분"),
        (5_400, "90 minutes", "90분"),
        (7_199, "119 minutes", "119분"),
        (7_200, "2 hours", "2시간"),
        (9_000, "2 hours 30 minutes", "2시간 30분"),
        (86_400, "24 hours", "24시간"),
    ],
)
def test_a_limit_is_never_overstated(app: Flask, seconds: float, text: str, korean: str) -> None:
    assert phrases.duration(seconds) == text
    with app.test_request_context(headers={"Accept-Language": "ko"}):
        assert phrases.duration(seconds) == korean


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ((5, 40), "about a minute at most"),
        ((59, 61), "at most 2 minutes"),
        ((90, 290), "between 1 and 5 minutes"),
        ((180, 180), "at most 3 minutes"),
        ((40, 6_000), "at most 100 minutes"),
        ((4_300, 7_201), "between 1.1 and 2.1 hours"),
        ((7_200, 7_200), "at most 120 minutes"),
    ],
)
def test_a_range_is_never_narrowed(seconds: tuple[int, int], text: str) -> None:
    assert phrases.between(seconds) == text


def test_what_is_left_is_counted_down() -> None:
    assert [phrases.countdown(s) for s in (245.9, 59, -3)] == ["4:06", "0:59", "0:00"]
