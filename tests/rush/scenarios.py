"""The sales that are rushed, and what each of them must show.

Each says who comes when (open model: people arrive whether or not others were answered), what they do, and
the thresholds that decide. The first two are the load tests of the incident reports that Jari comes from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.rush.people import Habits

# What every run must show, however fast it is.
SOUND: dict[str, Sequence[str]] = {
    "http_req_failed": ["rate<0.001"],
    "checks": ["rate>0.9999"],
    "undeclared": ["count==0"],
    "integrity": ["rate==1"],
}


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


SCENARIOS = {
    "incident-1": Scenario(
        "0 → 1,000 → 2,000 → 5,000 people over 5 minutes: poll, list seats, hold (up to 5 tries), pay",
        people=5_000,
        seats=20_000,
        arrivals=[(100, 0.2), (100, 0.2), (100, 0.6)],
        habits=Habits(party=(1,), looks=25),
        capacity=4_000,
        thresholds=SOUND
        | {
            "http_req_duration": ["p(90)<2000", "p(90)<200"],
            "http_reqs": ["rate>100", "rate>=417"],
            "booked": ["rate==1"],
        },
    ),
    "incident-2": Scenario(
        "20,000 people into a 20,000-seat sale: token, dates, seats, wait, book, 90 % pay",
        people=20_000,
        seats=20_000,
        arrivals=[(60, 1.0)],
        habits=Habits(party=(1,), pay_share=0.9),
        capacity=1_500,
        thresholds=SOUND
        | {
            "http_req_duration": ["p(90)<2000"],
            "booked": ["rate>0.88"],
            "no_seats": ["count==0"],
        },
    ),
    "hot-seats": Scenario(
        "2,000 people, and everybody wants one of the same 200 seats",
        people=2_000,
        seats=5_000,
        arrivals=[(20, 1.0)],
        habits=Habits(party=(1, 2), looks=1, wanted=200),
        capacity=1_000,
        thresholds=SOUND | {"http_req_duration": ["p(90)<2000"], "sold": ["rate>=0.039"]},
    ),
    "best-available": Scenario(
        "3,000 parties ask for the best seats together until there are none",
        people=3_000,
        seats=8_000,
        arrivals=[(30, 1.0)],
        habits=Habits(party=(2, 3, 4), best_share=1.0),
        capacity=500,
        thresholds=SOUND | {"http_req_duration": ["p(90)<2000"], "sold": ["rate>0.99"]},
    ),
    "abandon": Scenario(
        "40 % of those who hold seats never pay: the seats come back and sell",
        people=4_000,
        seats=2_000,
        arrivals=[(30, 1.0)],
        habits=Habits(party=(1,), pay_share=0.6),
        capacity=400,
        hold_seconds=15,
        session_seconds=60,
        thresholds=SOUND | {"http_req_duration": ["p(90)<2000"], "sold": ["rate>0.99"]},
    ),
    "queue-spike": Scenario(
        "0 → 5,000 people in 20 s before a hall that lets 1,200 a minute in",
        people=5_000,
        seats=20_000,
        arrivals=[(20, 1.0)],
        habits=Habits(party=(2,), looks=1),
        capacity=400,
        rate_per_minute=1_200,
        patience_seconds=60,
        thresholds=SOUND
        | {"http_req_duration{name:join_queue}": ["p(90)<2000"], "admitted": ["count>0"]},
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
        thresholds=SOUND | {"http_req_duration": ["p(90)<1000"], "sold": ["rate==1"]},
    ),
    "forged": Scenario(
        "20,000 requests with malformed tokens while 2,000 people buy",
        people=2_000,
        seats=4_000,
        arrivals=[(60, 1.0)],
        habits=Habits(party=(1,), looks=1),
        capacity=1_000,
        forged_per_second=333,
        thresholds=SOUND | {"http_req_duration": ["p(90)<2000"], "booked": ["rate==1"]},
    ),
}
