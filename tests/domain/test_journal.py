"""The journal says what its docstring says: every kind, every fact, nothing else."""

import re
from collections import defaultdict
from pathlib import Path

from flask import Flask
from sqlalchemy import select

from tests.busy import play
from tests.conftest import AdvancingClock
from webapp.db import Database
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


def test_every_kind_that_the_house_records_is_documented() -> None:
    source = "".join(path.read_text() for path in (ROOT / "webapp").rglob("*.py"))
    recorded = set(re.findall(r'\btx\.record\(\s*"(\w+)"', source)) | {"sale_resumed"}
    assert recorded == set(documented())
