"""Words for people: money, times, seat states, and what to do after a refusal.

Promises:

1. Money is shown with its currency and exactly as many decimals as the currency has.
2. Times are shown in the house's zone with its offset from UTC beside them: a buyer abroad must not
   guess.
3. Every refusal has a next step. A test enumerates them.
4. Dates, money and plurals follow the language of the page.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from flask import Flask

from webapp.domain.errors import Refusal
from webapp.domain.seatmap import Place, Seatmap
from webapp.web.languages import N_, gettext, language, locale_of, ngettext, nN_

ZONE = ZoneInfo("Asia/Seoul")

_SYMBOLS = {"KRW": "₩", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
# Koreans write won as a word behind the number; Babel would put the sign before it.
_BEHIND = {("ko", "KRW"): "원"}
# Babel's own Korean patterns say "PM 8:30:00".
_DAY_AND_TIME = {"en": "EEE d MMM yyyy, HH:mm", "ko": "yyyy년 M월 d일 (EEE) HH:mm"}
_DAY = {"en": "EEE d MMM yyyy", "ko": "yyyy년 M월 d일 (EEE)"}
_DECIMALS = {"KRW": 0, "JPY": 0}
_DECIMALS_USUAL = 2

SEAT_STATES = {"f": N_("free"), "h": N_("held"), "s": N_("sold"), "b": N_("closed")}
SALE_STATES = {
    "scheduled": N_("Not on sale yet"),
    "prequeue": N_("Waiting room open"),
    "open": N_("On sale"),
    "paused": N_("Paused for a moment"),
    "sold_out": N_("Sold out"),
    "closed": N_("Sale closed"),
}
SINGLE_SEAT_RULES = {
    "off": N_("say nothing"),
    "lenient": N_("tell the buyer, and let it be"),
    "strict": N_("refuse it"),
}
LEDGER_KINDS = {
    "top_up": N_("Top-up"),
    "spend": N_("Paid for a booking"),
    "refund": N_("Refund"),
}

NEXT_STEPS = {
    "email_taken": N_("Sign in with it, or use another address."),
    "too_many_attempts": N_("Wait a little, then try again."),
    "sale_not_open": N_("Come back when the sale opens; the performance's page says when."),
    "sale_closed": N_("There may be other performances. Seats that you hold can still be paid."),
    "sale_paused": N_("Your turn and your seats are safe. Try again in a minute."),
    "sold_out": N_("Seats come back when somebody cancels, so looking again later may help."),
    "not_admitted": N_("Go to the performance's page and join the waiting room."),
    "turn_over": N_("Go to the performance's page; you may join again while seats are on sale."),
    "seat_unknown": N_("Choose from the seats on the page."),
    "seats_taken": N_("They went a moment ago, and none were held for you. Please choose others."),
    "too_many_seats": N_("Choose fewer seats; what you have bought before counts too."),
    "leaves_single_seat": N_("Move your choice by one seat, or take the single seat as well."),
    "not_enough_seats": N_("Try fewer seats, another price level or another section."),
    "hold_expired": N_("Nothing was charged. Look whether the seats are still free."),
    "hold_replaced": N_("Only your newest choice counts. Nothing was charged."),
    "insufficient_funds": N_("Top up your wallet; your seats stay held meanwhile."),
    "top_up_closed": N_("Please ask the box office to credit your wallet."),
    "idempotency_key_reused": N_("Open the page again and send the form from there."),
    "already_booked": N_("You will find it among your bookings."),
    "already_cancelled": N_("The money is back in your wallet."),
    "too_late": N_("Please ask the box office."),
    "already_scanned": N_("A booking of which somebody is already inside cannot be cancelled."),
    "ticket_unknown": N_("Check the code letter by letter."),
    "ticket_voided": N_("Its booking was cancelled and paid back."),
    "wrong_performance": N_("Check the date on the ticket."),
    "invalid": N_("Check what you entered and send it again."),
    "not_found": N_("The address may be mistyped, or it is not yours to see."),
    "poll_too_soon": N_(
        "Looking more often brings nobody forward. This page looks again when it is time."
    ),
    "busy": N_("Nothing was charged or changed. Go back and try once more in a few seconds."),
    "outcome_unknown": N_("Look among your bookings and in your wallet first; then send it again."),
    "internal_error": N_("If you were paying, look among your bookings before you try again."),
    "malformed": N_("Go back and try again."),
    "bad_credentials": N_("Check both and try again."),
    "role_missing": N_("Sign in with an account that may, or ask the organiser."),
    "challenge_required": N_(
        "Go back and join from the performance's page, with scripts allowed there."
    ),
    "csrf": N_("Go back, load the page again and send it from there."),
    "method_not_allowed": N_("Start again from the list of events."),
    "too_large": N_("Send less at once."),
}
_TURN_OVER = {
    "no_show": N_(
        "Nobody came while it was your turn, so the next in line got it. You may join again, at "
        "the end of the line."
    ),
    "idle": N_(
        "Nothing had happened for a while, so the next in line got your place. You may join again, "
        "at the end of the line."
    ),
    "revoked": N_("The organiser has ended your stay."),
    "paid": N_("Your seats are paid; you will find them among your bookings."),
    "left": N_("You have left the waiting room. You may join again, at the end of the line."),
    "expired": N_("Your time to choose is over. You may join again while seats are on sale."),
}

YOUR_TURN = N_("It is your turn. It lasts until {time}.")
ROOM = {
    "changed": N_("Changed. It counts from the next moment on."),
    "invited": N_(
        "On the guest list: let in as soon as they wait and a place is free, whatever the rate."
    ),
    "disinvited": N_("Taken off the guest list."),
    "revoked": N_("Their stay has ended, and seats that they held are free."),
    "beacon": N_("The beacon is entered; the lottery is drawn now."),
}
NOBODY = N_("There is nobody like that here.")
ROOM_FAULTS = {
    "prequeue_opens_at": N_("The pre-queue must open before the sale, at a date and a time."),
    "sales_open_at": N_(
        "The sale needs a date and a time to open at, before it closes. Once it has opened, it can "
        "only be paused."
    ),
    "capacity": N_("How many may choose at once must be a whole number, 0 or more."),
    "rate_per_minute": N_("How many are let in a minute must be a whole number, 0 or more."),
    "session_seconds": N_("A turn lasts from 60 to 86,400 seconds."),
    "arrival_seconds": N_("People have from 90 to 86,400 seconds to come when it is their turn."),
    "idle_seconds": N_("The idle limit is from 60 to 86,400 seconds, or empty for none."),
    "message": N_("The message has at most 500 characters."),
    "beacon_source": N_(
        "The beacon's source was published when the pre-queue opened (at most 200 characters)."
    ),
    "beacon": N_("The beacon is entered once, after the closing, where a source was named."),
    "email": N_("Please enter the address of an account."),
}
STILL = {
    "full": N_("Every place is taken, and nobody has finished for a while."),
    "rate": N_("The rate is 0: nobody is let in."),
    "pace": N_("Admission is slowed down, because booking is not well."),
    "beacon": N_("The lottery waits for its beacon."),
    "usher": N_("No scheduler is running (python -m jobs)."),
    "unknown": N_("Nobody is let in, and it is not clear why: look at the scheduler's log."),
}
PACE = {
    "errors": N_("too many bookings fail"),
    "slow": N_("bookings take too long"),
    "pool_full": N_("all connections to the database are in use"),
    "recovering": N_("it is being raised again, step by step"),
}


def next_step(code: str, facts: Mapping[str, Any]) -> str:
    """Say what somebody can do after a refusal."""
    if code == "turn_over":
        return gettext(_TURN_OVER.get(facts.get("reason", ""), NEXT_STEPS[code]))
    return gettext(NEXT_STEPS.get(code, N_("Start again from the list of events.")))


def title(refusal: Refusal) -> str:
    """Say what a refusal is, in the reader's language."""
    return gettext(refusal.title)


