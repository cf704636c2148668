"""What must be true after every race, whoever won it."""

from collections import Counter
from typing import Any

from sqlalchemy import func, select, text

from webapp.db import Database, Tx
from webapp.domain import audit, seatmap
from webapp.domain.model import (
    Allowance,
    Hold,
    LedgerEntry,
    Performance,
    Seat,
    Seatmap,
    Ticket,
    Wallet,
)


def assert_sound(db: Database) -> None:
    """One owner per seat, every seat counted, ledgers equal to wallets, no deadlock, a clean audit.

    The few statements here are on purpose not the audit's own: two ways of counting must agree.
    """
    db.read(_assert_seats)
    db.read(_assert_money)
    db.read(_assert_no_deadlock)
    report = db.read(audit.run)
    assert report.ok, [result for result in report.results if not result.ok]


def _assert_seats(tx: Tx) -> None:
    live_tickets = select(Ticket.performance_id, Ticket.seat_no).where(Ticket.voided_at.is_(None))
    tickets = _rows(tx, live_tickets)
    live_holds = select(Hold.performance_id, Hold.seats).where(
        Hold.ended_at.is_(None), Hold.expires_at > tx.now
    )
    held = [(performance, no) for performance, seats in _rows(tx, live_holds) for no, _ in seats]
    owned = Counter(tickets + held)
    assert max(owned.values(), default=0) <= 1, "a seat has two owners"
    seats = select(Seat.performance_id, Seat.seat_no)
    assert sorted(tickets) == sorted(_rows(tx, seats.where(Seat.ticket_id.is_not(None))))
    assert sorted(held) == sorted(_rows(tx, seats.where(Seat.held_until > tx.now)))
    halls = select(Performance.id, Seatmap.seat_count).join(
        Seatmap, Seatmap.id == Performance.seatmap_id
    )
    for performance, capacity in _rows(tx, halls):
        states = seatmap.states(tx, performance)
        assert sum(map(states.count, "fhsb")) == len(states) == capacity


def _assert_money(tx: Tx) -> None:
    sums = select(LedgerEntry.account_id, func.sum(LedgerEntry.amount_minor))
    spent = dict(_rows(tx, sums.group_by(LedgerEntry.account_id)))
    for account, balance in _rows(tx, select(Wallet.account_id, Wallet.balance_minor)):
        assert balance == spent.get(account, 0) >= 0
    bought = select(func.sum(Allowance.seats_bought))
    tickets = select(func.count()).where(Ticket.voided_at.is_(None))
    assert (tx.execute(bought).scalar() or 0) == tx.execute(tickets).scalar()


def _assert_no_deadlock(tx: Tx) -> None:
    if tx.connection.dialect.name == "postgresql":
        query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert tx.execute(query).scalar() == 0


def _rows(tx: Tx, query: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in tx.execute(query)]
