"""The sales that are rushed, and what each of them must show.

Each says who comes when (open model: people arrive whether or not others were answered), what they do, and
the thresholds that decide. The first two are the load tests of the incident reports that Jari comes from.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from tests.rush.people import Habits, wanted_of

# What every run must show, however fast it is.
SOUND: dict[str, Sequence[str]] = {
    "checks": ["rate>0.9999"],
    "undeclared": ["count==0"],
    "deadlocks": ["count==0"],
    "integrity": ["rate==1"],
}
UNFAILING: dict[str, Sequence[str]] = {"http_req_failed": ["rate<0.001"]}
# Each by itself: among ten looks at the seats for each purchase a slow purchase shows in no percentile of all.
BUYING: dict[str, Sequence[str]] = {
    "http_req_duration{name:place_hold}": ["p(90)<2000"],
    "http_req_duration{name:pay}": ["p(90)<2000"],
}
# Beside the median of all slices, which a stop of seconds in one of them would not move.
SLOWEST_SLICE = ["value<2000"]
CAPACITY_MIN = 20
SECONDS_MIN = 4.0  # of an overload, at whatever scale
Spans = Sequence[tuple[float, float]]
PRESSED_MIN = 0.2  # of the people of an overload: its slices have their seconds at any scale


@dataclass(frozen=True)
class Pressure:
    """Parties come as multiples of what the house was found to take a moment before. Times in seconds."""

    at_once: int = 64  # parties that follow each other while it is found out
    slices: int = 6  # in which it is found out; after each, what a bare Flask answers
    slice_seconds: float = 5.0
    hello_seconds: float = 2.0
    overload_seconds: float = 60.0
    multiple: float = 2.0

    def scaled(self, scale: float) -> "Pressure":
        """Return the same, shorter; at a larger scale there are more people, for a faster house."""
        scale = min(1.0, scale)
        return replace(
            self,
            slices=max(1, round(self.slices * scale)),
            overload_seconds=max(SECONDS_MIN, self.overload_seconds * scale),
        )


@dataclass(frozen=True)
class Scenario:
    """A sale and its crowd. Times in seconds."""

    about: str
    people: int
    seats: int
    arrivals: Sequence[
        tuple[float, float]
    ]  # (seconds, share of the people), one part after the other
    habits: Habits
    thresholds: Mapping[str, Sequence[str]]
    capacity: int | None = None
    rate_per_minute: int = 100_000
    hold_seconds: int = 300
    session_seconds: int = 600
    patience_seconds: float = 300.0  # after the last arrival
    opens_in: float = 3.0
    forged_per_second: float = 0.0  # requests with tokens that are none, while people arrive
    pressure: Pressure | None = None  # instead of `arrivals`; `people` are as many as there may be
    dead_holds: int = (
        0  # of people who never pay; all expire `dead_after` seconds from the first arrival
    )
    dead_after: float = 30.0
    waiting: int = 0  # more people, who wait in another sale's room
    waiting_come: tuple[float, float] = (0.0, 0.0)  # between which seconds
    # How many of them are let in: while nobody is, people are asked back half as often as in a room that moves.
    waiting_per_minute: int = 600
    waiting_go: float | None = None  # at which second they give up; else they stay to the end
    # Between which seconds bookings are compared: without what disturbs them, and with it. Where it ends as well,
    # before and after: a machine that gets slower meanwhile says nothing of the house.
    compared: tuple[Spans, Spans] | None = None
    # By the median of slices of so many seconds: nor does one that stands still for a moment.
    slice_seconds: float | None = None

    @property
    def wanted_seats(self) -> int:
        """How many of the seats anybody wants."""
        return wanted_of(self.seats, self.habits.wanted)

    def scaled(self, scale: float) -> Self:
        """Return the same with a share of the people, seats and places inside; a pressed sale is shorter as well.

        So many fewer people ask less often, too: what a second must bring is scaled with them.
        """
        crowd = max(scale, PRESSED_MIN) if self.pressure else scale
        rates = [scale_rate(threshold, scale) for threshold in self.thresholds.get("http_reqs", ())]
        return replace(
            self,
            people=int(self.people * crowd),
            seats=int(self.seats * crowd),
            capacity=self.capacity and max(CAPACITY_MIN, int(self.capacity * scale)),
            rate_per_minute=max(CAPACITY_MIN, int(self.rate_per_minute * scale)),
            dead_holds=int(self.dead_holds * scale),
            waiting=int(self.waiting * scale),
            waiting_per_minute=max(1, int(self.waiting_per_minute * scale)),
            pressure=self.pressure and self.pressure.scaled(scale),
            thresholds=dict(self.thresholds) | ({"http_reqs": rates} if rates else {}),
        )


def scale_rate(threshold: str, scale: float) -> str:
    """Return `rate>100` as `rate>10` for a scale of 0.1."""
    form, sign, limit = re.split(r"([<>]=?)", threshold)
    return f"{form}{sign}{float(limit) * scale:g}"


SCENARIOS = {
    "incident-1": Scenario(
        "0 → 1,000 → 2,000 → 5,000 arrivals over 5 minutes (whoever is through is gone): poll, list seats,"
        " hold (up to 5 tries), pay",
        people=5_000,
        seats=20_000,
        arrivals=[(100, 0.2), (100, 0.2), (100, 0.6)],
        habits=Habits(party=(1,), reads=("list_seats",), looks=25),
        capacity=4_000,
        thresholds=SOUND
        | {name: [*limits, "p(90)<200"] for name, limits in BUYING.items()}
        | {
            "http_req_failed": ["rate<0.001", "rate==0"],
            "http_req_duration": ["p(90)<2000", "p(90)<200"],
            "http_reqs": ["rate>100", "rate>=417"],
            "booked": ["rate==1"],
        },
    ),
    "incident-2": Scenario(
        "20,000 people into a 20,000-seat sale: token, dates, seats, wait, book; 90 % pay, the others"
        " let their seats go and come back for them",
        people=20_000,
        seats=20_000,
        arrivals=[(60, 1.0)],
        habits=Habits(
            party=(1,),
            reads=("get_event", "list_seats"),
            stays_seconds=60.0,
            pay_share=0.9,
            returns_after=21.0,
        ),
        capacity=1_100,
        hold_seconds=20,
        opens_in=10.0,  # not before so large a sale is put up
        thresholds=SOUND
        | BUYING
        | {
            "http_req_failed": ["rate<0.001", "rate==0"],
            "http_req_duration": ["p(90)<2000"],
            "booked": ["rate==1"],
            "no_seats": ["count==0"],
            "sold": ["rate==1"],
            "sold_out_after": ["value<240"],
        },
    ),
    "queue-spike": Scenario(
        "0 → 5,000 people in 20 s before a hall that lets 1,200 a minute in",
        people=5_000,
        seats=20_000,
        arrivals=[(20, 1.0)],
        habits=Habits(party=(2,), looks=1),
        capacity=400,
        rate_per_minute=1_200,
        patience_seconds=330,
        thresholds=SOUND
        | UNFAILING
        | {
            "http_req_duration{name:join_queue}": ["p(90)<2000"],
            "lost": ["count==0"],
            "booked": ["rate==1"],
        },
    ),
    "hot-seats": Scenario(
        "2,000 people, and everybody wants one of the same 200 seats",
        people=2_000,
        seats=5_000,
        arrivals=[(20, 1.0)],
        habits=Habits(party=(1, 2), looks=1, wanted=0.04),
        capacity=1_000,
        patience_seconds=20,  # those who wait then wait for what is gone
        thresholds=SOUND | UNFAILING | {"http_req_duration": ["p(90)<2000"], "sold": ["rate==1"]},
    ),
    "best-available": Scenario(
        "3,000 parties ask for the best seats together until there are none",
        people=3_000,
        seats=8_000,
        arrivals=[(30, 1.0)],
        habits=Habits(party=(2, 3, 4), best_share=1.0),
        capacity=500,
        # Parties of two come to the end, so that no two seats can be left: only one that is nobody's.
        thresholds=SOUND
        | UNFAILING
        | {
            "http_req_duration": ["p(90)<2000"],
            "refused_in_vain": ["count==0"],
            "unsold": ["count<2"],
        },
    ),
    "abandon": Scenario(
        "40 % of those who hold seats never pay: the seats come back and sell",
        people=5_000,
        seats=2_000,
        arrivals=[(30, 1.0)],
        habits=Habits(party=(1,), looks=1, stays_seconds=10.0, pay_share=0.6),
        capacity=400,
        hold_seconds=15,
        session_seconds=30,
        thresholds=SOUND | UNFAILING | {"http_req_duration": ["p(90)<2000"], "sold": ["rate>0.99"]},
    ),
    "sold-out": Scenario(
        "500 seats, and they keep coming: 6,000 people",
        people=6_000,
        seats=500,
        arrivals=[(60, 1.0)],
        habits=Habits(party=(1, 2), best_share=1.0, think_seconds=0.5),
        capacity=200,
        session_seconds=30,
        hold_seconds=20,
        patience_seconds=60,
        thresholds=SOUND | UNFAILING | {"http_req_duration": ["p(90)<1000"], "sold": ["rate==1"]},
    ),
    "forged": Scenario(
        "20,000 requests with tokens that are none, or of another sale, while 2,000 people buy",
        people=2_000,
        seats=4_000,
        arrivals=[(60, 1.0)],
        habits=Habits(party=(1,), looks=1),
        capacity=1_000,
        forged_per_second=334,
        thresholds=SOUND
        | UNFAILING
        | BUYING
        | {
            "http_req_duration": ["p(90)<2000"],
            "forged": ["count>=20000"],
            "forged_refused": ["rate==1"],  # 401, or 403 for one of another performance
            "booked": ["rate==1"],
        },
    ),
    "overload": Scenario(
        "For a minute twice as many come as the house was found to take; then as before",
        people=80_000,  # enough for 400 bookings/s
        seats=80_000,
        arrivals=[],
        habits=Habits(party=(1,), looks=1, think_seconds=0.05),
        pressure=Pressure(),
        # Who is told 503 with Retry-After comes again: not a failure here, but it must be told so.
        thresholds=SOUND
        | {
            "lost": ["count==0"],
            "without_retry_after": ["count==0"],
            "pressed": ["rate>=0.9"],  # of the minute
            "kept": ["rate>=0.8"],
            "recovered": ["rate>=0.9"],
            # What the gates above allow to be left is done in (2 - 0.8) / 0.9 of the minute; and half as long again
            # for people who come back when they were told to, however little there is to do.
            "drained_after": ["value<=120"],
            "booked": ["rate==1"],
        },
    ),
    "sweep": Scenario(
        "50,000 holds expire at the same moment in the middle of a sale",
        people=3_600,
        seats=60_000,
        arrivals=[(60, 1.0)],
        habits=Habits(party=(1,), looks=1),
        dead_holds=50_000,
        compared=([(5, 30)], [(30, 60)]),
        slice_seconds=5,
        thresholds=SOUND
        | UNFAILING
        | {
            "http_req_duration": ["p(90)<2000"],
            "slower": ["value<=2"],
            "slowest_slice": SLOWEST_SLICE,
            "swept": ["rate==1"],
            "booked": ["rate==1"],
        },
    ),
    "pollers": Scenario(
        "3,200 people buy, and for a minute and a half of it 10,000 others wait for another sale",
        people=3_200,
        seats=20_000,
        arrivals=[(160, 1.0)],
        habits=Habits(party=(1,), looks=1),
        waiting=10_000,
        waiting_come=(30, 80),
        waiting_go=120,
        compared=([(5, 30), (130, 160)], [(85, 120)]),
        slice_seconds=5,
        thresholds=SOUND
        | UNFAILING
        | {
            "http_req_duration": ["p(90)<2000"],
            "slower": ["value<=1.5"],
            "slowest_slice": SLOWEST_SLICE,
            "waited": ["rate==1"],
            # Of one a minute by each: else those who ask would be no disturbance.
            "polled": ["value>=0.8"],
            "booked": ["rate==1"],
        },
    ),
}