def section_names(hall: Seatmap) -> dict[str, str]:
    """Return what people call the hall's sections, by code."""
    named = {
        section["code"]: section.get("names", {}).get(language(), section["name"])
        for section in hall.geometry.get("sections", ())
    }
    return {place.section: named.get(place.section, place.section) for place in hall.places}


def seat(place: Place, names: Mapping[str, str]) -> str:
    """Write where a seat is: `Stalls, row A, seat 12`."""
    return gettext(
        "%(section)s, row %(row)s, seat %(seat)s",
        section=names[place.section],
        row=place.row,
        seat=place.number,
    )


def notes(hall: Seatmap, place: Place) -> list[str]:
    """Return what somebody should know of a seat before they buy it."""
    return [
        gettext(text)
        for text, applies in (
            (N_("wheelchair place"), place.accessible),
            (N_("companion seat"), place.seat_no in hall.companion),
            (N_("restricted view"), place.seat_no in hall.restricted),
        )
        if applies
    ]


# -- money --------------------------------------------------------------------------------------


def money(amount_minor: int, currency: str) -> str:
    """Write an amount as people do: `₩12,000`, `$12.50`, `−₩3,000`."""
    decimals = _DECIMALS.get(currency, _DECIMALS_USUAL)
    whole, rest = divmod(abs(amount_minor), 10**decimals)
    fraction = f".{rest:0{decimals}}" if decimals else ""
    sign = "−" if amount_minor < 0 else ""
    if behind := _BEHIND.get((language(), currency)):
        return f"{sign}{whole:,}{fraction}{behind}"
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    return f"{sign}{symbol}{whole:,}{fraction}"


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
    return f"{clock_of(moment)} {zone(moment)}"


