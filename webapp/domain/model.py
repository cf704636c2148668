"""Every table, top to bottom as a sale runs: what is sold, who buys, who waits, who holds, who owns.

Promises:

1. Facts are timestamps; status is derived. Times end in `_at` and are aware UTC; money is an integer
   in the currency's minor unit and ends in `_minor`.
2. Every invariant that a keyed UPDATE guards elsewhere is a named constraint here too (the second wall).
   No two unique constraints of a table share their columns, so that SQLite's column lists have one name.
3. Hot tables (queue_entry, allowance, seat, hold, booking, ticket, wallet, ledger_entry, journal_entry)
   have no foreign key to a row that the usher updates or that buyers insert at the sale: a foreign-key
   check reads, and under SERIALIZABLE reads lock. `flask verify` proves those references instead.
4. What buyers change while they hold and pay is in no index, not even in an index's condition, and the
   pages of those tables have room (fillfactor), so that the updates stay HOT on PostgreSQL: they touch no
   index page. A keyed SERIALIZABLE update locks the index page it reads; if others' updates wrote to such
   pages, neighbours would abort each other for nothing (measured: 1,876 retries for 1,600 payments before,
   see docs/benchmarks.md). So `ended_at` is a fact, and `retired_at` and `swept_at`, which the jobs set
   afterwards, are what the indexes go by.
"""

import uuid
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Instant(TypeDecorator[datetime]):
    """An aware UTC time on both databases; SQLite keeps fixed-width text, which sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times are aware here")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Parse SQLite's text at once: making it aware afterwards takes five times as long (measured)."""
        if dialect.name == "sqlite":
            return lambda text: text and datetime.fromisoformat(f"{text}+00:00")
        return super().result_processor(dialect, coltype)


ROOM_TO_GROW = {"postgresql_with": {"fillfactor": "40"}}
Document = JSON().with_variant(JSONB(), "postgresql")
Serial = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """The one metadata; Flask-SQLAlchemy shares it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Instant,
        uuid.UUID: Uuid,
        dict[str, Any]: Document,
        list[Any]: Document,
    }


def table_of(model: type[Base]) -> Table:
    """Return a model's table, for the Core statements of the hot path."""
    return cast(Table, model.__table__)


# -- who ----------------------------------------------------------------------------------------


class Account(Base):
    """A person who can sign in. `role` is what they may do beyond buying."""

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("role IN ('customer', 'organiser', 'door')", name="role"),
        UniqueConstraint("email"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254))  # lower case
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20), default="customer")
    password_hash: Mapped[str | None] = mapped_column(String(200))  # NULL: cannot sign in
    created_at: Mapped[datetime]


class LoginSession(Base):
    """One sign-in. Only the token's digest is kept, so a stolen table opens nothing."""

    __tablename__ = "login_session"
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class RateLimit(Base):
    """Attempts counted per key and window, exact across any number of workers."""

    __tablename__ = "rate_limit"
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    window_starts_at: Mapped[datetime]
    hits: Mapped[int]


# -- what is sold -------------------------------------------------------------------------------


class Venue(Base):
    """A place with halls."""

    __tablename__ = "venue"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(String(300), default="")


class Seatmap(Base):
    """One immutable version of a hall's geometry; `version` is its content's hash."""

    __tablename__ = "seatmap"
    __table_args__ = (UniqueConstraint("version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    venue_id: Mapped[int] = mapped_column(ForeignKey("venue.id"), index=True)
    version: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(200))
    seat_count: Mapped[int]
    geometry: Mapped[dict[str, Any]]  # {"stage": {...}, "sections": [{"code", "name", ...}]}


class SeatPlace(Base):
    """Where a seat of a seatmap is; `seat_no` is its place in the version's order, from 0."""

    __tablename__ = "seat_place"
    __table_args__ = (UniqueConstraint("seatmap_id", "label"),)
    seatmap_id: Mapped[int] = mapped_column(ForeignKey("seatmap.id"), primary_key=True)
    seat_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(String(40))
    section: Mapped[str] = mapped_column(String(40))
    row: Mapped[str] = mapped_column(String(10))
    number: Mapped[int]
    x: Mapped[int]
    y: Mapped[int]
    price_level: Mapped[str] = mapped_column(String(20))
    accessible: Mapped[bool] = mapped_column(Boolean, default=False)


class Event(Base):
    """What is advertised."""

    __tablename__ = "event"
    __table_args__ = (UniqueConstraint("slug"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(100))
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(String(4000), default="")
    venue_id: Mapped[int] = mapped_column(ForeignKey("venue.id"), index=True)
    organiser_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), index=True)
    created_at: Mapped[datetime]


