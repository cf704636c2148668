"""Is what the tables say what happened? One line per check, and what differs."""

import time

import click
from flask.cli import with_appcontext

from webapp.commands.speaking import Operation, say
from webapp.domain import audit
from webapp.domain.audit import Report
from webapp.web.house import house


@click.command(cls=Operation)
@click.option(
    "--shown",
    type=click.IntRange(1, 10_000),
    default=audit.SHOWN,
    show_default=True,
    help="How many differences to name per check.",
)
@with_appcontext
def verify(shown: int) -> None:
    """Replay the journal against the tables and check every invariant.

    It reads one snapshot and changes nothing, so it may run in the middle of a sale. The exit status is
    1 when anything differs.
    """
    started = time.monotonic()
    report = house().db.read(audit.run, shown)
    seconds = round(time.monotonic() - started, 2)
    facts = {
        "ok": report.ok,
        "as_of": report.instant,
        "seconds": seconds,
        "checks": [
            {
                "name": result.name,
                "ok": result.ok,
                "checked": result.checked,
                "things": result.things,
                "differences": list(result.differences),
                "more": result.more,
            }
            for result in report.results
        ],
    }
    say(facts, _told(report, seconds))
    if not report.ok:
        click.get_current_context().exit(1)


def _told(report: Report, seconds: float) -> str:
    lines = []
    for result in report.results:
        verdict = "ok" if result.ok else "FAILED"
        lines.append(f"{verdict:<8}{result.name:<22}{result.checked:>12,} {result.things}")
        lines += [f"        {difference}" for difference in result.differences]
        if result.more:
            lines.append("        and more; --shown says how many to name")
    failed = sum(not result.ok for result in report.results)
    verdict = f"{failed} of {len(report.results)} checks FAILED" if failed else "All is well"
    return "\n".join([*lines, f"{verdict}, as of {report.instant.isoformat()} ({seconds} s)."])