def clock_of(moment: datetime) -> str:
    """Write a moment without its zone, which stands beside it: `Sun 22 Nov 2026, 19:30`."""
    return _format(moment, _DAY_AND_TIME[language()])


def day(moment: datetime) -> str:
    """Write a moment's day: `Sun 22 Nov 2026`."""
    return _format(moment, _DAY[language()])


def second_of_day(moment: datetime) -> str:
    """Write a near moment to the second, without its zone: `19:30:05`."""
    return f"{moment.astimezone(ZONE):%H:%M:%S}"


def time_of_day(moment: datetime) -> str:
    """Write a near moment to the second: `19:30:05 KST (UTC+9)`."""
    return f"{second_of_day(moment)} {zone(moment)}"


def zone(moment: datetime) -> str:
    """Write which zone the house's times are in: `KST (UTC+9)`."""
    local = moment.astimezone(ZONE)
    return f"{local:%Z} ({_offset(local)})"


def _format(moment: datetime, pattern: str) -> str:
    return format_datetime(moment.astimezone(ZONE), pattern, locale=locale_of(language()))


def _offset(local: datetime) -> str:
    offset = local.utcoffset()
    minutes = int(offset.total_seconds()) // 60 if offset else 0
    hours, rest = divmod(abs(minutes), 60)
    sign = "+" if minutes >= 0 else "−"
    return f"UTC{sign}{hours}" + (f":{rest:02}" if rest else "")


def local_input(moment: datetime | None) -> str:
    """Write a moment as the value of a field for a date and a time in the house's zone."""
    return "" if moment is None else f"{moment.astimezone(ZONE):%Y-%m-%dT%H:%M:%S}"


def between(seconds: tuple[int, int] | list[int]) -> str:
    """Write a range of time, no narrower than it is: `between 5 and 8 minutes`."""
    low, high = math.floor(seconds[0] / 60), max(1, math.ceil(seconds[1] / 60))
    if high == 1:
        return gettext("about a minute at most")
    if low in (0, high):
        return gettext("at most %(high)s minutes") % {"high": high}
    if high >= 90:
        hours = {"low": f"{low // 6 / 10}", "high": f"{math.ceil(high / 6) / 10}"}
        return gettext("between %(low)s and %(high)s hours") % hours
    return gettext("between %(low)s and %(high)s minutes") % {"low": low, "high": high}


def duration(seconds: float) -> str:
    """Write how long something lasts, rounded down: who relies on a limit must not be late."""
    minutes = int(seconds) // 60
    if minutes < 2:
        return count(int(seconds), "second")
    if minutes < 120:
        return count(minutes, "minute")
    hours, rest = divmod(minutes, 60)
    said = count(hours, "hour")
    return f"{said} {count(rest, 'minute')}" if rest else said


def countdown(seconds: float) -> str:
    """Write how much time is left: `4:05`, rounded up as the page's script does."""
    return "{}:{:02}".format(*divmod(max(0, math.ceil(seconds)), 60))


_COUNTED = {
    "seat": nN_("%(num)s seat", "%(num)s seats"),
    "free seat": nN_("%(num)s free seat", "%(num)s free seats"),
    "ticket": nN_("%(num)s ticket", "%(num)s tickets"),
    "second": nN_("%(num)s second", "%(num)s seconds"),
    "minute": nN_("%(num)s minute", "%(num)s minutes"),
    "hour": nN_("%(num)s hour", "%(num)s hours"),
}


def count(number: int, noun: str) -> str:
    """Write a number with its noun: `1 seat`, `2 seats`; `좌석 2개`."""
    return ngettext(*_COUNTED[noun], number)


def install(app: Flask) -> None:
    """Give the templates these words."""
    filters = (
        *(money, enter_money, duration, countdown, count, seat, local_input, between),
        *(day_and_time, time_of_day, clock_of, day, second_of_day, zone),
    )
    for function in filters:
        app.add_template_filter(function)
    app.add_template_global(next_step)
    app.add_template_global(notes)
    app.add_template_global(title)
    app.jinja_env.globals.update(
        SEAT_STATES=SEAT_STATES,
        SINGLE_SEAT_RULES=SINGLE_SEAT_RULES,
        SALE_STATES=SALE_STATES,
        LEDGER_KINDS=LEDGER_KINDS,
    )
    app.jinja_env.globals.update(STILL=STILL, PACE=PACE)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
