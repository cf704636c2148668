"""Words for people: money, times, seat states, and what to do after a refusal.

Promises:

1. Money is shown with its currency and exactly as many decimals as the currency has.
2. Times are shown in the house's zone with its offset from UTC beside them: a buyer abroad must not
   guess.
3. Every refusal has a next step. A test enumerates them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask

from webapp.domain.seatmap import Place, Seatmap

ZONE = ZoneInfo("Asia/Seoul")

_SYMBOLS = {"KRW": "₩", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
_DECIMALS = {"KRW": 0, "JPY": 0}
_DECIMALS_USUAL = 2

SEAT_STATES = {"f": "free", "h": "held", "s": "sold", "b": "closed"}
SALE_STATES = {
    "scheduled": "Not on sale yet",
    "prequeue": "Waiting room open",
    "open": "On sale",
    "paused": "Paused for a moment",
    "sold_out": "Sold out",
    "closed": "Sale closed",
}
LEDGER_KINDS = {"top_up": "Top-up", "spend": "Paid for a booking", "refund": "Refund"}

NEXT_STEPS = {
    "email_taken": "Sign in with it, or use another address.",
    "too_many_attempts": "Wait a little, then try again.",
    "sale_not_open": "Come back when the sale opens; the performance's page says when.",
    "sale_closed": "There may be other performances. Seats that you hold can still be paid.",
    "sale_paused": "Your turn and your seats are safe. Try again in a minute.",
    "sold_out": "Seats come back when somebody cancels, so looking again later may help.",
    "not_admitted": "Go to the performance's page and join the waiting room.",
    "turn_over": "Go to the performance's page; you may join again while seats are on sale.",
    "seat_unknown": "Choose from the seats on the page.",
    "seats_taken": "They went a moment ago, and none were held for you. Please choose others.",
    "too_many_seats": "Choose fewer seats; what you have bought before counts too.",
    "leaves_single_seat": "Move your choice by one seat, or take the single seat as well.",
    "not_enough_seats": "Try fewer seats, another price level or another section.",
    "hold_expired": "Nothing was charged. Look whether the seats are still free.",
    "hold_replaced": "Only your newest choice counts. Nothing was charged.",
    "insufficient_funds": "Top up your wallet; your seats stay held meanwhile.",
    "top_up_closed": "Please ask the box office to credit your wallet.",
    "idempotency_key_reused": "Open the page again and send the form from there.",
    "already_booked": "You will find it among your bookings.",
    "already_cancelled": "The money is back in your wallet.",
    "too_late": "Please ask the box office.",
    "already_scanned": "A booking of which somebody is already inside cannot be cancelled.",
    "ticket_unknown": "Check the code letter by letter.",
    "ticket_voided": "Its booking was cancelled and paid back.",
    "wrong_performance": "Check the date on the ticket.",
    "invalid": "Check what you entered and send it again.",
    "not_found": "The address may be mistyped, or it is not yours to see.",
    "busy": "Nothing was charged or changed. Go back and try once more in a few seconds.",
    "outcome_unknown": "Look among your bookings and in your wallet first; then send it again.",
    "internal_error": "If you were paying, look among your bookings before you try again.",
    "malformed": "Go back and try again.",
    "bad_credentials": "Check both and try again.",
    "role_missing": "Sign in with an account that may, or ask the organiser.",
    "csrf": "Go back, load the page again and send it from there.",
    "method_not_allowed": "Start again from the list of events.",
    "too_large": "Send less at once.",
}
_TURN_OVER = {
    "paid": "Your seats are paid; you will find them among your bookings.",
    "left": "You have left the waiting room. You may join again, at the end of the line.",
    "expired": "Your time to choose is over. You may join again while seats are on sale.",
}


def next_step(code: str, facts: Mapping[str, Any]) -> str:
    """Say what somebody can do after a refusal."""
    if code == "turn_over":
        return _TURN_OVER.get(facts.get("reason", ""), NEXT_STEPS[code])
    return NEXT_STEPS.get(code, "Start again from the list of events.")


def section_names(hall: Seatmap) -> dict[str, str]:
    """Return what people call the hall's sections, by code."""
    named = {section["code"]: section["name"] for section in hall.geometry.get("sections", ())}
    return {place.section: named.get(place.section, place.section) for place in hall.places}


def seat(place: Place, names: Mapping[str, str]) -> str:
    """Write where a seat is: `Stalls, row A, seat 12`."""
    return f"{names[place.section]}, row {place.row}, seat {place.number}"


# -- money --------------------------------------------------------------------------------------


def money(amount_minor: int, currency: str) -> str:
    """Write an amount as people do: `₩12,000`, `$12.50`, `−₩3,000`."""
    decimals = _DECIMALS.get(currency, _DECIMALS_USUAL)
    whole, rest = divmod(abs(amount_minor), 10**decimals)
    fraction = f".{rest:0{decimals}}" if decimals else ""
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    return f"{'−' if amount_minor < 0 else ''}{symbol}{whole:,}{fraction}"


def parse_money(text: str, currency: str) -> int | None:
    """Read an amount as people write it (`12,000`, `12.50`) in minor units; None if it is none."""
    decimals = _DECIMALS.get(currency, _DECIMALS_USUAL)
    whole, _, fraction = text.strip().replace(",", "").partition(".")
    if len(fraction) > decimals or len(whole) > 15:
        return None
    digits = whole + fraction.ljust(decimals, "0")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def enter_money(amount_minor: int, currency: str) -> str:
    """Write an amount so that `parse_money` reads it: the value of a form's field."""
    decimals = _DECIMALS.get(currency, _DECIMALS_USUAL)
    whole, rest = divmod(amount_minor, 10**decimals)
    return f"{whole}.{rest:0{decimals}}" if decimals else str(whole)


# -- times --------------------------------------------------------------------------------------


def day_and_time(moment: datetime) -> str:
    """Write a moment: `Sun 22 Nov 2026, 19:30 KST (UTC+9)`."""
    local = moment.astimezone(ZONE)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M %Z} ({_offset(local)})"


def time_of_day(moment: datetime) -> str:
    """Write a near moment to the second: `19:30:05 KST (UTC+9)`."""
    local = moment.astimezone(ZONE)
    return f"{local:%H:%M:%S %Z} ({_offset(local)})"


def _offset(local: datetime) -> str:
    offset = local.utcoffset()
    minutes = int(offset.total_seconds()) // 60 if offset else 0
    hours, rest = divmod(abs(minutes), 60)
    sign = "+" if minutes >= 0 else "−"
    return f"UTC{sign}{hours}" + (f":{rest:02}" if rest else "")


def duration(seconds: float) -> str:
    """Write how long something takes, no more exactly than anybody knows."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return "about a minute" if minutes == 1 else f"about {minutes} minutes"
    return f"about {round(minutes / 60)} hours"


def countdown(seconds: float) -> str:
    """Write how much time is left: `4:05`."""
    return "{}:{:02}".format(*divmod(max(0, int(seconds)), 60))


def count(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun: `1 seat`, `2 seats`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def install(app: Flask) -> None:
    """Give the templates these words."""
    filters = (money, enter_money, day_and_time, time_of_day, duration, countdown, count, seat)
    for function in filters:
        app.add_template_filter(function)
    app.add_template_global(next_step)
    app.jinja_env.globals.update(
        SEAT_STATES=SEAT_STATES, SALE_STATES=SALE_STATES, LEDGER_KINDS=LEDGER_KINDS
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
