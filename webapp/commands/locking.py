"""Who waits for whom in the database, how many transactions it undoes, and which seats everybody wants."""

import time
from typing import Any

import click
from flask.cli import with_appcontext
from sqlalchemy import text

from webapp.commands.speaking import Operation, say
from webapp.db import Database, Tx
from webapp.domain import watching
from webapp.web.house import house

SEATS_SHOWN = 10

_BLOCKED = text(
    """
    SELECT waits.pid AS blocked, blocker.pid AS blocking,
           extract(epoch FROM cast(:now AS timestamptz) - waits.state_change) AS seconds,
           coalesce(waits.wait_event, '') AS waiting_for, blocker.state AS blocking_is,
           left(regexp_replace(waits.query, '\\s+', ' ', 'g'), 80) AS blocked_in,
           left(regexp_replace(blocker.query, '\\s+', ' ', 'g'), 80) AS blocking_in
    FROM pg_stat_activity waits
    CROSS JOIN LATERAL unnest(pg_blocking_pids(waits.pid)) AS by(pid)
    JOIN pg_stat_activity blocker ON blocker.pid = by.pid
    WHERE waits.datname = current_database()
    ORDER BY seconds DESC
    """
)
_DONE = text(
    "SELECT xact_commit, xact_rollback, deadlocks FROM pg_stat_database"
    " WHERE datname = current_database()"
)


@click.command(cls=Operation)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=3.0,
    show_default=True,
    help="How long to count commits, rollbacks and deadlocks.",
)
@click.option(
    "--minutes",
    type=click.IntRange(1, 1_440),
    default=5,
    show_default=True,
    help="How far to look back for the busiest seats.",
)
@with_appcontext
def locks(seconds: float, minutes: int) -> None:
    """Show blocked and blocking sessions, conflicts, and the busiest seats.

    A rollback is a refusal or a lost race; which of them, `jari_transaction_retries_total` says. On
    SQLite there is one writer at a time and nothing to show but the seats.
    """
    db = house().db
    blocked = [] if db.is_sqlite else db.read(_blocked)
    counted = {} if db.is_sqlite else _count(db, seconds)
    busiest = db.read(watching.busiest_seats, minutes * 60.0, SEATS_SHOWN)
    facts = {
        "blocked": blocked,
        "within_seconds": seconds,
        **counted,
        "busiest_seats": [
            {"performance_id": seat.performance_id, "seat": seat.label, "holds": seat.holds}
            for seat in busiest
        ],
    }
    say(facts, _told(blocked, counted, seconds, minutes, busiest))


def _blocked(tx: Tx) -> list[dict[str, Any]]:
    rows = tx.execute(_BLOCKED, {"now": tx.now}).mappings()
    return [dict(row) | {"seconds": round(float(row["seconds"]), 1)} for row in rows]


def _count(db: Database, seconds: float) -> dict[str, int]:
    before = db.read(_done)
    time.sleep(seconds)
    after = db.read(_done)
    return {name: after[name] - before[name] for name in after}


def _done(tx: Tx) -> dict[str, int]:
    row = tx.execute(_DONE).one()
    return {
        "commits": row.xact_commit,
        "rollbacks": row.xact_rollback,
        "deadlocks": row.deadlocks,
    }


def _told(
    blocked: list[dict[str, Any]],
    counted: dict[str, int],
    seconds: float,
    minutes: int,
    busiest: list[watching.BusySeat],
) -> str:
    lines = [
        f"{one['blocked']} has waited {one['seconds']} s for {one['blocking']}"
        f" ({one['blocking_is']}): {one['blocked_in']}"
        for one in blocked
    ] or ["Nobody waits for anybody."]
    if counted:
        numbers = ", ".join(f"{count} {name}" for name, count in counted.items())
        lines.append(f"Within {seconds:g} s: {numbers}.")
    lines.append(f"Held most often within {minutes} minutes:" if busiest else "No seat was held.")
    lines += [
        f"  {seat.holds:>5} ×  {seat.label}  (performance {seat.performance_id})"
        for seat in busiest
    ]
    return "\n".join(lines)