class Performance(Base):
    """One dated showing and the rules of its sale. Buyers read it; only the organiser changes it."""

    __tablename__ = "performance"
    __table_args__ = (
        CheckConstraint("capacity IS NULL OR capacity >= 0", name="capacity"),
        CheckConstraint("rate_per_minute >= 0", name="rate"),
        CheckConstraint("seats_max > 0", name="seats_max"),
        CheckConstraint("hold_seconds > 0 AND session_seconds > 0", name="lifetimes"),
        CheckConstraint(
            "single_seat_rule IN ('off', 'lenient', 'strict')", name="single_seat_rule"
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"), index=True)
    seatmap_id: Mapped[int] = mapped_column(ForeignKey("seatmap.id"), index=True)
    currency: Mapped[str] = mapped_column(String(3))
    starts_at: Mapped[datetime]
    prequeue_opens_at: Mapped[datetime | None]
    sales_open_at: Mapped[datetime]
    sales_close_at: Mapped[datetime]
    paused_at: Mapped[datetime | None]
    cancel_until_at: Mapped[datetime | None]  # NULL: until it starts
    capacity: Mapped[int | None]  # active sessions at once; NULL: no waiting room
    rate_per_minute: Mapped[int]
    session_seconds: Mapped[int]
    hold_seconds: Mapped[int]
    seats_max: Mapped[int]  # per customer, all bookings together
    single_seat_rule: Mapped[str] = mapped_column(String(10), default="lenient")
    created_at: Mapped[datetime]


class PriceLevel(Base):
    """What a class of seats costs at one performance."""

    __tablename__ = "price_level"
    __table_args__ = (CheckConstraint("price_minor >= 0", name="price"),)
    performance_id: Mapped[int] = mapped_column(ForeignKey("performance.id"), primary_key=True)
    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    price_minor: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[int]


# -- who waits ----------------------------------------------------------------------------------


class Room(Base):
    """How one waiting room treats people, beside the limits that stand with the sale's rules.

    Apart from `performance`, whose row every hold reads.
    """

    __tablename__ = "room"
    __table_args__ = (
        CheckConstraint("arrival_seconds > 0", name="arrival"),
        CheckConstraint("idle_seconds IS NULL OR idle_seconds > 0", name="idle"),
    )
    performance_id: Mapped[int] = mapped_column(
        ForeignKey("performance.id"), primary_key=True, autoincrement=False
    )
    arrival_seconds: Mapped[int]  # whoever was admitted and did not come by then loses the turn
    idle_seconds: Mapped[int | None]  # NULL: nobody is sent away for doing nothing
    message: Mapped[str] = mapped_column(String(500))  # to those who wait
    beacon_source: Mapped[str] = mapped_column(String(200))  # "": the lottery uses no beacon


class Guest(Base):
    """Somebody whom the organiser lets past the line, once: by the guest list or by hand."""

    __tablename__ = "guest"
    performance_id: Mapped[int] = mapped_column(
        ForeignKey("performance.id"), primary_key=True, autoincrement=False
    )
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), primary_key=True)
    added_at: Mapped[datetime]


class Lottery(Base):
    """The order of those who came before the sale opened; what is published of it, and when.

    Sealed when the pre-queue opens, closed when the sale does so, drawn as soon as the beacon is known.
    """

    __tablename__ = "lottery"
    __table_args__ = (
        CheckConstraint("(closed_at IS NULL) = (participants IS NULL)", name="closed"),
        CheckConstraint("(drawn_at IS NULL) = (first_number IS NULL)", name="numbers"),
        CheckConstraint("drawn_at IS NULL OR closed_at IS NOT NULL", name="drawn"),
    )
    performance_id: Mapped[int] = mapped_column(
        ForeignKey("performance.id"), primary_key=True, autoincrement=False
    )
    seed: Mapped[bytes] = mapped_column(LargeBinary(32))  # nobody's to see until it is drawn
    beacon_source: Mapped[str] = mapped_column(String(200))
    sealed_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    participants: Mapped[bytes | None] = mapped_column(LargeBinary)  # sorted ids, 16 bytes each
    participants_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    beacon: Mapped[str | None] = mapped_column(String(200))
    drawn_at: Mapped[datetime | None]
    first_number: Mapped[int | None] = mapped_column(BigInteger)


STAYING = text("retired_at IS NULL")
UNNUMBERED = text("number IS NULL AND admitted_at IS NULL AND retired_at IS NULL")
WAITING = text("number IS NOT NULL AND admitted_at IS NULL AND retired_at IS NULL")
ADMITTED = text("admitted_at IS NOT NULL")
INSIDE = text("admitted_at IS NOT NULL AND retired_at IS NULL")
GAVE_UP_WAITING = text("admitted_at IS NULL AND retired_at IS NOT NULL")
INVITED = text("invited_at IS NOT NULL")


