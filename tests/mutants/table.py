"""The guards of the house: where each stands, what is there without it, and which test notices.

A guard is named by the text that is taken out, which must stand in its file exactly once: a change of the
code that moves a guard has to move it here too. The constraints of the schema are found in the migrations.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = "webapp/migrations/versions/0001_first_schema.py"


@dataclass(frozen=True)
class Mutant:
    """A guard, and the code without it."""

    guard: str
    file: str
    old: str
    new: str
    tests: str  # what pytest is given: files, test ids, -k

    def apply(self, root: Path) -> None:
        """Take the guard out of the checkout at `root`."""
        path = root / self.file
        text = path.read_text("utf-8")
        if text.count(self.old) != 1:
            raise LookupError(f"{self.guard}: its text stands {text.count(self.old)} times")
        path.write_text(text.replace(self.old, self.new), "utf-8")


def _of(file: str, tests: str, *guards: tuple[str, str, str, str]) -> list[Mutant]:
    """Make mutants of one file; each ends with the test's name, or with a whole address of one."""
    return [
        Mutant(guard, file, old, new, test if "/" in test else f"{tests}::{test}")
        for guard, old, new, test in guards
    ]


KERNEL = "tests/kernel/test_transact.py"
UNKNOWN = "tests/kernel/test_unknown_commit.py"
CONFLICTS = "tests/kernel/test_injected_conflicts.py"
CONFLICT_ANYWHERE = f"{CONFLICTS}::test_a_conflict_at_any_statement_or_at_commit_changes_nothing"
REAL = "tests/kernel/test_real_conflicts.py"
TIME = "tests/kernel/test_clock.py"
ROOM = "tests/domain/test_waiting_room.py"
HOLDS = "tests/domain/test_holds.py"
TOGETHER = "tests/domain/test_together.py"
PAID_TOGETHER = "tests/domain/test_paid_together.py"
BOOKINGS = "tests/domain/test_bookings.py"
KEYS = "tests/domain/test_idempotency.py"
PEOPLE = "tests/domain/test_accounts.py"
USHER = "tests/jobs/test_usher.py"
SWEEPER = "tests/jobs/test_sweeper.py"
TOKENS = "tests/web/test_tokens.py"
API_TOKENS = "tests/web/test_api_tokens.py"
API_KEYS = "tests/web/test_api_idempotency.py"
GUARDS = "tests/web/test_guards.py"
HOUSE = "tests/test_house.py"
RUDE = "tests/outages/test_rude_clients.py"

