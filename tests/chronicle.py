"""History written by hand: journal entries and the rows they led to, in bulk.

Nothing of it went through the domain, so a test can write what the domain would never do, and a load
of a million entries takes seconds. A method does to the rows what the domain function of its name does,
and says the same in the journal; where a test passes something else, both tell the same lie.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Table, delete, insert, update

from webapp.db import Database, new_id
from webapp.domain.bookings import CODE_LENGTH, REFERENCE_LENGTH, random_code
from webapp.domain.model import (
    Account,
    Allowance,
    Base,
    Booking,
    Hold,
    JournalEntry,
    LedgerEntry,
    QueueEntry,
    RoomProgress,
    Seat,
    Ticket,
    Wallet,
    table_of,
)

Row = dict[str, Any]
CURRENCY = "KRW"


class Chronicle:
    """A history of a few performances, which belong to it: it writes all of their seats."""

    def __init__(self, halls: Mapping[int, int], now: datetime) -> None:
        """Begin at `now` with performances (id → number of seats) that are on sale."""
        self.now = now
        self.entries: list[Row] = []
        self.accounts: list[Row] = []
        self.ledger: list[Row] = []
        self.stays: list[Row] = []
        self.holds: list[Row] = []
        self.bookings: list[Row] = []
        self.tickets: list[Row] = []
        self.tickets_of: dict[uuid.UUID, list[Row]] = defaultdict(list)
        self.wallets: dict[uuid.UUID, Row] = {}
        self.allowances: dict[tuple[int, uuid.UUID], Row] = {}
        self.numbers = dict.fromkeys(halls, 0)
        self.seats: dict[tuple[int, int], Row] = {
            (performance_id, seat_no): {
                "performance_id": performance_id,
                "seat_no": seat_no,
                "blocked": False,
                "hold_id": None,
                "held_until": None,
                "displaced_hold_id": None,
                "ticket_id": None,
            }
            for performance_id, seat_count in halls.items()
            for seat_no in range(seat_count)
        }

    def record(self, kind: str, **facts: Any) -> None:
        """Add a journal entry of a transaction of its own."""
        entry = {"attempt_id": uuid.uuid4(), "at": self.now, "kind": kind, "facts": facts}
        self.entries.append(entry)

    # -- people and money

    def open_accounts(self, count: int, balance_minor: int = 0) -> list[uuid.UUID]:
        opened = [uuid.uuid4() for _ in range(count)]
        credits = []
        for account_id in opened:
            self.accounts.append(
                {
                    "id": account_id,
                    "email": f"{account_id}@example.com",
                    "name": "Somebody",
                    "role": "customer",
                    "password_hash": None,
                    "created_at": self.now,
                }
            )
            self.wallets[account_id] = {
                "account_id": account_id,
                "balance_minor": 0,
                "currency": CURRENCY,
            }
            if balance_minor:
                ledger_id = self._move(account_id, "top_up", balance_minor)
                credits.append([str(account_id), str(ledger_id), balance_minor])
        accounts = [str(account_id) for account_id in opened]
        self.record("accounts_opened", accounts=accounts, currency=CURRENCY, credits=credits)
        return opened

    def top_up(self, account_id: uuid.UUID, amount_minor: int) -> None:
        ledger_id = self._move(account_id, "top_up", amount_minor)
        self.record(
            "wallet_topped_up",
            account_id=str(account_id),
            ledger_id=str(ledger_id),
            amount_minor=amount_minor,
        )

    def _move(
        self,
        account_id: uuid.UUID,
        kind: str,
        amount_minor: int,
        booking_id: uuid.UUID | None = None,
    ) -> uuid.UUID:
        ledger_id = uuid.uuid4()
        self.wallets[account_id]["balance_minor"] += amount_minor
        self.ledger.append(
            {
                "id": ledger_id,
                "account_id": account_id,
                "kind": kind,
                "amount_minor": amount_minor,
                "booking_id": booking_id,
                "at": self.now,
            }
        )
        return ledger_id

    # -- the waiting room

    def join(
        self, performance_id: int, account_id: uuid.UUID, session_seconds: int | None = None
    ) -> Row:
        access = None if session_seconds is None else self._in(session_seconds)
        stay = {
            "id": new_id(),
            "performance_id": performance_id,
            "account_id": account_id,
            "joined_at": self.now,
            "number": None,
            "admitted_at": access and self.now,
            "access_expires_at": access,
            "holds_end_at": None,
            "ended_at": None,
            "end_reason": None,
            "retired_at": None,
        }
        self.stays.append(stay)
        self.record(
            "queue_joined",
            performance_id=performance_id,
            entry_id=str(stay["id"]),
            account_id=str(account_id),
            access_expires_at=access and access.isoformat(),
        )
        return stay

    def number(self, performance_id: int, stays: Sequence[Row]) -> None:
        first = self.numbers[performance_id] + 1
        for number, stay in enumerate(stays, first):
            stay["number"] = number
        self.numbers[performance_id] += len(stays)
        entries = [str(stay["id"]) for stay in stays]
        self.record("queue_numbered", performance_id=performance_id, first=first, entries=entries)

    def admit(self, performance_id: int, stays: Sequence[Row], session_seconds: int) -> None:
        access = self._in(session_seconds)
        for stay in stays:
            stay |= {"admitted_at": self.now, "access_expires_at": access}
        self.record(
            "queue_admitted",
            performance_id=performance_id,
            entries=[str(stay["id"]) for stay in stays],
            access_expires_at=access.isoformat(),
        )

    def retire(self, performance_id: int, stays: Sequence[Row], reason: str = "expired") -> None:
        for stay in stays:
            self._end(stay, reason)
            stay["retired_at"] = self.now
        entries = [str(stay["id"]) for stay in stays]
        self.record("queue_retired", performance_id=performance_id, entries=entries, reason=reason)

    def leave(self, stay: Row) -> None:
        self._end(stay, "left")
        stay["retired_at"] = self.now
        self.record(
            "queue_left",
            performance_id=stay["performance_id"],
            entry_id=str(stay["id"]),
            account_id=str(stay["account_id"]),
        )

    # -- holds

    def place(
        self,
        stay: Row,
        seats: Sequence[tuple[int, int]],
        *,
        lifetime_seconds: float = 300,
        replaced: Row | None = None,
        total_minor: int | None = None,
    ) -> Row:
        """Hold seats (with their prices); those of a dead hold are taken from it."""
        performance_id, account_id = stay["performance_id"], stay["account_id"]
        if stay["holds_end_at"] is None:
            stay["holds_end_at"] = max(stay["access_expires_at"], self._in(lifetime_seconds))
        hold = {
            "id": new_id(),
            "performance_id": performance_id,
            "account_id": account_id,
            "entry_id": stay["id"],
            "seats": [list(pair) for pair in seats],
            "total_minor": sum(p for _, p in seats) if total_minor is None else total_minor,
            "currency": CURRENCY,
            "placed_at": self.now,
            "expires_at": min(self._in(lifetime_seconds), stay["holds_end_at"]),
            "ended_at": None,
            "end_reason": None,
            "replaced_by": None,
            "swept_at": None,
        }
        freed = []
        if replaced:
            self._end(replaced, "replaced")
            replaced["replaced_by"] = hold["id"]
            kept = {seat_no for seat_no, _ in seats}
            freed = [seat_no for seat_no in self._free([replaced]) if seat_no not in kept]
        displaced = {}
        for seat_no, _ in seats:
            seat = self.seats[performance_id, seat_no]
            loser = seat["hold_id"]
            if loser not in (None, hold["id"]):
                displaced[str(seat_no)] = str(loser)
            seat |= {
                "hold_id": hold["id"],
                "held_until": hold["expires_at"],
                "displaced_hold_id": loser,
            }
        allowance = self.allowances.setdefault(
            (performance_id, account_id),
            {
                "performance_id": performance_id,
                "account_id": account_id,
                "seats_bought": 0,
                "hold_id": None,
                "previous_hold_id": None,
                "seats_held": None,
            },
        )
        allowance |= {
            "previous_hold_id": allowance["hold_id"],
            "hold_id": hold["id"],
            "seats_held": len(seats),
        }
        self.holds.append(hold)
        self.record(
            "hold_placed",
            performance_id=performance_id,
            hold_id=str(hold["id"]),
            entry_id=str(stay["id"]),
            account_id=str(account_id),
            seats=hold["seats"],
            total_minor=hold["total_minor"],
            currency=CURRENCY,
            expires_at=hold["expires_at"].isoformat(),
            holds_end_at=stay["holds_end_at"].isoformat(),
            displaced=displaced,
            replaced=str(replaced["id"]) if replaced else None,
            replaced_reason="replaced" if replaced else None,
            freed=freed,
        )
        return hold

    def release(self, hold: Row) -> None:
        self._end(hold, "released")
        self.record(
            "hold_released",
            performance_id=hold["performance_id"],
            hold_id=str(hold["id"]),
            reason="released",
            seats=self._free([hold]),
        )

    def expire(self, holds: Sequence[Row], *, free: bool = True) -> None:
        """Sweep dead holds of one performance."""
        for hold in holds:
            self._end(hold, "expired")
            hold["swept_at"] = self.now
        freed = {str(holds[0]["performance_id"]): self._free(holds) if free else []}
        self.record("holds_expired", holds=[str(hold["id"]) for hold in holds], freed=freed)

    def _free(self, holds: Iterable[Row]) -> list[int]:
        freed = []
        for hold in holds:
            for seat_no, _ in hold["seats"]:
                seat = self.seats[hold["performance_id"], seat_no]
                if seat["hold_id"] == hold["id"]:
                    seat |= {"hold_id": None, "held_until": None}
                    freed.append(seat_no)
        return sorted(freed)

    # -- bookings

    def pay(
        self,
        hold: Row,
        stay: Row,
        *,
        prices: Sequence[int] | None = None,
        currency: str = CURRENCY,
    ) -> Row:
        """Turn a hold into a booking, its tickets at the hold's prices or others."""
        performance_id, account_id = hold["performance_id"], hold["account_id"]
        self._end(stay, "paid")
        self._end(hold, "paid")
        booking = {
            "id": new_id(),
            "reference": random_code(REFERENCE_LENGTH + 4),  # a million of them must differ
            "performance_id": performance_id,
            "account_id": account_id,
            "hold_id": hold["id"],
            "total_minor": hold["total_minor"],
            "currency": currency,
            "paid_at": self.now,
            "cancelled_at": None,
        }
        ledger_id = self._move(account_id, "spend", -hold["total_minor"], booking["id"])
        issued = []
        charged = prices or [price_minor for _, price_minor in hold["seats"]]
        for (seat_no, _), price_minor in zip(hold["seats"], charged, strict=True):
            ticket = self._issue(booking, seat_no, price_minor)
            issued.append([str(ticket["id"]), seat_no, price_minor])
            self.seats[performance_id, seat_no] |= {
                "ticket_id": ticket["id"],
                "hold_id": None,
                "held_until": None,
                "displaced_hold_id": None,
            }
        allowance = self.allowances[performance_id, account_id]
        allowance |= {"seats_bought": allowance["seats_bought"] + len(issued), "hold_id": None}
        self.bookings.append(booking)
        self.record(
            "booking_paid",
            performance_id=performance_id,
            booking_id=str(booking["id"]),
            hold_id=str(hold["id"]),
            entry_id=str(stay["id"]),
            account_id=str(account_id),
            ledger_id=str(ledger_id),
            reference=booking["reference"],
            total_minor=hold["total_minor"],
            currency=currency,
            tickets=issued,
        )
        return booking

    def _issue(self, booking: Row, seat_no: int, price_minor: int) -> Row:
        ticket = {
            "id": uuid.uuid4(),
            "booking_id": booking["id"],
            "performance_id": booking["performance_id"],
            "seat_no": seat_no,
            "price_minor": price_minor,
            "code": random_code(CODE_LENGTH),
            "scanned_at": None,
            "voided_at": None,
        }
        self.tickets.append(ticket)
        self.tickets_of[booking["id"]].append(ticket)
        return ticket

    def cancel(self, booking: Row, *, refund_minor: int | None = None, free: bool = True) -> None:
        """Undo a booking, give its price back (or something else) and free its seats (or not)."""
        performance_id, account_id = booking["performance_id"], booking["account_id"]
        refund_minor = booking["total_minor"] if refund_minor is None else refund_minor
        booking["cancelled_at"] = self.now
        tickets = self.tickets_of[booking["id"]]
        for ticket in tickets:
            ticket["voided_at"] = self.now
            if free:
                self.seats[performance_id, ticket["seat_no"]]["ticket_id"] = None
        self.allowances[performance_id, account_id]["seats_bought"] -= len(tickets)
        ledger_id = self._move(account_id, "refund", refund_minor, booking["id"])
        self.record(
            "booking_cancelled",
            performance_id=performance_id,
            booking_id=str(booking["id"]),
            account_id=str(account_id),
            ledger_id=str(ledger_id),
            refund_minor=refund_minor,
            tickets=[str(ticket["id"]) for ticket in tickets],
            seats=sorted(ticket["seat_no"] for ticket in tickets) if free else [],
        )

    def scan(self, ticket: Row) -> None:
        ticket["scanned_at"] = self.now
        self.record(
            "ticket_scanned",
            performance_id=ticket["performance_id"],
            ticket_id=str(ticket["id"]),
            seat_no=ticket["seat_no"],
        )

    def _end(self, row: Row, reason: str) -> None:
        row |= {"ended_at": self.now, "end_reason": reason}

    def _in(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    # -- writing

    def write(self, db: Database) -> None:
        """Store all of it in one transaction."""
        with db.writer.connect() as connection, connection.begin():
            if not db.is_sqlite:
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            for performance_id, last in self.numbers.items():
                of_it = Seat.performance_id == performance_id
                connection.execute(delete(Seat).where(of_it))
                connection.execute(
                    update(RoomProgress)
                    .where(RoomProgress.performance_id == performance_id)
                    .values(last_number=last)
                )
            rows_of: list[tuple[type[Base], Iterable[Row]]] = [
                (Account, self.accounts),
                (Wallet, self.wallets.values()),
                (LedgerEntry, self.ledger),
                (QueueEntry, self.stays),
                (Allowance, self.allowances.values()),
                (Seat, self.seats.values()),
                (Hold, self.holds),
                (Booking, self.bookings),
                (Ticket, self.tickets),
                (JournalEntry, self.entries),
            ]
            for model, rows in rows_of:
                store(connection, table_of(model), list(rows))


def store(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert many rows, by COPY where there is one."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(insert(table), rows)
        return
    columns = ", ".join(f'"{name}"' for name in rows[0])
    cursor: Any = connection.connection.cursor()
    with cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(
                [
                    Jsonb(value) if isinstance(value, dict | list) else value
                    for value in row.values()
                ]
            )