class QueueEntry(Base):
    """One stay in the waiting room of one performance."""

    __tablename__ = "queue_entry"
    __table_args__ = (
        CheckConstraint("(admitted_at IS NULL) = (access_expires_at IS NULL)", name="access"),
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="end"),
        CheckConstraint("retired_at IS NULL OR ended_at IS NOT NULL", name="retired"),
        Index(
            "uq_queue_entry_stay",
            "performance_id",
            "account_id",
            unique=True,
            postgresql_where=STAYING,
            sqlite_where=STAYING,
        ),
        UniqueConstraint("performance_id", "number", name="uq_queue_entry_number"),
        Index(
            "ix_queue_entry_unnumbered",
            "performance_id",
            "joined_at",
            "id",
            postgresql_where=UNNUMBERED,
            sqlite_where=UNNUMBERED,
        ),
        Index(
            "ix_queue_entry_waiting",
            "performance_id",
            "number",
            postgresql_where=WAITING,
            sqlite_where=WAITING,
        ),
        Index(
            "ix_queue_entry_inside",
            "performance_id",
            "access_expires_at",
            postgresql_where=INSIDE,
            sqlite_where=INSIDE,
        ),
        Index(
            "ix_queue_entry_admitted",
            "performance_id",
            "admitted_at",
            postgresql_where=ADMITTED,
            sqlite_where=ADMITTED,
        ),
        Index(
            "ix_queue_entry_gave_up",
            "performance_id",
            "number",
            postgresql_where=GAVE_UP_WAITING,
            sqlite_where=GAVE_UP_WAITING,
        ),
        Index(
            "ix_queue_entry_invited",
            "performance_id",
            "number",
            postgresql_where=INVITED,
            sqlite_where=INVITED,
        ),
        ROOM_TO_GROW,
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    performance_id: Mapped[int]
    account_id: Mapped[uuid.UUID]
    joined_at: Mapped[datetime]
    number: Mapped[int | None] = mapped_column(BigInteger)
    admitted_at: Mapped[datetime | None]
    access_expires_at: Mapped[datetime | None]
    holds_end_at: Mapped[datetime | None]  # set by the first hold, moved by nothing
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(20))
    retired_at: Mapped[datetime | None]  # off the lists; a paid stay is taken off by the usher
    seen_at: Mapped[datetime | None]  # NULL: has not come in yet
    used_from: Mapped[str | None] = mapped_column(String(16))  # where the access was used first
    invited_at: Mapped[datetime | None]  # admitted past the line, and past the rate


class RoomProgress(Base):
    """What the usher has handed out so far; no buyer's transaction reads it."""

    __tablename__ = "room_progress"
    performance_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_number: Mapped[int] = mapped_column(BigInteger, default=0)


class ProcessHealth(Base):
    """How the booking path went lately in one web process, in its own words and its own row."""

    __tablename__ = "process_health"
    process_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    requests: Mapped[int]
    errors: Mapped[int]
    pool_full: Mapped[int]  # requests that found every connection in use
    p95_milliseconds: Mapped[int]


class RetryCount(Base):
    """How often a process ran transactions again in one minute, by reason, function and attempt."""

    __tablename__ = "retry_count"
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    process_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(63), primary_key=True)
    function: Mapped[str] = mapped_column(String(200), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    times: Mapped[int]


class Pace(Base):
    """How much of every room's rate is used: all of it while the booking path is well."""

    __tablename__ = "pace"
    __table_args__ = (
        CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
        CheckConstraint("(percent = 100) = (reason IS NULL)", name="reason"),
    )
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    percent: Mapped[int]
    reason: Mapped[str | None] = mapped_column(String(20))
    changed_at: Mapped[datetime]


class JobLease(Base):
    """Which process runs a job now. A work transaction starts by confirming its fence here."""

    __tablename__ = "job_lease"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime]


# -- who holds ----------------------------------------------------------------------------------


class Allowance(Base):
    """What a customer has bought and holds at one performance; outlives every stay."""

    __tablename__ = "allowance"
    __table_args__ = (
        CheckConstraint("seats_bought >= 0", name="seats_bought"),
        CheckConstraint("hold_id IS NULL OR coalesce(seats_held, 0) > 0", name="seats_held"),
        ROOM_TO_GROW,
    )
    performance_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    seats_bought: Mapped[int] = mapped_column(default=0)
    previous_hold_id: Mapped[uuid.UUID | None]  # what the last hold replaced: RETURNING's memory
    hold_id: Mapped[uuid.UUID | None]
    seats_held: Mapped[int | None]  # how many seats `hold_id` has, alive or dead