MUTANTS = [
    *_of(
        "webapp/db.py",
        KERNEL,
        (
            "a conflict at COMMIT is a conflict, not a doubt",
            'if self._trouble(error).kind == "conflict":',
            "if False:",
            CONFLICT_ANYWHERE,
        ),
        (
            "the commit inside the retried block",
            "            try:\n                tx.connection.commit()\n"
            "            except troubles.DATABASE_ERRORS as error:",
            "            try:\n                tx.connection.commit()\n"
            "            except troubles.DATABASE_ERRORS as error:\n"
            "                raise RuntimeError from error",
            f"{HOUSE}::test_law_1_the_commit_is_inside_the_retried_block",
        ),
        (
            "a lost COMMIT is settled",
            "            self._settle(tx, lost, deadline)\n",
            "            pass\n",
            f"{UNKNOWN}::test_a_commit_that_never_happened_is_made_again",
        ),
        (
            "a lost COMMIT is not simply repeated",
            "            self._settle(tx, lost, deadline)\n",
            "            raise _NeverHappened from lost\n",
            f"{UNKNOWN}::test_an_applied_commit_without_an_answer_is_a_success",
        ),
        (
            "a witness that is locked leaves the outcome open",
            '                if trouble.code in ("55P03", "57014"):\n                    break',
            '                if trouble.code in ("55P03", "57014"):\n'
            "                    raise _NeverHappened from lost",
            f"{UNKNOWN}::test_a_commit_that_still_waits_for_its_standby_is_neither_repeated_nor_denied",
        ),
        (
            "the connection of a lost COMMIT is thrown away",
            "                tx.connection.invalidate()\n",
            "                pass\n",
            f"{UNKNOWN}::test_the_connection_of_a_lost_commit_is_not_used_again",
        ),
        (
            "a swallowed database error is found out",
            "        if tx.failed:\n",
            "        if False:\n",
            "test_a_swallowed_database_error_is_found_out",
        ),
        (
            "the deadline",
            "if number == ATTEMPTS_MAX or time.monotonic() + pause > deadline:",
            "if number == ATTEMPTS_MAX:",
            "test_it_gives_up_at_the_deadline",
        ),
        (
            "the last try",
            "ATTEMPTS_MAX = 8\n",
            "ATTEMPTS_MAX = 800\n",
            "test_it_gives_up_after_so_many_tries_with_full_jitter_between",
        ),
        (
            "full jitter",
            "random.uniform(0, min(",
            "max(0, min(",
            "test_it_gives_up_after_so_many_tries_with_full_jitter_between",
        ),
        (
            "only the outermost call retries",
            "        if running is not None:\n            return work(running, *args)\n",
            "",
            "test_a_nested_call_joins_and_only_the_outermost_retries",
        ),
        (
            "a violated constraint is a refusal",
            "            if refusal := self._refusals.get(trouble.code):\n",
            "            if refusal := None:\n",
            "test_a_mapped_constraint_is_its_refusal",
        ),
        (
            "a generated code that is taken is made again",
            " or trouble.code in self._again:",
            ":",
            "test_a_generated_code_that_is_taken_is_made_again",
        ),
        (
            "effects follow the commit",
            "            result = self._run(tx, work, args)\n            lost: Exception",
            "            result = self._run(tx, work, args)\n            self._tell(tx.journal)\n"
            "            lost: Exception",
            "test_subscribers_hear_after_the_commit_and_only_of_what_is_stored",
        ),
    ),
    *_of(
        "webapp/troubles.py",
        KERNEL,
        (
            "the retry of a serialization failure",
            '    "40001": "conflict",\n',
            '    "40001": "bug",\n',
            f"{CONFLICT_ANYWHERE} -k postgresql",
        ),
        (
            "the retry of a deadlock",
            '    "40P01": "conflict",\n',
            '    "40P01": "bug",\n',
            f"{REAL}::test_a_deadlock_is_broken_and_both_are_done",
        ),
        (
            "the retry of a terminated backend",
            '    "57P01": "lost",\n',
            '    "57P01": "bug",\n',
            f"{REAL}::test_a_connection_lost_at_any_statement_of_a_hold_is_a_retry",
        ),
        (
            "the retry of SQLite's busy writer",
            '    "SQLITE_BUSY": "conflict",\n',
            '    "SQLITE_BUSY": "bug",\n',
            f"{CONFLICT_ANYWHERE} -k sqlite",
        ),
        (
            "a full disk is no bug",
            '    "53100": "overload",',
            '    "53100": "bug",',
            "test_a_database_that_refuses_every_write_is_busy",
        ),
    ),
    *_of(
        "webapp/engines.py",
        KERNEL,
        (
            "writers are SERIALIZABLE",
            '"isolation_level": "SERIALIZABLE" if writes',
            '"isolation_level": "REPEATABLE READ" if writes',
            f"{REAL}::test_of_a_write_skew_pair_only_one_commits",
        ),
        (
            "SQLite's writers begin as writers",
            'exec_driver_sql("BEGIN IMMEDIATE")',
            'exec_driver_sql("BEGIN")',
            "test_sqlite_writes_durably_with_foreign_keys",
        ),
        (
            "readers cannot write (PostgreSQL)",
            '    "default_transaction_read_only": "on",\n',
            "",
            "test_a_read_cannot_write",
        ),
        (
            "readers cannot write (SQLite)",
            '            connection.execute("PRAGMA query_only=ON")',
            "            pass",
            "test_a_read_cannot_write",
        ),
        (
            "no planner scans a small hall",
            '    "enable_seqscan": "off",\n    "enable_bitmapscan": "off",\n',
            "",
            "tests/domain/test_plans.py::test_no_writer_scans",
        ),
        (
            "SQLite's commits wait for the disk",
            "PRAGMA synchronous=FULL",
            "PRAGMA synchronous=NORMAL",
            "test_sqlite_writes_durably_with_foreign_keys",
        ),
        (
            "turns come in the order of arrival",
            "self._waiting.popleft()",
            "self._waiting.pop()",
            "tests/kernel/test_one_writer.py::test_turns_come_in_the_order_of_arrival",
        ),
        (
            "a COMMIT is not waited for for ever",
            "        self._patience = COMMIT_SECONDS\n",
            "        self._patience = None\n",
            "tests/outages/test_standby.py::test_a_standby_that_is_gone_keeps_nobody_waiting_for_ever",
        ),
    ),
    *_of(
        "webapp/clock.py",
        TIME,
        (
            "the database's clock, not this machine's",
            "return datetime.fromtimestamp(time.monotonic() + self._offset, UTC)",
            "return datetime.fromtimestamp(time.time(), UTC)",
            "test_this_machines_wall_clock_plays_no_part",
        ),
        (
            "a slow reading is thrown away",
            "if best[0] > ROUND_TRIP_MAX_SECONDS and self._offset is not None:",
            "if False:",
            "test_a_slow_reading_is_thrown_away",
        ),
    ),
    *_of(
        "webapp/domain/leases.py",
        USHER,
        (
            "the fence",
            ".where(JobLease.name == name, JobLease.fence == fence)\n"
            "        .values(expires_at=tx.now + seconds(lifetime_seconds))",
            ".where(JobLease.name == name)\n"
            "        .values(expires_at=tx.now + seconds(lifetime_seconds))",
            "test_a_leader_that_was_replaced_does_nothing",
        ),
        (
            "a new leader has a new fence",
            "fence=JobLease.fence + 1",
            "fence=JobLease.fence",
            "test_a_leader_that_was_replaced_does_nothing",
        ),
        (
            "a lease is had by one",
            "JobLease.name == name, JobLease.expires_at <= tx.now",
            "JobLease.name == name",
            "test_a_lease_is_had_by_one_until_it_runs_out",
        ),
        (
            "a stranger gives nothing up",
            ".where(JobLease.name == name, JobLease.fence == fence)\n"
            "        .values(expires_at=tx.now)",
            ".where(JobLease.name == name)\n        .values(expires_at=tx.now)",
            "test_a_lease_given_up_is_free_at_once_and_not_by_a_stranger",
        ),
    ),
    *_of(
        "jobs/sweeper.py",
        SWEEPER,
        (
            "the sweeper confirms its lease",
            '    leases.confirm(tx, "sweeper", fence)\n    return holds.expire',
            "    return holds.expire",
            "test_a_sweeper_that_was_replaced_frees_nothing",
        ),
        (
            "the sweeper rests between batches",
            "REST * (time.monotonic() - began)",
            "0.0",
            "test_between_two_batches_it_rests_longer_than_one_takes",
        ),
    ),
    *_of(
        "jobs/usher.py",
        USHER,
        (
            "the usher confirms its lease",
            '    leases.confirm(tx, "usher", fence)\n',
            "",
            "test_a_leader_that_was_replaced_does_nothing",
        ),
    ),
    *_of(
        "webapp/domain/waiting_room.py",
        ROOM,
        (
            "a pass is its customer's own",
            "GOES_ON = (_ENTRY.c.account_id == given_of(_ENTRY.c.account_id), ",
            "GOES_ON = (_ENTRY.c.account_id == _ENTRY.c.account_id, ",
            "test_a_pass_opens_nothing_for_somebody_else",
        ),
        (
            "an ended stay opens nothing",
            "given_of(_ENTRY.c.account_id), _ENTRY.c.ended_at.is_(None))",
            "given_of(_ENTRY.c.account_id), _ENTRY.c.id.is_not(None))",
            "test_an_ended_stay_opens_nothing",
        ),
        (
            "who has a stay does not join with others",
            "        if stay.entry_id in new:\n            tx.next_one()\n",
            "        if stay:\n            tx.next_one()\n",
            f"{TOGETHER}::test_who_is_there_already_does_not_join_with_others",
        ),
        (
            "each who joins with others has a journal entry of his own",
            "            tx.next_one()\n",
            "",
            f"{TOGETHER}::test_who_joins_together_has_a_stay_as_if_alone",
        ),
        (
            "a stay past its end is over",
            "    return stay.ended_at is None and (waits or stay.inside(now) or hold_lives)\n",
            "    return stay.ended_at is None\n",
            f"{TOGETHER}::test_stays_are_looked_up_together_as_alone",
        ),
    ),
    *_of(
        "webapp/domain/staying.py",
        ROOM,
        (
            "an expired access opens nothing",
            '    _ENTRY.c.access_expires_at > bindparam("now"),\n    _SALE',
            "    _SALE",
            "test_an_expired_access_opens_nothing",
        ),
        (
            "a pass opens its own room only",
            '    _ENTRY.c.performance_id == bindparam("performance"),\n',
            '    bindparam("performance").is_not(None),\n',
            "test_a_pass_opens_its_own_room_only",
        ),
        (
            "a paused sale takes no holds",
            "    Performance.paused_at.is_(None),\n",
            "",
            "test_a_paused_or_closed_sale_takes_no_new_holds_but_is_paid",
        ),
        (
            "a closed sale takes no holds",
            '    Performance.sales_close_at > bindparam("now"),\n',
            "",
            "test_a_paused_or_closed_sale_takes_no_new_holds_but_is_paid",
        ),
        (
            "the last deadline does not move",
            "            (_ENTRY.c.holds_end_at.is_not(None), _ENTRY.c.holds_end_at),\n",
            "",
            "test_nothing_moves_the_last_deadline_of_a_stay",
        ),
    ),
    *_of(
        "webapp/domain/admission.py",
        ROOM,
        (
            "no more inside than the capacity",
            "math.ceil(rules.capacity * percent / 100) - active - guests,",
            "ADMITTED_PER_ROUND,",
            "test_admission_is_in_the_order_of_numbers_up_to_capacity",
        ),
        (
            "no more a minute than the rate",
            "rules.rate_per_minute * percent // 100 - count_admitted_lately(tx, performance_id),",
            "ADMITTED_PER_ROUND,",
            "test_no_more_than_the_rate_within_any_minute",
        ),
        (
            "a slower pace lets fewer inside",
            "math.ceil(rules.capacity * percent / 100)",
            "rules.capacity",
            "tests/web/test_health.py::test_a_slower_pace_lets_fewer_inside",
        ),
        (
            "numbers follow arrival",
            ".order_by(QueueEntry.joined_at, QueueEntry.id)",
            ".order_by(QueueEntry.id)",
            "test_ten_thousand_get_contiguous_numbers_in_the_order_of_arrival",
        ),
        (
            "who holds seats is not retired",
            "last = func.coalesce(QueueEntry.holds_end_at, QueueEntry.access_expires_at)",
            "last = QueueEntry.access_expires_at",
            "test_who_still_holds_seats_keeps_the_stay_although_the_access_is_over",
        ),
        (
            "a no-show loses the turn",
            "QueueEntry.admitted_at <= tx.now - seconds(room.arrival_seconds),",
            "QueueEntry.admitted_at.is_(None),",
            "tests/domain/test_admission.py::test_whoever_does_not_come_loses_the_turn_and_may_come_back",
        ),
    ),
    *_of(
        "webapp/domain/outlook.py",
        ROOM,
        (
            "who left is not ahead of anybody",
            " - bisect_left(self.gone, number))",
            ")",
            "test_a_room_says_who_is_before_whom",
        ),
        (
            "an estimate knows that the house has slowed down",
            "        slowest *= self.pace_percent / 100\n",
            "",
            "tests/domain/test_outlook.py::test_the_estimate",
        ),
    ),
    *_of(
        "webapp/domain/lottery.py",
        "tests/domain/test_lottery.py",
        (
            "nothing is sealed once the sale has opened",
            "        return 0\n    source",
            "        pass\n    source",
            "test_after_the_opening_nothing_is_sealed_and_numbers_follow_the_order_of_arrival",
        ),
    ),
    *_of(
        "webapp/web/actions.py",
        "tests/web/test_guests_and_beacons.py",
        (
            "nobody takes part in an unsealed lottery",
            "    see_sealed(house, rules)\n",
            "",
            "test_who_comes_before_the_usher_seals_the_lottery",
        ),
    ),
    *_of(
        "webapp/web/health.py",
        "tests/web/test_health.py",
        (
            "latency is what the customer waits for",
            "lateness.seconds + time.perf_counter()",
            "time.perf_counter()",
            "test_latency_is_what_the_customer_waits_for",
        ),
    ),
    *_of(
        "webapp/domain/holds.py",
        HOLDS,
        (
            "only one's own hold",
            "    if held is None or held.account_id != account_id:\n",
            "    if held is None:\n",
            f"{GUARDS}::test_what_is_anothers_is_not_there",
        ),
        (
            "all seats or none",
            "    if len(taken) < len(offers):\n",
            "    if not taken:\n",
            "test_all_the_seats_or_none",
        ),
        (
            "the limit counts what was bought",
            'statement.excluded.seats_held <= bindparam("seats_max"),',
            'statement.excluded.seats_held <= bindparam("seats_max") + 1000,',
            "test_bought_seats_count_for_ever",
        ),
        (
            "the limit of one hold",
            "    if quantity > seats_max:\n        raise TooManySeats(seats_max=seats_max)\n",
            "",
            "test_nobody_holds_more_than_the_limit_at_once",
        ),
        (
            "a hold ends with the stay's last deadline",
            "min(tx.now + seconds(rules.hold_seconds), admission.holds_end_at)",
            "tx.now + seconds(rules.hold_seconds)",
            f"{ROOM}::test_nothing_moves_the_last_deadline_of_a_stay",
        ),
        (
            "a dead hold is not paid",
            '    _HOLD.c.ended_at.is_(None),\n    _HOLD.c.expires_at > bindparam("now"),\n',
            "    _HOLD.c.ended_at.is_(None),\n",
            f"{API_TOKENS}::test_a_hold_past_its_end_is_not_paid_and_its_seats_are_anybodys",
        ),
        (
            "a hold is paid with the stay that placed it",
            "    _HOLD.c.entry_id == given_of(_HOLD.c.entry_id),\n",
            "",
            f"{BOOKINGS}::test_a_hold_is_paid_with_the_stay_that_placed_it",
        ),
        (
            "a live hold is not swept",
            "_HOLD.c.ended_at.is_(None), _LATE)\n        .values(ended_at",
            "_HOLD.c.ended_at.is_(None))\n        .values(ended_at",
            f"{SWEEPER}::test_a_hold_that_lives_is_not_swept_whoever_says_so",
        ),
        (
            "a paid hold is not swept again",
            "_HOLD.c.ended_at.is_(None), _LATE)\n        .values(ended_at",
            "_LATE)\n        .values(ended_at",
            f"{SWEEPER}::test_of_a_mixed_crowd_exactly_the_expired_are_swept",
        ),
    ),
    *_of(
        "webapp/domain/together.py",
        TOGETHER,
        (
            "a group without all its seats stores nothing",
            "    _all_or_apart(group, {held.id for held in helds if "
            "len(displaced[held.id]) == len(held.seats)})\n",
            "",
            "test_who_cannot_have_it_is_named_and_nothing_is_stored",
        ),
        (
            "the limit of one hold in a group",
            " and len(one.offers) <= rules.seats_max",
            "",
            "test_who_cannot_have_it_is_named_and_nothing_is_stored",
        ),
        (
            "a group replaces no hold",
            "return {hold_id for hold_id, previous in rows if previous is None}",
            "return {hold_id for hold_id, _ in rows}",
            "test_who_cannot_have_it_is_named_and_nothing_is_stored",
        ),
        (
            "only those who are inside hold in a group",
            "if one.admitted.entry_id in entered and",
            "if",
            "test_nobody_holds_in_a_sale_that_has_stopped",
        ),
        (
            "each has a journal entry of his own",
            "        tx.next_one()\n",
            "",
            "test_each_is_as_it_would_be_alone",
        ),
    ),
    *_of(
        "webapp/domain/paid_together.py",
        PAID_TOGETHER,
        (
            "only stays that go on pay in a group",
            "one.admitted.entry_id in ended and ",
            "",
            "test_who_cannot_pay_is_named_and_nothing_is_stored",
        ),
        (
            "each in a group pays a hold of his own",
            " and one.admitted.account_id in counted",
            "",
            "test_somebody_elses_hold_is_neither_paid_nor_charged",
        ),
        (
            "a group without all its seats pays nothing",
            "    _all_or_apart(\n        group, lambda one: all(ticket.id in sold for ticket in "
            "bookeds[one.hold_id].tickets)\n    )\n",
            "",
            "test_a_seat_that_is_no_longer_held_is_not_sold_in_a_group",
        ),
        (
            "a group without all its money pays nothing",
            "    _all_or_apart(group, lambda one: one.admitted.account_id in rich)\n",
            "",
            "test_who_cannot_pay_is_named_and_nothing_is_stored",
        ),
        (
            "one effect per key in a group too",
            "    _all_or_apart(group, lambda one: one.request in kept)\n",
            "",
            "test_who_cannot_pay_is_named_and_nothing_is_stored",
        ),
        (
            "each payment has a journal entry of its own",
            "        tx.next_one()\n",
            "",
            "test_each_is_as_it_would_be_alone",
        ),
    ),
    *_of(
        "webapp/domain/rows.py",
        PAID_TOGETHER,
        (
            "a key that is not there spoils a group's transaction",
            "            tx.failed = True\n",
            "            pass\n",
            "test_no_row_is_made_for_a_key_that_is_not_there",
        ),
    ),
    *_of(
        "webapp/domain/visits.py",
        PAID_TOGETHER,
        (
            "what is kept under a key is its own account's",
            "        _KEY.c.account_id == _SESSION.c.account_id,\n",
            "",
            "test_visits_are_looked_up_together_as_alone",
        ),
        (
            "what is kept is forgotten after a day, looked up with the session too",
            '        _KEY.c.expires_at > bindparam("now"),\n',
            '        bindparam("now").is_not(None),\n',
            "test_visits_are_looked_up_together_as_alone",
        ),
    ),
    *_of(
        "webapp/web/till.py",
        "tests/web/test_crowd.py",
        (
            "twins of a customer do not meet in a group",
            "        mine.account_id != other.payer.admitted.account_id\n        and ",
            "        ",
            "test_twins_of_one_customer_never_meet_in_a_group",
        ),
        (
            "one stay is in a group once",
            "\n        and mine.entry_id != other.payer.admitted.entry_id",
            "",
            "test_twins_of_one_customer_never_meet_in_a_group",
        ),
    ),
    *_of(
        "webapp/domain/seats.py",
        HOLDS,
        (
            "a group sells what its holds still have",
            "        _SEAT.c.hold_id == _of_each(_SEAT.c.hold_id),\n",
            "",
            f"{PAID_TOGETHER}::test_a_seat_that_is_no_longer_held_is_not_sold_in_a_group",
        ),
        (
            "a group takes only free seats",
            "_SEAT.c.seat_no == any_(_SEAT_NOS), _FREE_NOW)",
            '_SEAT.c.seat_no == any_(_SEAT_NOS), bindparam("now").is_not(None))',
            f"{TOGETHER}::test_who_cannot_have_it_is_named_and_nothing_is_stored",
        ),
        (
            "a seat that somebody holds is not free",
            'or_(_SEAT.c.hold_id.is_(None), _SEAT.c.held_until <= bindparam("now"))',
            'or_(_SEAT.c.seat_no >= 0, _SEAT.c.held_until <= bindparam("now"))',
            "test_a_held_seat_is_nobody_elses",
        ),
        (
            "an expired hold is no hold",
            'or_(_SEAT.c.hold_id.is_(None), _SEAT.c.held_until <= bindparam("now"))',
            'and_(_SEAT.c.hold_id.is_(None), bindparam("now").is_not(None))',
            "test_an_expired_hold_is_no_hold",
        ),
        (
            "a sold seat is not sellable",
            "_SEAT.c.ticket_id.is_(None), _SEAT.c.blocked.is_(False)",
            "_SEAT.c.blocked.is_(False), _SEAT.c.blocked.is_(False)",
            "test_a_sold_or_blocked_seat_is_taken",
        ),
        (
            "a blocked seat is not sellable",
            "_SEAT.c.ticket_id.is_(None), _SEAT.c.blocked.is_(False)",
            "_SEAT.c.ticket_id.is_(None), _SEAT.c.ticket_id.is_(None)",
            "test_a_sold_or_blocked_seat_is_taken",
        ),
        (
            "a replaced hold gives its other seats back",
            "            hold_id=case((wanted, _NEW_HOLD), else_=null()),\n"
            "            held_until=case((wanted, _NEW_UNTIL), else_=null()),",
            "            hold_id=case((wanted, _NEW_HOLD), else_=_SEAT.c.hold_id),\n"
            "            held_until=case((wanted, _NEW_UNTIL), else_=_SEAT.c.held_until),",
            "test_asking_again_replaces_the_hold",
        ),
        (
            "a swap takes no seat of a third",
            "            or_(_OF_PREVIOUS, and_(wanted, _FREE_NOW)),",
            '            or_(_OF_PREVIOUS, and_(wanted, bindparam("now").is_not(None))),',
            "test_a_swap_takes_no_seat_of_a_third",
        ),
        (
            "only seats that are still of the dead hold are freed",
            "of_seats, of_owners)\n",
            "of_seats)\n",
            f"{SWEEPER}::test_of_a_mixed_crowd_exactly_the_expired_are_swept",
        ),
        (
            "only what is held is sold",
            '_among("seat", quantity), _SEAT.c.hold_id == bindparam("hold"))',
            '_among("seat", quantity), bindparam("hold").is_not(None))',
            f"{BOOKINGS}::test_a_seat_that_is_no_longer_held_is_not_sold",
        ),
        (
            "only one's own tickets' seats are freed",
            "of_seats, of_owners)\n",
            "of_seats)\n",
            f"{BOOKINGS}::test_a_cancellation_frees_no_seat_that_is_anothers",
        ),
    ),
    *_of(
        "webapp/domain/bookings.py",
        BOOKINGS,
        (
            "exactly the held seats are sold",
            "    if seats.sell(tx, held.performance_id, held.id, tickets) != len(tickets):\n",
            "    if not seats.sell(tx, held.performance_id, held.id, tickets):\n",
            "test_a_seat_that_is_no_longer_held_is_not_sold",
        ),
        (
            "only the customer's present hold is paid",
            "    _ALLOWANCE.c.hold_id == given_of(_ALLOWANCE.c.previous_hold_id),\n",
            "",
            f"{PAID_TOGETHER}::test_somebody_elses_hold_is_neither_paid_nor_charged",
        ),
        (
            "a stay that ended pays nothing",
            "        if ended and _count_bought(",
            "        if _count_bought(",
            "test_an_ended_stay_pays_nothing",
        ),
        (
            "a booking is cancelled once",
            '_CANCEL = Change(_BOOKING, {"cancelled_at": bindparam("now")}, '
            "_BOOKING.c.cancelled_at.is_(None))",
            '_CANCEL = Change(_BOOKING, {"cancelled_at": bindparam("now")})',
            "test_a_booking_is_cancelled_once",
        ),
        (
            "with one ticket scanned nothing is cancelled",
            "    if len(voided) != len(booked.tickets):\n        raise AlreadyScanned()\n",
            "",
            "test_with_one_ticket_scanned_nothing_is_cancelled",
        ),
        (
            "a scanned ticket is not voided",
            "    _TICKET.c.scanned_at.is_(None),\n",
            "",
            "test_with_one_ticket_scanned_nothing_is_cancelled",
        ),
    ),
    *_of(
        "webapp/domain/wallet.py",
        BOOKINGS,
        (
            "no payment beyond the balance",
            "    _WALLET.c.balance_minor >= _AMOUNT,\n",
            "",
            "test_too_little_money_leaves_the_hold_intact",
        ),
    ),
    *_of(
        "webapp/domain/tickets.py",
        BOOKINGS,
        (
            "a ticket opens the door once",
            "func.coalesce(Ticket.scanned_at, Ticket.voided_at)",
            "func.coalesce(Ticket.voided_at, Ticket.voided_at)",
            "test_a_ticket_opens_the_door_once",
        ),
        (
            "a voided ticket opens nothing",
            "func.coalesce(Ticket.scanned_at, Ticket.voided_at)",
            "func.coalesce(Ticket.scanned_at, Ticket.scanned_at)",
            "test_a_voided_ticket_opens_nothing",
        ),
        (
            "a ticket counts at its own performance",
            "            Ticket.performance_id == performance_id,\n",
            "",
            "test_a_ticket_opens_the_door_once",
        ),
    ),
    *_of(
        "webapp/domain/idempotency.py",
        KEYS,
        (
            "another body under the same key is refused",
            "        if self.digest != request.digest:\n",
            "        if False:\n",
            "test_another_body_under_the_same_key_is_refused",
        ),
        (
            "a key belongs to its account",
            "bindparam(name) for name in _NAMES)",
            "bindparam(name) for name in _NAMES[1:])",
            f"{KEYS}::test_a_key_is_found_for_its_account_method_and_path_only",
        ),
        (
            "an answer is kept for a day only",
            '        *_OF_REQUEST, _KEY.c.expires_at > bindparam("now")\n',
            '        *_OF_REQUEST, bindparam("now").is_not(None)\n',
            "test_an_answer_is_kept_for_a_day_and_the_key_is_free_after_it",
        ),
    ),
    *_of(
        "webapp/domain/accounts.py",
        PEOPLE,
        (
            "a session that was ended opens nothing",
            '"revoked" if revoked_at else ',
            "",
            "test_a_session_lives_expires_or_is_revoked",
        ),
        (
            "a session expires",
            '"expired" if expires_at <= tx.now else "live"',
            '"live"',
            "test_a_session_lives_expires_or_is_revoked",
        ),
        (
            "attempts over the limit wait",
            "    if row.hits <= limit:\n",
            "    if True:\n",
            "test_attempts_over_the_limit_wait_for_the_window_to_end",
        ),
    ),
    *_of(
        "webapp/web/tokens.py",
        TOKENS,
        (
            "claims that must be there",
            '    "require": ["aud", "iss", "sub", "jti", "iat", "exp"],\n',
            "",
            "test_no_claim_may_be_missing",
        ),
        (
            "one kind is not the other",
            ' or token["header"].get("typ") != f"{kind}+jwt":',
            ":",
            "test_no_header_may_be_missing",
        ),
        (
            "the name of the key",
            'token["header"].get("kid") != kid or ',
            "",
            "test_the_name_of_another_key_does_not_help",
        ),
        (
            "exactly one audience",
            '    "strict_aud": True,\n',
            "",
            f"{API_TOKENS}::test_a_bad_waiting_token_is_refused_without_a_statement",
        ),
        (
            "the audience",
            'audience=f"jari-{kind}"',
            'audience=["jari-waiting", "jari-access"]',
            f"{API_TOKENS}::test_a_bad_waiting_token_is_refused_without_a_statement",
        ),
        (
            "the issuer",
            "                issuer=ISSUER,\n",
            "",
            "test_a_claim_that_cannot_be_is_refused",
        ),
        (
            "a token expires",
            "if claims.expires_at <= self._clock.now().timestamp() and not expired_too:",
            "if False:",
            "test_the_time_is_the_houses_not_this_machines",
        ),
        (
            "the length",
            "if len(text) > LENGTH_MAX or ",
            "if ",
            "test_one_of_ours_is_never_too_long_and_a_longer_one_is_not_looked_at",
        ),
        (
            "the key before stays good",
            "for key in (secret, previous) if key}",
            "for key in (secret,) if key}",
            "test_keys_rotate_with_overlap",
        ),
    ),
    *_of(
        "webapp/web/guards.py",
        GUARDS,
        (
            "a token belongs to its bearer",
            "    if bearer is not None and bearer.id != claims.account_id:\n",
            "    if False:\n",
            "test_anothers_access_token_neither_holds_nor_pays",
        ),
        (
            "a token belongs to its performance",
            "    if claims.performance_id != performance_id:\n",
            "    if False:\n",
            f"{API_TOKENS}::test_a_token_counts_at_its_own_performance_and_for_its_owner_only",
        ),
        (
            "roles",
            "        if role is not None and g.person.role != role:\n",
            "        if False:\n",
            "test_roles_are_asked_for",
        ),
        (
            "the API does not read the cookie",
            "    if not _is_api():\n        return request.cookies.get(COOKIE)\n",
            "    if request.cookies.get(COOKIE):\n        return request.cookies.get(COOKIE)\n",
            "test_the_api_does_not_read_the_cookie",
        ),
        (
            "no route without a guard",
            "    if unguarded:\n",
            "    if False:\n",
            f"{HOUSE}::test_a_route_without_a_guard_does_not_start",
        ),
    ),
    *_of(
        "webapp/web/bearers.py",
        "tests/web/test_api_accounts.py",
        (
            "a session that was ended",
            '    if found is None or found[1] == "revoked":\n',
            "    if found is None:\n",
            "tests/web/test_api_accounts.py",
        ),
    ),
    *_of(
        "webapp/web/actions.py",
        API_KEYS,
        (
            "the slower twin gets the faster one's answer",
            "        if found is None:\n            raise\n        return found",
            "        raise",
            "test_the_slower_of_two_twins_gets_the_answer_of_the_faster",
        ),
    ),
    *_of(
        "webapp/web/fastlane.py",
        "tests/web/test_fastlane.py",
        (
            "a keyed try to join is Flask's matter",
            ' or "HTTP_IDEMPOTENCY_KEY" in given or _has_body(given):',
            " or _has_body(given):",
            "test_whatever_is_unusual_is_flasks_matter",
        ),
        (
            "a keyed try to hold gets its kept answer",
            '        if not session or "HTTP_IDEMPOTENCY_KEY" in given:\n',
            "        if not session:\n",
            "tests/web/test_sold_out.py::test_what_is_unusual_is_flasks_matter",
        ),
        (
            "a body is Flask's matter",
            'given.get("CONTENT_LENGTH") not in (None, "", "0") or',
            "",
            "test_whatever_is_unusual_is_flasks_matter",
        ),
    ),
    *_of(
        "webapp/web/queue.py",
        "tests/web/test_fastlane.py",
        (
            "who joins again is shown no more people ahead",
            "shown = None if new else shown_before(house, asked.token, stay)",
            "shown = None",
            "test_who_joins_again_is_shown_no_more_people_ahead_than_the_token_says",
        ),
    ),
    *_of(
        "webapp/web/sale_pages.py",
        "tests/web/test_sale_pages.py",
        (
            "the waiting page's pace",
            "@_paced\n",
            "",
            "test_who_reloads_the_waiting_page_again_and_again_costs_no_query",
        ),
    ),
    *_of(
        "webapp/web/place_part.py",
        "tests/web/test_place_part.py",
        (
            "who signed out hears nothing of the place",
            "if session is None:  # signed out",
            "if False:",
            "test_who_may_not_ask_is_refused_without_flask",
        ),
        (
            "the part of another room",
            'guards.refuse_other_room("waiting", claims, performance_id)',
            "pass",
            "test_who_may_not_ask_is_refused_without_flask",
        ),
        (
            "a new token goes into the cookie",
            'if place["waiting_token"] != token:',
            'if place["waiting_token"] != token and place["status"] == "admitted":',
            "test_the_cookie_is_sent_again_when_another_token_is_in_it",
        ),
        (
            "nothing is waited for once a poll is counted",
            "place = queue.poll(house, claims, token, session)",
            "place, now = queue.poll(house, claims, token, session), house.db.clock.now()",
            "test_nothing_is_waited_for_once_a_poll_is_counted",
        ),
    ),
    *_of(
        "webapp/web/pacing.py",
        "tests/web/test_pacing.py",
        (
            "an early look puts nothing off",
            "not_before = min(not_before, self._not_before[entry_id])",
            "pass",
            "test_an_early_look_puts_nothing_off",
        ),
    ),
    *_of(
        "webapp/web/lookups.py",
        "tests/web/test_lookups.py",
        (
            "versions that never were take no room",
            "        since = None  # nobody remembers it\n",
            "        pass\n",
            "test_nobody_fills_the_house_with_versions_that_there_never_were",
        ),
    ),
    *_of(
        "webapp/web/sold_out.py",
        "tests/web/test_sold_out.py",
        (
            "a house is sold out as of now, not as of once",
            " or not house.availability.get(performance_id).sold_out:",
            ":",
            "test_a_seat_that_comes_back_is_anybodys",
        ),
        (
            "a paused or closed sale has its own words",
            'return sale if sale.rules.status(house.db.clock.now(), sold_out=False) == "open" else None',
            "return sale",
            "test_a_sale_that_is_paused_or_closed_has_its_own_words",
        ),
    ),
    *_of(
        "webapp/domain/retries.py",
        "tests/test_locks.py",
        (
            "what was told twice counts once",
            '{"times": statement.excluded.times}',
            '{"times": _RETRY.c.times + statement.excluded.times}',
            "test_processes_tell_of_themselves_and_what_they_said_twice_counts_once",
        ),
    ),
    *_of(
        "webapp/web/snapshots.py",
        "tests/web/test_snapshots.py",
        (
            "one loads for all",
            "        if young or not slot.loading.acquire(",
            "        slot.loading = threading.Lock()\n        if young or not slot.loading.acquire(",
            "test_when_everybody_comes_at_once_one_loads_for_all",
        ),
        (
            "nobody waits for who asks before it is old",
            "slot.loading.acquire(blocking=not fresh)",
            "slot.loading.acquire()",
            "test_nobody_waits_for_who_asks_before_it_is_old",
        ),
        (
            "a snapshot is as old as its reading",
            "slot.value, slot.read_at = value, started",
            "slot.value, slot.read_at = value, time.monotonic()",
            "test_who_wants_it_as_of_now_does_not_get_what_was_being_loaded_before",
        ),
    ),
    *_of(
        "webapp/web/throttle.py",
        "tests/web/test_security.py",
        (
            "tries are counted over all workers",
            "        if wait:\n",
            "        if False:\n",
            "test_tries_are_counted_over_all_workers",
        ),
        (
            "a batch is told to the database",
            "limit.window_seconds, hits\n",
            "limit.window_seconds, 1\n",
            "test_joining_over_and_over_is_refused_by_account_and_by_address",
        ),
        (
            "an address of a proxy is nobody's",
            "    if not address.is_global:\n        return None\n",
            "",
            "test_an_address_that_is_not_public_is_nobodys",
        ),
    ),
    *_of(
        "webapp/config.py",
        "tests/web/test_security.py",
        (
            "a short secret is refused",
            "if value is not None and len(value.encode()) < SECRET_MIN_BYTES:",
            "if False:",
            "test_a_weak_secret_is_refused",
        ),
        (
            "a weak secret is refused",
            "if value is not None and len(set(value)) < SECRET_MIN_LETTERS:",
            "if False:",
            "test_a_weak_secret_is_refused",
        ),
    ),
    *_of(
        "webapp/web/forms.py",
        "tests/web/test_security.py",
        (
            "nobody is sent to another site",
            '    if text.startswith("//") or "\\\\" in text or not text.isprintable():\n',
            "    if False:\n",
            "test_nobody_is_sent_to_another_site",
        ),
    ),
    *_of(
        "webapp/web/operations.py",
        "tests/outages/test_crashes.py",
        (
            "readiness does not wait with the database",
            "        asked.result(READY_SECONDS)\n",
            "        asked.result()\n",
            "test_a_database_that_answers_nobody_makes_readiness_red_at_once",
        ),
    ),
    *_of(
        "webapp/web/fastlane.py",
        "tests/web/test_reception.py",
        (
            "who sends a body is answered by who reads it",
            '        if found is None or (_has_body(environ) and found[1] != "holds"):\n',
            "        if found is None:\n",
            "test_a_body_that_looks_like_a_request_is_none",
        ),
    ),
    *_of(
        "webapp/web/reception.py",
        "tests/web/test_reception.py",
        (
            "what was looked at in vain is as if nobody had",
            "            conn.parser.unreader.unread(data)\n",
            "",
            "test_a_wish_that_is_flasks_matter_is_read_as_if_nobody_had",
        ),
        (
            "who wants seats where there are none needs no thread",
            "        return wanted is not None and self._lane.may_refuse(int(wanted[1]))\n",
            "        return False\n",
            "test_who_wants_seats_where_there_are_none_needs_no_thread",
        ),
        (
            "a worker that stops or is full looks at nothing else",
            "            if not worker.alive or has_room != worker._accepting:",
            "            if False:",
            "test_a_worker_that_stops_or_is_full_is_gunicorns_at_once",
        ),
        (
            "a crowd at the door is let in together",
            "        for _ in range(min(ACCEPTED_AT_ONCE, room)):\n",
            "        for _ in range(1):\n",
            "test_a_crowd_at_the_door_is_let_in_together_but_not_for_ever",
        ),
        (
            "no more are let in than there is room for",
            "        for _ in range(min(ACCEPTED_AT_ONCE, room)):\n",
            "        for _ in range(ACCEPTED_AT_ONCE):\n",
            "test_no_more_are_let_in_than_there_is_room_for",
        ),
        (
            "who was answered at once has begun",
            "        conn.begun = True\n",
            "",
            "test_who_was_answered_at_once_is_no_newcomer_any_more",
        ),
        (
            "who hangs up is forgotten",
            "            worker.nr_conns -= 1\n",
            "",
            "test_who_hangs_up_is_forgotten",
        ),
    ),
    *_of(
        "webapp/web/wire.py",
        "tests/web/test_reception.py",
        (
            "the rest of an answer is sent",
            "    if sent == len(answer):\n",
            "    if True:\n",
            "test_nobody_is_kept_waiting_by_who_does_not_read",
        ),
        (
            "newcomers find room beside those who poll",
            " and len(worker.keepalived_conns) < worker.max_keepalived)",
            ")",
            "test_who_was_answered_at_once_is_no_newcomer_any_more",
        ),
    ),
    *_of(
        "webapp/web/wire.py",
        "tests/web/test_wire.py",
        (
            "what is sent twice is not plain",
            "        if key in _UNUSUAL or key in given:\n",
            "        if key in _UNUSUAL:\n",
            "test_whatever_is_not_plain_is_gunicorns_matter",
        ),
        (
            "what is sent in pieces is not plain",
            "        if key in _UNUSUAL or key in given:\n",
            "        if key in given:\n",
            "test_whatever_is_not_plain_is_gunicorns_matter",
        ),
        (
            "a body is as long as it is told",
            "        and len(body) == int(length)\n",
            "",
            "test_whatever_is_not_plain_is_gunicorns_matter",
        ),
        (
            "no header of ours becomes two",
            "        if not _PRINTABLE.match(",
            "        if False and not _PRINTABLE.match(",
            "test_no_header_of_ours_becomes_two",
        ),
    ),
    *_of(
        "webapp/web/crowd.py",
        "tests/web/test_who_is_there.py",
        (
            "who could not be noted is noted the next time",
            "                self._to_note[after_seconds] = whose | self._to_note.get(after_seconds, {})\n",
            "                pass\n",
            "test_who_could_not_be_noted_is_noted_the_next_time",
        ),
    ),
    *_of(
        "webapp/web/queue.py",
        "tests/web/test_who_is_there.py",
        (
            "who would be taken for a no-show is noted at once",
            "soon=silent < limit - twice)",
            "soon=True)",
            "test_when_who_is_there_is_noted",
        ),
        (
            "who would be taken for idle is noted at once",
            "soon=silent < idle - twice)",
            "soon=True)",
            "test_when_who_is_there_is_noted",
        ),
    ),
    *_of(
        "webapp/__init__.py",
        "tests/web/test_joining_together.py",
        (
            "a join is counted for the client behind the proxy",
            "        lane.answer_at_once = fixed(lane.answer_at_once)",
            "        fixed(lane.answer_at_once)",
            "test_whoever_answers_a_join_counts_it_for_the_client_behind_the_proxy",
        ),
    ),
    *_of(
        "webapp/web/wire.py",
        "tests/web/test_joining_together.py",
        (
            "a worker that stops keeps no line",
            "        keep = keep and self._may_keep\n",
            "        keep = self._may_keep\n",
            "test_a_worker_that_stops_keeps_no_line",
        ),
    ),
    *_of(
        "webapp/web/reception.py",
        "tests/web/test_joining_together.py",
        (
            "a stop waits for nobody's next request",
            "        if not self._worker.alive:  # as",
            "        if False:  # as",
            "test_a_worker_that_stops_in_between_keeps_no_line_for_long",
        ),
    ),
    *_of(
        "webapp/web/crowd.py",
        "tests/web/test_joining_together.py",
        (
            "who joins at the same moment joins in one transaction",
            "        nowait.check(newcomer)\n",
            "",
            "test_who_joins_at_the_same_moment_joins_in_one_transaction",
        ),
    ),
    *_of(
        "webapp/web/joining.py",
        "tests/web/test_joining_together.py",
        (
            "nobody is worked for who has waited for long",
            "        late = [one for one in group if one.came < came_late]\n",
            "        late = []\n",
            "test_where_all_have_waited_for_long_nothing_is_done",
        ),
        (
            "one thread at a time works for a room",
            "        if room.work is None or room.work.done():\n",
            "        if True:\n",
            "test_one_thread_at_a_time_works_for_a_room_and_takes_so_many",
        ),
        (
            "a group has an end",
            "min(len(waiting), TOGETHER_MAX)",
            "len(waiting)",
            "test_one_thread_at_a_time_works_for_a_room_and_takes_so_many",
        ),
        (
            "who comes when the thread has gone waits for nobody either",
            "room.work is None or room.work.done()",
            "room.work is None",
            "test_who_comes_when_the_thread_has_gone_begins_at_once",
        ),
        (
            "a group waits for nobody who looks after connections",
            "        while waiting:\n",
            "        if waiting:\n",
            "test_one_thread_at_a_time_works_for_a_room_and_takes_so_many",
        ),
        (
            "joins wait in the lane of their foremost",
            "SimpleNamespace(begun=any(one.conn.begun for one in room.waiting))",
            "SimpleNamespace(begun=True)",
            "test_a_group_has_the_turn_of_its_foremost",
        ),
        (
            "who has joined waits for nobody's answer",
            "send(one.conn, *nowait.work(partial(self._write, one)))",
            "send(one.conn, *self._write(one))",
            "test_whose_answer_takes_another_wait_has_a_thread_of_their_own",
        ),
        (
            "a flaw ends the lines that it met",
            "    outcome: Any = GONE\n",
            "    outcome: Any = None\n",
            "test_a_flaw_costs_those_whom_it_met_their_line_and_nobody_else",
        ),
    ),
    *_of(
        "webapp/web/lateness.py",
        "tests/web/test_lateness.py",
        (
            "who is late without a room is a thread's to find out",
            "        nowait.check()\n",
            "",
            "test_how_late_a_turn_came_is_known_to_a_thread_only",
        ),
    ),
    *_of(
        "webapp/web/groups.py",
        "tests/web/test_reception.py",
        (
            "no group is waited for where nobody may wait",
            "        nowait.check()\n",
            "",
            "test_neither_groups_nor_the_database_nor_its_time_are_waited_for",
        ),
    ),
    *_of(
        "webapp/web/snapshots.py",
        "tests/web/test_reception.py",
        (
            "no snapshot is loaded where nobody may wait",
            "        if not young and nowait.is_asked():\n",
            "        if False:\n",
            "test_a_snapshot_that_is_old_is_not_loaded_where_nobody_may_wait",
        ),
    ),
    *_of(
        "gunicorn.conf.py",
        "tests/test_gunicorn.py",
        (
            "who has begun goes before who has just come",
            "lane = self._begun if conn.begun else self._new",
            "lane = self._new",
            "test_who_has_begun_goes_first_and_every_fourth_is_new",
        ),
        (
            "who has waited already goes ahead",
            "add = lane.appendleft if ahead else lane.append",
            "add = lane.append",
            "test_who_has_waited_elsewhere_goes_ahead_of_their_own_kind",
        ),
        (
            "who has just come is not kept outside for ever",
            "turn = self._new and (not self._begun or self._both % NEWCOMER_EVERY == 0)",
            "turn = self._new and not self._begun",
            "test_who_has_begun_goes_first_and_every_fourth_is_new",
        ),
        (
            "nobody waits for who does not hang up",
            "        if graceful and _closing.acquire(blocking=False):",
            "        if graceful:\n            super().close(graceful=True)\n"
            "        elif _closing.acquire(blocking=False):",
            f"{RUDE}::test_those_who_do_not_hang_up_keep_nobody_waiting",
        ),
        (
            "who takes nothing of an answer is left after a while",
            "WRITE_SECONDS = 10\n",
            "WRITE_SECONDS = 0\n",
            f"{RUDE}::test_those_who_take_nothing_of_their_answer_are_left_after_a_while",
        ),
    ),
    *_of(
        "webapp/clock.py",
        "tests/web/test_reception.py",
        (
            "who asks for the time first is not waited for",
            "            nowait.check()  # somebody",
            "            # somebody",
            "test_who_asks_for_the_time_first_is_not_waited_for",
        ),
    ),
    *_of(
        "webapp/web/lateness.py",
        "tests/web/test_lateness.py",
        (
            "who comes late is told when to come back",
            "if self.seconds > LATE_SECONDS:",
            "if False:",
            "test_without_a_room_who_comes_late_is_told_when_to_come_back",
        ),
    ),
    *_of(
        "webapp/web/actions.py",
        "tests/web/test_lateness.py",
        (
            "before a waiting room nobody loses a place by coming late",
            "    if rules.capacity is None:\n        house.lateness",
            "    if True:\n        house.lateness",
            "test_before_a_waiting_room_nobody_loses_a_place_for_it",
        ),
    ),
]


