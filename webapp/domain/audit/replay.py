"""The journal, read once from its beginning: what it says must be what the tables say.

`journal` lists every kind and its facts; each has one method here, which turns it into facts about the
things it changed and hands seats over. A kind without a method, or an entry without its facts, is itself
a difference.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from webapp.db import Tx
from webapp.domain.audit.facts import Lens, Sink, Tally, pairs, parsed, stream, text_of
from webapp.domain.audit.findings import Findings, Result
from webapp.domain.audit.owners import Owners
from webapp.domain.audit.subjects import SUBJECTS
from webapp.domain.model import JournalEntry


def check_journal(tx: Tx, shown: int) -> tuple[datetime, list[Result]]:
    """Replay and compare; return the latest instant the snapshot knows of, and what was found.

    The instant is not before any entry: a hold that a transaction found dead is dead at it.
    """
    tallies = {subject.name: Tally() for subject in SUBJECTS}
    replay = Replay(tallies, shown)
    replay.read(tx)
    seats = Findings(shown)
    taken = replay.owners.compare(tx, seats)
    results = [
        replay.unreadable.result("journal_readable", "entries", replay.entries),
        replay.unlawful.result("journal_handovers", "seats", replay.owners.handed),
        seats.result("journal_seats", "taken seats", taken),
    ]
    return max(tx.now, replay.latest or tx.now), results + _compare(tx, tallies, shown)


def _compare(tx: Tx, tallies: Mapping[str, Tally], shown: int) -> list[Result]:
    """Hold the tables against what the journal told; read again only what differs."""
    for subject in SUBJECTS:
        for fact in subject.rows(tx):
            tallies[subject.name].take(fact)
    suspects = {name: tally.suspects() for name, tally in tallies.items()}
    lenses = {name: Lens(buckets[:shown]) for name, buckets in suspects.items()}
    if any(suspects.values()):
        Replay(lenses, shown).read(tx)
    results = []
    for subject in SUBJECTS:
        name = subject.name
        findings = Findings(shown, more=len(suspects[name]) > shown)
        if suspects[name]:
            for fact in subject.rows(tx):
                lenses[name].take(fact)
            subject.wording.tell(lenses[name], findings)
        results.append(findings.result(name, "facts", tallies[name].count))
    return results


# -- the journal's side -------------------------------------------------------------------------

_ENTRIES = select(
    JournalEntry.id, JournalEntry.at, JournalEntry.kind, text_of(JournalEntry.facts)
).order_by(JournalEntry.id)


class Replay:
    """One reading of the journal into sinks and seats."""

    def __init__(self, sinks: Mapping[str, Sink], shown: int) -> None:
        self.unreadable = Findings(shown)
        self.unlawful = Findings(shown)
        self.owners = Owners(self.unlawful)
        self.entries = 0
        self.latest: datetime | None = None
        self._performance = sinks["journal_performances"].put
        self._wallet = sinks["journal_wallets"].put
        self._ledger = sinks["journal_ledger"].put
        self._lottery = sinks["journal_lotteries"].put
        self._stay = sinks["journal_stays"].put
        self._hold = sinks["journal_holds"].put
        self._booking = sinks["journal_bookings"].put
        self._ticket = sinks["journal_tickets"].put

    def read(self, tx: Tx) -> None:
        """Read every entry, in the order of its id."""
        for entry_id, at, kind, facts in stream(tx, _ENTRIES):
            self.entries += 1
            if self.latest is None or at > self.latest:
                self.latest = at
            apply = KINDS.get(kind)
            if apply is None:
                self.unreadable.note(f"entry {entry_id} is of a kind that nobody knows: {kind}")
                continue
            try:
                apply(self, at, parsed(facts))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                self.unreadable.note(f"entry {entry_id} ({kind}) cannot be read: {error!r}")

    # -- what is sold

    def performance_opened(self, _at: datetime, facts: Mapping[str, Any]) -> None:
        """A performance has all its seats, free or blocked."""
        performance_id = facts["performance_id"]
        self._performance((performance_id, "opened", facts["seat_count"]))
        self.owners.open(performance_id, facts["seat_count"], facts["blocked"])

    def nothing_that_is_replayed(self, _at: datetime, _facts: Mapping[str, Any]) -> None:
        """How a sale is steered changes no seat, hold, booking, ticket, wallet or entry."""

    # -- who waits

    def queue_joined(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """A stay begins; where the room is off it is admitted at once."""
        entry = _hex(facts["entry_id"])
        self._stay((entry, "joined", facts["performance_id"], _hex(facts["account_id"]), at))
        if facts["access_expires_at"]:
            self._stay((entry, "admitted", at, _instant(facts["access_expires_at"])))

    def queue_numbered(self, _at: datetime, facts: Mapping[str, Any]) -> None:
        """Newcomers get consecutive numbers."""
        for number, entry in enumerate(facts["entries"], facts["first"]):
            self._stay((_hex(entry), "numbered", number))

    def queue_admitted(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """The first in line come in."""
        access_expires_at = _instant(facts["access_expires_at"])
        for entry in facts["entries"]:
            self._stay((_hex(entry), "admitted", at, access_expires_at))

    def queue_retired(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """Stays that are over."""
        for entry in facts["entries"]:
            self._stay((_hex(entry), "ended", facts["reason"], at))

    def lottery_sealed(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """The seed's hash and the beacon's source are fixed."""
        source = facts["beacon_source"]
        self._lottery((facts["performance_id"], "sealed", facts["seed_hash"], source, at))

    def lottery_closed(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """Who takes part is fixed."""
        told = facts["participants"], facts["participants_digest"]
        self._lottery((facts["performance_id"], "closed", *told, at))

    def lottery_beacon(self, _at: datetime, facts: Mapping[str, Any]) -> None:
        """The beacon is known."""
        self._lottery((facts["performance_id"], "lit", facts["beacon"]))

    def lottery_drawn(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """The order is fixed."""
        told = facts["seed"], facts["first_number"]
        self._lottery((facts["performance_id"], "drawn", *told, at))

    def queue_left(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """Somebody gives up."""
        self._stay((_hex(facts["entry_id"]), "ended", "left", at))

    # -- who holds

    def hold_placed(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """Seats change hands: free ones, those of the replaced hold, those of dead holds."""
        performance_id = facts["performance_id"]
        hold, until = _hex(facts["hold_id"]), _instant(facts["expires_at"])
        self._hold(
            (
                hold,
                "placed",
                performance_id,
                _hex(facts["account_id"]),
                _hex(facts["entry_id"]),
                pairs(facts["seats"]),
                facts["total_minor"],
                facts["currency"],
                at,
                until,
                _instant(facts["holds_end_at"]),
            )
        )
        replaced = facts["replaced"] and _hex(facts["replaced"])
        if replaced:
            reason = facts["replaced_reason"]
            successor = hold if reason == "replaced" else None
            self._hold((replaced, "ended", reason, at, successor))
        displaced = {seat_no: _hex(loser) for seat_no, loser in facts["displaced"].items()}
        seat_nos = [seat_no for seat_no, _ in facts["seats"]]
        self.owners.hold(performance_id, seat_nos, (hold, until), at, replaced, displaced)
        self.owners.free(performance_id, facts["freed"], (replaced,))

    def hold_released(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """A customer gives seats back."""
        hold = _hex(facts["hold_id"])
        self._hold((hold, "ended", facts["reason"], at, None))
        self.owners.free(facts["performance_id"], facts["seats"], (hold,))

    def holds_expired(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """The sweeper closes dead holds and frees the seats that nobody took since."""
        holds = [_hex(hold) for hold in facts["holds"]]
        for hold in holds:
            self._hold((hold, "ended", "expired", at, None))
        for performance_id, seat_nos in facts["freed"].items():
            self.owners.free(int(performance_id), seat_nos, holds)

    # -- who owns

    def accounts_opened(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """Accounts come with a wallet, some with money in it."""
        for account in facts["accounts"]:
            self._wallet((_hex(account), "opened", facts["currency"]))
        for account, ledger, amount_minor in facts["credits"]:
            self._moved(at, ledger, account, "top_up", amount_minor)

    def wallet_topped_up(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """Money comes in."""
        self._moved(at, facts["ledger_id"], facts["account_id"], "top_up", facts["amount_minor"])

    def booking_paid(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """A live hold becomes a booking: the stay ends, seats turn to tickets, the wallet pays."""
        performance_id, account = facts["performance_id"], _hex(facts["account_id"])
        booking, hold = _hex(facts["booking_id"]), _hex(facts["hold_id"])
        reference, currency = facts["reference"], facts["currency"]
        total_minor = facts["total_minor"]
        tickets = [(_hex(ticket), seat_no, price) for ticket, seat_no, price in facts["tickets"]]
        self._stay((_hex(facts["entry_id"]), "ended", "paid", at))
        self._hold((hold, "ended", "paid", at, None))
        self._booking(
            (
                booking,
                "paid",
                reference,
                performance_id,
                account,
                hold,
                total_minor,
                currency,
                at,
            )
        )
        for ticket, seat_no, price_minor in tickets:
            self._ticket((ticket, "issued", booking, performance_id, seat_no, price_minor))
        self.owners.sell(performance_id, tickets, hold, at)
        self._moved(at, facts["ledger_id"], account, "spend", -total_minor, booking)

    def booking_cancelled(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """A booking is undone: tickets void, seats free, money back."""
        booking = _hex(facts["booking_id"])
        tickets = [_hex(ticket) for ticket in facts["tickets"]]
        self._booking((booking, "cancelled", at))
        for ticket in tickets:
            self._ticket((ticket, "voided", at))
        self.owners.free(facts["performance_id"], facts["seats"], tickets)
        refund_minor = facts["refund_minor"]
        self._moved(at, facts["ledger_id"], facts["account_id"], "refund", refund_minor, booking)

    def ticket_scanned(self, at: datetime, facts: Mapping[str, Any]) -> None:
        """The door opens."""
        self._ticket((_hex(facts["ticket_id"]), "scanned", at))

    def _moved(
        self,
        at: datetime,
        ledger: str,
        account: str,
        kind: str,
        amount_minor: int,
        booking: str | None = None,
    ) -> None:
        amount = str(amount_minor)  # text, because -1 and -2 have one hash in Python
        self._ledger((_hex(ledger), "moved", _hex(account), kind, amount, booking, at))


def _hex(identifier: str) -> str:
    return identifier.replace("-", "")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


KINDS: dict[str, Callable[[Replay, datetime, Mapping[str, Any]], None]] = {
    "performance_opened": Replay.performance_opened,
    "sale_paused": Replay.nothing_that_is_replayed,
    "sale_resumed": Replay.nothing_that_is_replayed,
    "single_seat_rule": Replay.nothing_that_is_replayed,
    "room_changed": Replay.nothing_that_is_replayed,
    "guest_invited": Replay.nothing_that_is_replayed,
    "guest_disinvited": Replay.nothing_that_is_replayed,
    "access_shared": Replay.nothing_that_is_replayed,
    "pace_changed": Replay.nothing_that_is_replayed,
    "lottery_sealed": Replay.lottery_sealed,
    "lottery_closed": Replay.lottery_closed,
    "lottery_beacon": Replay.lottery_beacon,
    "lottery_drawn": Replay.lottery_drawn,
    "queue_joined": Replay.queue_joined,
    "queue_numbered": Replay.queue_numbered,
    "queue_admitted": Replay.queue_admitted,
    "guests_admitted": Replay.queue_admitted,
    "queue_retired": Replay.queue_retired,
    "queue_left": Replay.queue_left,
    "hold_placed": Replay.hold_placed,
    "hold_released": Replay.hold_released,
    "holds_expired": Replay.holds_expired,
    "accounts_opened": Replay.accounts_opened,
    "wallet_topped_up": Replay.wallet_topped_up,
    "booking_paid": Replay.booking_paid,
    "booking_cancelled": Replay.booking_cancelled,
    "ticket_scanned": Replay.ticket_scanned,
}
