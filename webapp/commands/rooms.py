"""Steering waiting rooms from the command line, and checking their lotteries."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from flask.cli import with_appcontext

from webapp.commands.sales import NUMBER_MAX
from webapp.commands.speaking import Operation, refused, say
from webapp.db import Database, Tx
from webapp.domain import catalogue, lottery, outlook, pace, rooms, sales
from webapp.domain.errors import NotFound
from webapp.web.house import house

MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"])
TURN_SECONDS = click.IntRange(60, 86_400)


class NumberOr(click.IntRange):
    """A whole number, or the word that stands for none."""

    def __init__(self, word: str, low: int, high: int) -> None:
        super().__init__(low, high)
        self.word = word
        self.name = f"number|{word}"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, or the word itself."""
        return value if value == self.word else super().convert(value, param, ctx)


@click.command(cls=Operation)
@click.argument("performance", type=int, help="The performance's number.")
@click.option("--prequeue-opens-at", type=MOMENT, help="When the pre-queue opens, with its zone.")
@click.option("--no-prequeue", is_flag=True, help="Have no pre-queue.")
@click.option("--sales-open-at", type=MOMENT, help="When the sale opens, with its zone.")
@click.option(
    "--capacity",
    type=NumberOr("off", 0, NUMBER_MAX),
    help="How many may choose and pay at once; off: everybody at once.",
)
@click.option(
    "--rate-per-minute",
    type=click.IntRange(0, NUMBER_MAX),
    help="How many are admitted within any 60 seconds at most.",
)
@click.option("--session-seconds", type=TURN_SECONDS, help="How long a turn lasts.")
@click.option(
    "--arrival-seconds",
    type=click.IntRange(catalogue.ARRIVAL_SECONDS_MIN, 86_400),
    help="How long people have to come to it.",
)
@click.option(
    "--idle-seconds",
    type=NumberOr("none", 60, 86_400),
    help="After how long of doing nothing a turn ends.",
)
@click.option("--message", help="What to tell those who wait.")
@click.option("--beacon-source", help="Which public beacon the lottery will use.")
@click.option("--pause/--resume", "paused", default=None, help="Stop or go on admitting.")
@click.option("--invite", metavar="EMAIL", help="Let an account past the line.")
@click.option("--disinvite", metavar="EMAIL", help="Take an account off the guest list.")
@click.option("--revoke", metavar="EMAIL", help="End an account's stay.")
@click.option("--beacon", metavar="VALUE", help="Enter the beacon's value; the lottery is drawn.")
@with_appcontext
def room(performance: int, **options: Any) -> None:
    """Show the waiting room of PERFORMANCE, after changing what is asked for.

    Every change is in the journal and counts from the usher's next round.
    """
    db = house().db
    options = {
        name: value.strip() if isinstance(value, str) else value for name, value in options.items()
    }
    changes = _changes(options)
    if changes:
        db.transact(rooms.change, performance, None, changes)
    if options["paused"] is not None:
        db.transact(sales.set_paused, performance, None, options["paused"])
    for name, work in (
        ("invite", rooms.invite),
        ("disinvite", rooms.disinvite),
        ("revoke", rooms.revoke),
        ("beacon", lottery.set_beacon),
    ):
        if options[name] is not None:
            db.transact(work, performance, None, options[name])
    facts = _describe(db, performance)
    say(facts, "\n".join(f"{name:<22}{value}" for name, value in facts.items()))


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    changes = {
        name: options[name]
        for name in (*catalogue.OF_SALE, *catalogue.OF_ROOM)
        if options[name] is not None
    }
    for name in ("prequeue_opens_at", "sales_open_at"):
        if name in changes:
            changes[name] = changes[name].astimezone(UTC)
    for name, word in (("capacity", "off"), ("idle_seconds", "none")):
        if changes.get(name) == word:
            changes[name] = None
    return changes | ({"prequeue_opens_at": None} if options["no_prequeue"] else {})


