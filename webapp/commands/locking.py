"""Who waits for whom in the database, what had to be run again, and which seats everybody wants."""

from dataclasses import asdict
from typing import Any

import click
from flask.cli import with_appcontext
from sqlalchemy import text

from webapp.commands.speaking import Operation, say
from webapp.db import Tx
from webapp.domain import retries, watching
from webapp.web.house import house

SEATS_SHOWN = 10
CAUSES_SHOWN = 20

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


@click.command(cls=Operation)
@click.option(
    "--minutes",
    type=click.IntRange(1, 1_440),
    default=5,
    show_default=True,
    help="How far to look back for conflicts and the busiest seats.",
)
@with_appcontext
def locks(minutes: int) -> None:
    """Show blocked and blocking sessions, conflicts, and the busiest seats.

    Conflicts are what made the service's own processes run transactions again, by SQLSTATE (on SQLite:
    the error's name), function and attempt; each process tells every 2 s. On SQLite there is one writer
    at a time, and no session to see that waits.
    """
    db = house().db
    blocked = [] if db.is_sqlite else db.read(_blocked)
    conflicts = db.read(retries.lately, minutes * 60.0)
    busiest = db.read(watching.busiest_seats, minutes * 60.0, SEATS_SHOWN)
    facts = {
        "blocked": blocked,
        "within_minutes": minutes,
        "conflicts": [asdict(one) for one in conflicts],
        "busiest_seats": [
            {"performance_id": seat.performance_id, "seat": seat.label, "holds": seat.holds}
            for seat in busiest
        ],
    }
    say(facts, _told(blocked, conflicts, minutes, busiest))


def _blocked(tx: Tx) -> list[dict[str, Any]]:
    rows = tx.execute(_BLOCKED, {"now": tx.now}).mappings()
    return [dict(row) | {"seconds": round(float(row["seconds"]), 1)} for row in rows]


def _told(
    blocked: list[dict[str, Any]],
    conflicts: list[retries.Retries],
    minutes: int,
    busiest: list[watching.BusySeat],
) -> str:
    lines = [
        f"{one['blocked']} has waited {one['seconds']} s for {one['blocking']}"
        f" ({one['blocking_is']}): {one['blocked_in']}"
        for one in blocked
    ] or ["Nobody waits for anybody."]
    total = sum(one.times for one in conflicts)
    lines.append(f"Run again within {minutes} minutes: {total}{':' if total else '.'}")
    lines += [
        f"  {one.times:>5} ×  {one.code}  {one.function}, attempt {one.attempt}"
        for one in conflicts[:CAUSES_SHOWN]
    ]
    lines.append(f"Held most often within {minutes} minutes:" if busiest else "No seat was held.")
    lines += [
        f"  {seat.holds:>5} ×  {seat.label}  (performance {seat.performance_id})"
        for seat in busiest
    ]
    return "\n".join(lines)
