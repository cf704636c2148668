"""Prepaid money. A balance never goes below zero, and every movement is in the ledger."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from webapp.db import Tx, make
from webapp.domain.errors import InsufficientFunds, NotFound
from webapp.domain.model import Account, LedgerEntry, Wallet, table_of
from webapp.domain.rows import Change, given_of, inserting_many
from webapp.statements import Prepared, inserting

_WALLET = table_of(Wallet)
_LEDGER = table_of(LedgerEntry)


@dataclass(frozen=True, slots=True)
class Balance:
    """What a wallet holds, in minor units."""

    balance_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Movement:
    """One ledger entry; `amount_minor` is negative for what was spent."""

    id: uuid.UUID
    kind: str
    amount_minor: int
    booking_id: uuid.UUID | None
    at: datetime


def get(tx: Tx, account_id: uuid.UUID) -> Balance:
    """Return a wallet; raise NotFound."""
    row = tx.execute(
        select(Wallet.balance_minor, Wallet.currency).where(Wallet.account_id == account_id)
    ).one_or_none()
    if row is None:
        raise NotFound()
    return make(Balance, row)


def list_movements(
    tx: Tx, account_id: uuid.UUID, before: uuid.UUID | None, limit: int
) -> list[Movement]:
    """Return up to `limit` ledger entries older than `before`, newest first."""
    query = select(
        LedgerEntry.id,
        LedgerEntry.kind,
        LedgerEntry.amount_minor,
        LedgerEntry.booking_id,
        LedgerEntry.at,
    ).where(LedgerEntry.account_id == account_id)
    if before is not None:
        query = query.where(LedgerEntry.id < before)
    return [
        make(Movement, row)
        for row in tx.execute(query.order_by(LedgerEntry.id.desc()).limit(limit))
    ]


def top_up(tx: Tx, account_id: uuid.UUID, ledger_id: uuid.UUID, amount_minor: int) -> Balance:
    """Add money; return the new balance. `amount_minor` is positive (the caller's parser saw to it)."""
    movement = Movement(ledger_id, "top_up", amount_minor, None, tx.now)
    balance = _credit(tx, account_id, movement)
    tx.record(
        "wallet_topped_up",
        account_id=str(account_id),
        ledger_id=str(ledger_id),
        amount_minor=amount_minor,
    )
    return balance


def credit(tx: Tx, email: str, ledger_id: uuid.UUID, amount_minor: int) -> Balance:
    """Top up the wallet of the account with this address: the operator's command. Raises NotFound."""
    account_id = tx.execute(
        select(Account.id).where(Account.email == email.strip().lower())
    ).scalar_one_or_none()
    if account_id is None:
        raise NotFound(email=email)
    return top_up(tx, account_id, ledger_id, amount_minor)


def spend(
    tx: Tx, account_id: uuid.UUID, ledger_id: uuid.UUID, booking_id: uuid.UUID, amount_minor: int
) -> Balance:
    """Take the price of a booking; raise InsufficientFunds with what is missing."""
    row = _SPEND.run(tx, account_id=account_id, balance_minor=amount_minor)
    if row is None:
        raise InsufficientFunds(short_minor=amount_minor - get(tx, account_id).balance_minor)
    _note(tx, account_id, Movement(ledger_id, "spend", -amount_minor, booking_id, tx.now))
    return make(Balance, row[1:])


def spend_together(tx: Tx, payments: Sequence[tuple[uuid.UUID, Movement]]) -> set[uuid.UUID]:
    """Do `spend` for several accounts, on PostgreSQL; return those that had the money.

    All movements are noted: unless all had it, the caller stores nothing.
    """
    ordered = sorted(payments, key=lambda payment: payment[0])
    rows = _SPEND.run_together(
        tx,
        account_id=[account_id for account_id, _ in ordered],
        balance_minor=[-movement.amount_minor for _, movement in ordered],
    )
    columns = {
        name: [getattr(movement, name) for _, movement in ordered] for name in Movement.__slots__
    }
    tx.fetch(_INSERT_MOVEMENTS, account_id=[account_id for account_id, _ in ordered], **columns)
    return {row[0] for row in rows}


def refund(
    tx: Tx, account_id: uuid.UUID, ledger_id: uuid.UUID, booking_id: uuid.UUID, amount_minor: int
) -> Balance:
    """Give the price of a booking back; the schema allows one refund per booking."""
    return _credit(tx, account_id, Movement(ledger_id, "refund", amount_minor, booking_id, tx.now))


def _credit(tx: Tx, account_id: uuid.UUID, movement: Movement) -> Balance:
    row = _CREDIT.run(tx, account_id=account_id, balance_minor=movement.amount_minor)
    if row is None:
        raise ValueError("a credit is positive")
    _note(tx, account_id, movement)
    return make(Balance, row)


def _note(tx: Tx, account_id: uuid.UUID, movement: Movement) -> None:
    values = {name: getattr(movement, name) for name in Movement.__slots__}
    tx.fetch(_INSERT_MOVEMENT, account_id=account_id, **values)


_MOVEMENT_COLUMNS = ("account_id", *Movement.__slots__)
_INSERT_MOVEMENT = Prepared(inserting(_LEDGER, {name: name for name in _MOVEMENT_COLUMNS}))
_INSERT_MOVEMENTS = inserting_many(_LEDGER, _MOVEMENT_COLUMNS)
_AMOUNT = given_of(_WALLET.c.balance_minor)
_CREDIT = Change(
    _WALLET,
    {"balance_minor": _WALLET.c.balance_minor + _AMOUNT},
    _WALLET.c.balance_minor + _AMOUNT >= 0,
    given=["balance_minor"],
    returning=Balance.__slots__,
)
_SPEND = Change(
    _WALLET,
    {"balance_minor": _WALLET.c.balance_minor - _AMOUNT},
    _WALLET.c.balance_minor >= _AMOUNT,
    given=["balance_minor"],
    returning=["account_id", *Balance.__slots__],
)
