"""What the database did during a rush (`--profile`): statements, what they waited for, and plans that took long.

By pg_stat_statements, samples of pg_stat_activity, and auto_explain. It costs the server a little: it is for
finding out where time goes, not for figures.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.postgres import Postgres

SAMPLE_SECONDS = 0.1
STATEMENTS, PLANS = 15, 5
SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "auto_explain.log_min_duration": "100ms",
}
_WAITS = """
SELECT coalesce(wait_event_type || ': ' || wait_event, 'on a processor') FROM pg_stat_activity
WHERE state = 'active' AND datname = current_database() AND pid <> pg_backend_pid()
"""
_STATEMENTS = """
SELECT calls, total_exec_time, mean_exec_time, rows, regexp_replace(query, '\\s+', ' ', 'g')
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT %s
"""
_PLAN = re.compile(r"duration: ([\d.]+) ms  plan:\n\s*Query Text: ([^\n]+)")


@contextmanager
def profiled(server: Postgres, database: str = "rush") -> Iterator[list[str]]:
    """Look on while the body runs; afterwards the list has what is to be told, as Markdown."""
    told: list[str] = []
    waits: Counter[str] = Counter()
    enough = threading.Event()
    with psycopg.connect(server.url(dbname=database), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")

        def sample() -> None:
            while not enough.wait(SAMPLE_SECONDS):
                waits.update(name for (name,) in connection.execute(_WAITS))

        looking = threading.Thread(target=sample, daemon=True)
        looking.start()
        try:
            yield told
        finally:
            enough.set()
            looking.join()
        told += ["## Statements", "", "| calls | ms in all | ms each | rows | statement |"]
        told += ["|---|---|---|---|---|"]
        for calls, total, each, rows, text in connection.execute(_STATEMENTS, [STATEMENTS]):
            told.append(f"| {calls:,} | {total:,.0f} | {each:.3f} | {rows:,} | `{text[:200]}` |")
    samples = sum(waits.values())
    told += ["", f"## What statements were at, of {samples:,} samples", ""]
    told += [f"- {name}: {count / samples:.0%}" for name, count in waits.most_common(10)]
    plans = sorted(((float(ms), text) for ms, text in _PLAN.findall(server.log())), reverse=True)
    told += ["", f"## Statements over 100 ms: {len(plans)}", ""]
    told += [f"- {ms:,.0f} ms: `{text[:200]}`" for ms, text in plans[:PLANS]]
