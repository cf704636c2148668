"""The sale in plain Python: what must happen, without a database, a transaction or a clock of its own.

It shares no code with the service but the names of the refusals. Every method takes the instant, changes the
model, and returns what the service must answer: a value, or the refusal's code.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

RATE_WINDOW = timedelta(seconds=60)


@dataclass
class Rules:
    """How one sale is run."""

    seats: int
    price_minor: int
    seats_max: int
    hold: timedelta
    session: timedelta
    capacity: int | None
    rate: int


@dataclass
class Stay:
    """One stay in the room."""

    id: uuid.UUID
    who: int
    joined_at: datetime
    number: int | None = None
    admitted_at: datetime | None = None
    access_until: datetime | None = None
    holds_until: datetime | None = None
    ended: bool = False
    listed: bool = True


@dataclass
class Hold:
    """Some seats of one customer."""

    id: uuid.UUID
    who: int
    stay: uuid.UUID
    seats: list[int]
    until: datetime
    end: str = ""

    def lives(self, now: datetime) -> bool:
        """Whether it keeps others out."""
        return not self.end and now < self.until


@dataclass
class Booking:
    """What a customer has paid."""

    who: int
    seats: list[int]
    cancelled: bool = False
    scanned: set[int] = field(default_factory=set)


@dataclass
class Model:
    """One performance and its customers, by their numbers."""

    rules: Rules
    balances: list[int]
    paused: bool = False
    last_number: int = 0
    stays: list[Stay] = field(default_factory=list)
    holds: dict[uuid.UUID, Hold] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    owner: dict[int, uuid.UUID | str] = field(default_factory=dict)  # seat → hold or booking
    current: dict[int, uuid.UUID] = field(default_factory=dict)  # customer → newest hold
    bought: dict[int, int] = field(default_factory=dict)

    # -- looking

    def listed(self, who: int) -> Stay | None:
        """The stay that keeps a customer from a new one."""
        return next((stay for stay in self.stays if stay.who == who and stay.listed), None)

    def live_hold(self, who: int, now: datetime) -> Hold | None:
        """What a customer holds now."""
        hold = self.holds.get(self.current.get(who, uuid.UUID(int=0)))
        return hold if hold and hold.lives(now) else None

    def states(self, now: datetime) -> str:
        """Every seat as the map shows it."""
        return "".join(self._state(no, now) for no in range(self.rules.seats))

    def _state(self, no: int, now: datetime) -> str:
        owner = self.owner.get(no)
        if isinstance(owner, str):
            return "s"
        return "h" if owner is not None and self.holds[owner].lives(now) else "f"

    # -- the room

    def join(self, who: int, new: uuid.UUID, now: datetime) -> uuid.UUID:
        """Begin a stay, or find the one that goes on; returns whose id the customer hears."""
        stay = self.listed(who)
        if stay is not None:
            waits = not stay.ended and stay.access_until is None
            inside = not stay.ended and stay.access_until is not None and now < stay.access_until
            holds_on = stay.holds_until is not None and now < stay.holds_until
            paying = not stay.ended and holds_on and self.live_hold(who, now) is not None
            if waits or inside or paying:
                return stay.id
            stay.ended, stay.listed = True, False
        stay = Stay(new, who, now)
        if self.rules.capacity is None:
            stay.admitted_at, stay.access_until = now, now + self.rules.session
        self.stays.append(stay)
        return new

    def leave(self, who: int, now: datetime) -> None:
        """Give up the stay and what is held in it."""
        stay = self.listed(who)
        if stay is None or stay.ended:
            return
        stay.ended, stay.listed = True, False
        hold = self.live_hold(who, now)
        if hold is not None and hold.stay == stay.id:
            self._end(hold, "left")

    def usher(self, now: datetime) -> int:
        """Number, retire and admit; returns how many were admitted."""
        newcomers = [s for s in self.stays if s.listed and s.number is None and not s.admitted_at]
        waiting = [s for s in self.stays if s.listed and s.number is not None and not s.admitted_at]
        if self.rules.capacity is not None:
            for stay in sorted(newcomers, key=lambda s: (s.joined_at, s.id)):
                self.last_number += 1
                stay.number = self.last_number
        for stay in self.stays:
            if stay.listed and stay.admitted_at:
                last = stay.holds_until or stay.access_until
                if stay.ended or (last is not None and last <= now):
                    stay.ended, stay.listed = True, False
        if not (newcomers or waiting) or self.paused or self.rules.capacity is None:
            return 0
        if set(self.states(now)) == {"s"}:
            return 0
        return self._admit(now)

    def _admit(self, now: datetime) -> int:
        inside = [
            s
            for s in self.stays
            if s.listed and not s.ended and s.access_until is not None and now < s.access_until
        ]
        lately = [s for s in self.stays if s.admitted_at and s.admitted_at > now - RATE_WINDOW]
        assert self.rules.capacity is not None
        places = max(0, min(self.rules.capacity - len(inside), self.rules.rate - len(lately)))
        line = [s for s in self.stays if s.listed and s.number is not None and not s.admitted_at]
        first = sorted(line, key=lambda s: s.number or 0)[:places]
        for stay in first:
            stay.admitted_at, stay.access_until = now, now + self.rules.session
        return len(first)

    # -- seats

    def place(self, stay: Stay, new: uuid.UUID, seats: list[int], now: datetime) -> str:
        """Hold seats: "ok" or why not."""
        if self.paused:
            return "sale_paused"
        if stay.ended or stay.access_until is None or stay.access_until <= now:
            return "not_admitted"
        if self.bought.get(stay.who, 0) + len(seats) > self.rules.seats_max:
            return "too_many_seats"
        previous = self.holds.get(self.current.get(stay.who, uuid.UUID(int=0)))
        mine = previous.id if previous and not previous.end else None
        if any(self._state(no, now) != "f" and self.owner.get(no) != mine for no in seats):
            return "seats_taken"
        if stay.holds_until is None:
            stay.holds_until = max(stay.access_until, now + self.rules.hold)
        if previous is not None and not previous.end:
            self._end(previous, "replaced" if previous.lives(now) else "expired")
        until = min(now + self.rules.hold, stay.holds_until)
        self.holds[new] = Hold(new, stay.who, stay.id, seats, until)
        self.current[stay.who] = new
        for no in seats:
            self.owner[no] = new
        return "ok"

    def _end(self, hold: Hold, how: str) -> None:
        hold.end = how
        for no in hold.seats:
            if self.owner.get(no) == hold.id:
                del self.owner[no]

    def _why_not(self, hold: Hold | None, who: int, now: datetime) -> str:
        if hold is None or hold.who != who:
            return "not_found"
        ends = {"paid": "already_booked", "replaced": "hold_replaced"}
        if hold.end in ends:
            return ends[hold.end]
        return "" if hold.lives(now) else "hold_expired"

    def release(self, who: int, hold_id: uuid.UUID, now: datetime) -> str:
        """Give a hold back: "ok" or why not."""
        hold = self.holds.get(hold_id)
        if refused := self._why_not(hold, who, now):
            return refused
        assert hold is not None
        self._end(hold, "released")
        return "ok"

    def sweep(self, now: datetime) -> int:
        """Tidy dead holds away; returns how many."""
        dead = [hold for hold in self.holds.values() if not hold.end and not hold.lives(now)]
        for hold in dead:
            self._end(hold, "expired")
        return len(dead)

    # -- money

    def pay(self, stay: Stay, hold_id: uuid.UUID, now: datetime) -> str:
        """Pay a hold within a stay: "ok" or why not. The caller names the booking with `book`."""
        who, hold = stay.who, self.holds.get(hold_id)
        payable = (
            not stay.ended
            and self.current.get(who) == hold_id
            and hold is not None
            and hold.who == who
            and hold.stay == stay.id
            and hold.lives(now)
        )
        if not payable:
            return self._why_not(hold, who, now) or "not_admitted"
        assert hold is not None
        total = len(hold.seats) * self.rules.price_minor
        if self.balances[who] < total:
            return "insufficient_funds"
        self.balances[who] -= total
        stay.ended = True  # the usher takes it off the list
        hold.end = "paid"
        del self.current[who]
        self.bought[who] = self.bought.get(who, 0) + len(hold.seats)
        return "ok"

    def book(self, hold_id: uuid.UUID, reference: str) -> None:
        """Note under which reference a hold was paid."""
        hold = self.holds[hold_id]
        self.bookings[reference] = Booking(hold.who, hold.seats)
        for no in hold.seats:
            self.owner[no] = reference

    def cancel(self, reference: str) -> str:
        """Undo a booking: "ok" or why not."""
        booking = self.bookings[reference]
        if booking.cancelled:
            return "already_cancelled"
        if booking.scanned:
            return "already_scanned"
        booking.cancelled = True
        self.balances[booking.who] += len(booking.seats) * self.rules.price_minor
        self.bought[booking.who] -= len(booking.seats)
        for no in booking.seats:
            del self.owner[no]
        return "ok"

    def scan(self, reference: str, seat: int) -> str:
        """Open the door: "ok" or why not."""
        booking = self.bookings[reference]
        if booking.cancelled:
            return "ticket_voided"
        if seat in booking.scanned:
            return "already_scanned"
        booking.scanned.add(seat)
        return "ok"