def _constraints() -> list[Mutant]:
    """Find every named check and unique constraint of the schema, and the journal's trigger."""
    text = (ROOT / SCHEMA).read_text("utf-8")
    found = []
    for match in re.finditer(
        r"sa\.CheckConstraint\((.*?name=op\.f\(\"(\w+)\"\)),?\s*\)", text, re.S
    ):
        old, name = match[0], match[2]
        new = f'sa.CheckConstraint("1 = 1", name=op.f("{name}"))'
        tests = "tests/test_migrations.py::test_every_check_refuses"
        found.append(Mutant(name, SCHEMA, old, new, tests))
    uniques = "tests/test_migrations.py::test_every_unique_constraint_refuses"
    for match in re.finditer(
        r"        sa\.UniqueConstraint\(.*?name=(?:op\.f\()?\"(\w+)\"\)?\),\n", text
    ):
        found.append(Mutant(match[1], SCHEMA, match[0], "", uniques))
    for match in re.finditer(r"op\.create_index\(\s*\"(uq_\w+)\"[^)]*?unique=True", text, re.S):
        new = match[0].replace("unique=True", "unique=False")
        found.append(Mutant(match[1], SCHEMA, match[0], new, uniques))
    protected = "def upgrade() -> None:\n"
    assert text.count("    protect_journal()\n") == 1, protected
    only_grows = "tests/test_migrations.py::test_the_journal_can_only_grow"
    found.append(
        Mutant("the journal only grows", SCHEMA, "    protect_journal()\n", "", only_grows)
    )
    return found


MUTANTS += _constraints()
