"""The journal says what its docstring says: every kind, every fact, nothing else."""

import re
import uuid
from collections import defaultdict
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.busy import play
from tests.conftest import AdvancingClock, config_for, dispose
from tests.faults import Faults
from webapp import create_app
from webapp.db import Database, Tx
from webapp.domain import journal
from webapp.domain.audit.replay import KINDS
from webapp.domain.model import JournalEntry

ROOT = Path(__file__).resolve().parents[2]


def documented() -> dict[str, set[str]]:
    """Read the table of kinds and facts in the journal's docstring."""
    lines = (journal.__doc__ or "").split("    kind                facts\n")[1].split("\n\n")[0]
    kinds: dict[str, set[str]] = {}
    kind = ""
    for line in lines.splitlines():
        kind = line[:24].strip() or kind
        kinds.setdefault(kind, set()).update(line[24:].split())
    return kinds


def test_the_journal_says_what_its_document_says(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    play(app, db, clock)
    recorded: dict[str, set[frozenset[str]]] = defaultdict(set)
    for kind, facts in db.read(lambda tx: tx.execute(ENTRIES).all()):
        recorded[kind].add(frozenset(facts))
    assert recorded == {kind: {frozenset(facts)} for kind, facts in documented().items()}
    assert set(KINDS) == set(documented())


ENTRIES = select(JournalEntry.kind, JournalEntry.facts)


NOTE = 'a "b" {c} \\ 자리'


def write_many(db: Database, size: int) -> list[uuid.UUID]:
    def work(tx: Tx) -> list[uuid.UUID]:
        for place in range(size):
            tx.record("sale_paused", performance_id=place, note=NOTE)
            tx.next_one()
        return [entry.attempt_id for entry in tx.journal]

    return db.transact(work)


@pytest.mark.parametrize("size", [1, 2, 40])
def test_entries_keep_their_order_whatever_their_number(db: Database, size: int) -> None:
    ids = write_many(db, size)
    rows = select(JournalEntry.facts, JournalEntry.attempt_id).order_by(JournalEntry.id)
    found = db.read(lambda tx: tx.execute(rows).all())[-size:]
    assert [facts for facts, _ in found] == [
        {"performance_id": place, "note": NOTE} for place in range(size)
    ]
    assert [attempt_id for _, attempt_id in found] == ids


def test_groups_of_any_size_are_written_by_one_statement(postgres_url: str) -> None:
    """The driver keeps none with more than 50 parameters, and prepares each that it keeps."""
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db
    faults = Faults(db)
    for size in (2, 3, 40):
        write_many(db, size)
    assert len({statement.text for statement in faults.statements}) == 1
    dispose(app)


def test_every_kind_that_the_house_records_is_documented() -> None:
    source = "".join(path.read_text() for path in (ROOT / "webapp").rglob("*.py"))
    recorded = set(re.findall(r'\btx\.record\(\s*"(\w+)"', source)) | {"sale_resumed"}
    assert recorded == set(documented())