class Seat(Base):
    """The mutable facts of one seat at one performance. All rows exist before the sale."""

    __tablename__ = "seat"
    __table_args__ = (
        CheckConstraint("(hold_id IS NULL) = (held_until IS NULL)", name="hold"),
        CheckConstraint("ticket_id IS NULL OR hold_id IS NULL", name="one_owner"),
        CheckConstraint("NOT blocked OR (ticket_id IS NULL AND hold_id IS NULL)", name="blocked"),
        # A row is updated two or three times, each time to twice a free one's size, and nothing is
        # cleared away while a long snapshot (an audit, a backup) is open: with 30 the page was full
        # then, updates were no longer HOT and 9 of 100 failed; with 15 none (measured).
        {"postgresql_with": {"fillfactor": "15"}},
    )
    performance_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seat_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    blocked: Mapped[bool] = mapped_column(default=False)
    hold_id: Mapped[uuid.UUID | None]
    held_until: Mapped[datetime | None]
    displaced_hold_id: Mapped[uuid.UUID | None]  # whom the present holder took it from
    ticket_id: Mapped[uuid.UUID | None]


UNSWEPT = text("swept_at IS NULL")


class Hold(Base):
    """Seats, one customer, until `expires_at`. `seats` is what payment charges, fixed at placing."""

    __tablename__ = "hold"
    __table_args__ = (
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="end"),
        CheckConstraint("swept_at IS NULL OR ended_at IS NOT NULL", name="swept"),
        Index("ix_hold_expires_at", "expires_at", postgresql_where=UNSWEPT, sqlite_where=UNSWEPT),
        ROOM_TO_GROW,
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    performance_id: Mapped[int]
    account_id: Mapped[uuid.UUID]
    entry_id: Mapped[uuid.UUID]
    seats: Mapped[list[Any]]  # [[seat_no, price_minor], …] sorted by seat_no
    total_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    placed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(
        String(20)
    )  # paid released left replaced expired
    replaced_by: Mapped[uuid.UUID | None]
    swept_at: Mapped[datetime | None]  # the sweeper is done with it, however it ended


# -- who owns -----------------------------------------------------------------------------------


class Wallet(Base):
    """A customer's prepaid money."""

    __tablename__ = "wallet"
    __table_args__ = (CheckConstraint("balance_minor >= 0", name="balance"), ROOM_TO_GROW)
    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))


class LedgerEntry(Base):
    """One movement of a wallet; their sum is its balance."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        CheckConstraint("kind IN ('top_up', 'spend', 'refund')", name="kind"),
        CheckConstraint("(kind = 'spend') = (amount_minor < 0) OR amount_minor = 0", name="sign"),
        CheckConstraint("(kind = 'top_up') = (booking_id IS NULL)", name="booking"),
        UniqueConstraint("booking_id", "kind", name="uq_ledger_entry_once"),
        Index("ix_ledger_entry_account", "account_id", "id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    kind: Mapped[str] = mapped_column(String(10))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    booking_id: Mapped[uuid.UUID | None]
    at: Mapped[datetime]


class Booking(Base):
    """The paid order."""

    __tablename__ = "booking"
    __table_args__ = (
        UniqueConstraint("reference"),
        UniqueConstraint("hold_id"),
        Index("ix_booking_account", "account_id", "id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(String(12))
    performance_id: Mapped[int]
    account_id: Mapped[uuid.UUID]
    hold_id: Mapped[uuid.UUID]
    total_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    paid_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]


LIVE_TICKET = text("voided_at IS NULL")


class Ticket(Base):
    """One seat, one code, one entry at the door."""

    __tablename__ = "ticket"
    __table_args__ = (
        CheckConstraint("scanned_at IS NULL OR voided_at IS NULL", name="scanned_or_voided"),
        UniqueConstraint("code"),
        Index("ix_ticket_booking_id", "booking_id"),
        Index(
            "uq_ticket_seat",
            "performance_id",
            "seat_no",
            unique=True,
            postgresql_where=LIVE_TICKET,
            sqlite_where=LIVE_TICKET,
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    booking_id: Mapped[uuid.UUID]
    performance_id: Mapped[int]
    seat_no: Mapped[int]
    price_minor: Mapped[int] = mapped_column(BigInteger)
    code: Mapped[str] = mapped_column(String(40))
    scanned_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]


# -- what happened ------------------------------------------------------------------------------


class IdempotencyKey(Base):
    """The stored 2xx answer to one keyed request; holds no tokens."""

    __tablename__ = "idempotency_key"
    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(String(10), primary_key=True)
    path: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    status: Mapped[int]
    answer: Mapped[dict[str, Any]]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class JournalEntry(Base):
    """One committed fact. Append-only: a trigger refuses UPDATE and DELETE.

    `attempt_id` names the transaction attempt that wrote it; with `kind` it is unique, and so it is
    the witness by which the kernel settles an unknown COMMIT.
    """

    __tablename__ = "journal_entry"
    __table_args__ = (
        UniqueConstraint("attempt_id", "kind", name="uq_journal_entry_attempt"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    attempt_id: Mapped[uuid.UUID]
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40))
    facts: Mapped[dict[str, Any]]