def _describe(db: Database, performance_id: int) -> dict[str, Any]:
    def read(tx: Tx) -> dict[str, Any]:
        rules = catalogue.get_rules(tx, performance_id)
        settings = rooms.get_settings(tx, performance_id)
        figures = outlook.measure(tx, rules)
        now = pace.get(tx)
        return (
            {"performance_id": performance_id}
            | {name: getattr(rules, name) for name in catalogue.OF_SALE}
            | {name: getattr(settings, name) for name in catalogue.OF_ROOM}
            | {"paused_at": rules.paused_at}
            | {name: getattr(figures, name) for name in outlook.Figures.__slots__[1:]}
            | {"pace_percent": now.percent, "pace_reason": now.reason}
            | {"guests": rooms.list_guests(tx, performance_id)}
        )

    return db.read(read)


@click.command("lottery", cls=Operation)
@click.argument("performance", type=int, help="The performance's number.")
@click.option(
    "--publication",
    type=click.Path(exists=True, dir_okay=False),
    help="Check this file, as /api/v1/performances/PERFORMANCE/lottery gave it, without the database.",
)
@click.option(
    "--participants",
    type=click.Path(exists=True, dir_okay=False),
    help="The list that belongs to it, as the lottery's page gives it.",
)
@click.option(
    "--seed-hash",
    metavar="HEX",
    help="The seed's SHA-256 as you saw it when the pre-queue opened; the publication repeats it.",
)
@click.option("--entry", type=click.UUID, help="Say which number this entry has.")
@with_appcontext
def draw_again(
    performance: int,
    publication: str | None,
    participants: str | None,
    seed_hash: str | None,
    entry: UUID | None,
) -> None:
    """Compute the order of PERFORMANCE's lottery again and compare it with what was published.

    From the database: with the numbers that were given and the seed's hash in the journal, too. With
    --publication and --participants from those two files alone. The exit status is 1 when anything differs.
    """
    if (publication is None) != (participants is None):
        raise click.UsageError("--publication and --participants belong together")
    differences: list[str] = []
    if publication is not None and participants is not None:
        published = json.loads(Path(publication).read_text("utf-8"))
        packed = _pack(Path(participants).read_text("ascii"))
    else:
        published, packed, differences = house().db.read(_read, performance)
    if published["seed"] is None:
        raise refused("not_drawn", "The lottery has not been drawn yet.")
    published |= {"seed_hash": seed_hash.strip().lower()} if seed_hash else {}
    differences += _compare(published, packed)
    order = lottery.order_of(bytes.fromhex(published["seed"]), published["beacon"] or "", packed)
    first = int(published["first_number"])
    number = first + order.index(entry) if entry in order else None
    facts = published | {"ok": not differences, "differences": differences[:20]}
    if entry is not None:
        facts |= {"entry": entry, "number": number}
    say(facts, _told(facts, order, first))
    if differences:
        click.get_current_context().exit(1)


def _read(tx: Tx, performance_id: int) -> tuple[dict[str, Any], bytes, list[str]]:
    found = lottery.find_publication(tx, performance_id)
    if found is None:
        raise NotFound(lottery=performance_id)
    published = {name: getattr(found, name) for name in lottery.Publication.__slots__}
    published["seed_hash"] = lottery.find_sealed_hash(tx, performance_id)
    if found.drawn_at is None:
        return published, b"", []
    packed = lottery.get_participants(tx, performance_id)
    return published, packed, lottery.find_misplaced(tx, performance_id)


def _pack(text: str) -> bytes:
    try:
        return b"".join(UUID(line).bytes for line in text.split())
    except ValueError as error:
        raise refused("malformed", "The list of participants is not one id a line.") from error


def _compare(published: dict[str, Any], packed: bytes) -> list[str]:
    """Say what of the publication does not belong together."""
    seed = bytes.fromhex(published["seed"])
    compared = {
        "seed_hash": lottery.hash_of(seed),
        "participants": len(packed) // lottery.ID_BYTES,
        "participants_digest": lottery.digest_of(packed).hex(),
    }
    return [
        f"{name} was published as {published[name]} and is {value}"
        for name, value in compared.items()
        if published[name] != value
    ]


def _told(facts: dict[str, Any], order: list[UUID], first: int) -> str:
    lines = [
        f"{name:<22}{value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value}"
        for name, value in facts.items()
        if name not in ("ok", "differences")
    ]
    lines += [f"  {number:>9,}  {entry}" for number, entry in enumerate(order[:10], first)]
    lines += ["  …"] if len(order) > 10 else []
    verdict = "The order is what was published." if facts["ok"] else "It DIFFERS:"
    return "\n".join([*lines, verdict, *facts["differences"]])
