"""Accounts and their money, made by the operator: one by one, or thousands for a rehearsal of a sale."""

import json
import os
import secrets
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import TextIO

import click
from flask.cli import with_appcontext

from webapp.commands.speaking import Operation, say
from webapp.db import new_id
from webapp.domain import accounts, wallet
from webapp.domain.accounts import NewAccount
from webapp.web import inputs
from webapp.web.house import house
from webapp.web.sessions import HASHER

BUYERS_MAX = 1_000_000
BUYERS_PER_BATCH = 1_000
AMOUNT_MAX_MINOR = 10**12


@click.command("new-account", cls=Operation)
@click.option("--email", required=True, help="What its owner signs in with.")
@click.option("--name", required=True, help="What the account's owner is called on tickets.")
@click.option(
    "--role",
    type=click.Choice(["customer", "organiser", "door"]),
    default="customer",
    show_default=True,
    help="What its owner may do beyond buying.",
)
@with_appcontext
def new_account(email: str, name: str, role: str) -> None:
    """Open an account.

    The password is asked for at a terminal; otherwise it is the first line of standard input. It is
    never an argument, where every user of the machine could read it.
    """
    values = {"email": email, "name": name, "password": _read_password()}
    person = inputs.form(inputs.SignUp, values)
    new = NewAccount(
        uuid.uuid4(), person.email, person.name, role, password_hash=HASHER.hash(person.password)
    )
    config = house().config
    lifetime = timedelta(hours=config.session_hours)
    house().db.transact(accounts.create, [new], config.currency, lifetime)
    facts = {"id": str(new.id), "email": new.email, "name": new.name, "role": role}
    say(facts, f"{new.email} can sign in ({role}).")


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    prompted: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return prompted


@click.command(cls=Operation)
@click.option("--email", required=True, help="Whose wallet.")
@click.option(
    "--amount-minor",
    type=click.IntRange(1, AMOUNT_MAX_MINOR),
    required=True,
    help="How much, in the currency's minor unit (won; cents).",
)
@with_appcontext
def credit(email: str, amount_minor: int) -> None:
    """Top up somebody's wallet.

    For a house where self-service is closed (TOPUPS). Each run adds the amount once more.
    """
    balance = house().db.transact(wallet.credit, email, new_id(), amount_minor)
    facts = {
        "email": email.strip().lower(),
        "amount_minor": amount_minor,
        "balance_minor": balance.balance_minor,
        "currency": balance.currency,
    }
    say(facts, f"{facts['email']} has {balance.balance_minor:,} {balance.currency} (minor units).")


@click.command("new-buyers", cls=Operation)
@click.option("--count", type=click.IntRange(1, BUYERS_MAX), required=True, help="How many.")
@click.option(
    "--balance-minor",
    type=click.IntRange(0, AMOUNT_MAX_MINOR),
    default=1_000_000,
    show_default=True,
    help="What is in each wallet, in the currency's minor unit.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True),
    required=True,
    help="Where to write one JSON line for each: {email, session_token}. Readable by you alone.",
)
@with_appcontext
def new_buyers(count: int, balance_minor: int, out: str) -> None:
    """Make customers in bulk, signed in and without passwords, to rehearse a sale with.

    They can do nothing but use the sessions in the file, which last SESSION_HOURS. Each batch is
    written once it is committed: what the file holds exists.
    """
    config = house().config
    lifetime = timedelta(hours=config.session_hours)
    hidden = not sys.stderr.isatty()
    with (
        _open_for_owner(out) as file,
        click.progressbar(length=count, file=sys.stderr, hidden=hidden) as bar,
    ):
        for batch in _batches(count, balance_minor):
            new = [buyer for buyer, _ in batch]
            house().db.transact(accounts.create, new, config.currency, lifetime)
            for buyer, token in batch:
                file.write(json.dumps({"email": buyer.email, "session_token": token}) + "\n")
            file.flush()
            bar.update(len(batch))
    say({"count": count, "out": out}, f"{count:,} customers made; their sessions are in {out}.")


def _open_for_owner(path: str) -> TextIO:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise click.FileError(path, error.strerror) from error
    os.fchmod(descriptor, 0o600)  # a file that was there keeps its mode otherwise
    return open(descriptor, "w", encoding="utf-8")


def _batches(count: int, balance_minor: int) -> Iterator[list[tuple[NewAccount, str]]]:
    """Yield accounts with their session tokens; `run` keeps the addresses of two runs apart."""
    run = secrets.token_hex(4)
    for start in range(0, count, BUYERS_PER_BATCH):
        batch = []
        for number in range(start, min(start + BUYERS_PER_BATCH, count)):
            token = secrets.token_urlsafe(32)
            buyer = NewAccount(
                new_id(),
                f"buyer-{run}-{number}@example.com",
                f"Buyer {number}",
                balance_minor=balance_minor,
                ledger_id=new_id(),
                session_digest=accounts.digest(token),
            )
            batch.append((buyer, token))
        yield batch
