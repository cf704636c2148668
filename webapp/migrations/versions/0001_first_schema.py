"""The first schema.

Revision: 0001, after none.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JOBS = ("usher", "sweeper", "audit")

# The journal is append-only, and the database itself says so.
POSTGRESQL_APPEND_ONLY = """
CREATE FUNCTION journal_entry_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'journal_entry is append-only' USING ERRCODE = '0A000';
END $$;
CREATE TRIGGER journal_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_entry
    FOR EACH STATEMENT EXECUTE FUNCTION journal_entry_is_append_only();
"""
SQLITE_APPEND_ONLY = """
CREATE TRIGGER journal_entry_no_{name} BEFORE {name} ON journal_entry
    BEGIN SELECT RAISE(ABORT, 'journal_entry is append-only'); END
"""


ROOM_TO_GROW = {"fillfactor": "40"}


def only(condition: str) -> dict[str, Any]:
    """Make an index partial on both databases."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('customer', 'organiser', 'door')", name=op.f("ck_account_role")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("email", name=op.f("uq_account_email")),
    )
    op.create_table(
        "allowance",
        sa.Column("performance_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("seats_bought", sa.Integer(), nullable=False),
        sa.Column("previous_hold_id", sa.Uuid(), nullable=True),
        sa.Column("hold_id", sa.Uuid(), nullable=True),
        sa.Column("seats_held", sa.Integer(), nullable=True),
        sa.CheckConstraint("seats_bought >= 0", name=op.f("ck_allowance_seats_bought")),
        sa.CheckConstraint(
            "hold_id IS NULL OR coalesce(seats_held, 0) > 0", name=op.f("ck_allowance_seats_held")
        ),
        sa.PrimaryKeyConstraint("performance_id", "account_id", name=op.f("pk_allowance")),
        postgresql_with=ROOM_TO_GROW,
    )
    op.create_table(
        "booking",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(length=12), nullable=False),
        sa.Column("performance_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_booking")),
        sa.UniqueConstraint("hold_id", name=op.f("uq_booking_hold_id")),
        sa.UniqueConstraint("reference", name=op.f("uq_booking_reference")),
    )
    op.create_index("ix_booking_account", "booking", ["account_id", "id"], unique=False)
    op.create_table(
        "hold",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("performance_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column(
            "seats", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(length=20), nullable=True),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.Column("swept_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name=op.f("ck_hold_end")),
        sa.CheckConstraint("swept_at IS NULL OR ended_at IS NOT NULL", name=op.f("ck_hold_swept")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
        postgresql_with=ROOM_TO_GROW,
    )
    op.create_index(
        "ix_hold_expires_at", "hold", ["expires_at"], unique=False, **only("swept_at IS NULL")
    )
    op.create_table(
        "idempotency_key",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("method", sa.String(length=10), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column(
            "answer", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "account_id", "method", "path", "key", name=op.f("pk_idempotency_key")
        ),
    )
    op.create_index(
        op.f("ix_idempotency_key_expires_at"), "idempotency_key", ["expires_at"], unique=False
    )
    op.create_table(
        "job_lease",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_lease")),
    )
    op.create_table(
        "journal_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column(
            "facts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal_entry")),
        sa.UniqueConstraint("attempt_id", "kind", name="uq_journal_entry_attempt"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("booking_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(kind = 'spend') = (amount_minor < 0) OR amount_minor = 0",
            name=op.f("ck_ledger_entry_sign"),
        ),
        sa.CheckConstraint(
            "(kind = 'top_up') = (booking_id IS NULL)", name=op.f("ck_ledger_entry_booking")
        ),
        sa.CheckConstraint(
            "kind IN ('top_up', 'spend', 'refund')", name=op.f("ck_ledger_entry_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("booking_id", "kind", name="uq_ledger_entry_once"),
    )
    op.create_index("ix_ledger_entry_account", "ledger_entry", ["account_id", "id"], unique=False)
    op.create_table(
        "queue_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("performance_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("access_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("holds_end_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(length=20), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "retired_at IS NULL OR ended_at IS NOT NULL", name=op.f("ck_queue_entry_retired")
        ),
        sa.CheckConstraint(
            "(admitted_at IS NULL) = (access_expires_at IS NULL)",
            name=op.f("ck_queue_entry_access"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (end_reason IS NULL)", name=op.f("ck_queue_entry_end")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_entry")),
        sa.UniqueConstraint("performance_id", "number", name="uq_queue_entry_number"),
        postgresql_with=ROOM_TO_GROW,
    )
    op.create_index(
        "ix_queue_entry_admitted",
        "queue_entry",
        ["performance_id", "admitted_at"],
        unique=False,
        **only("admitted_at IS NOT NULL"),
    )
    op.create_index(
        "ix_queue_entry_gave_up",
        "queue_entry",
        ["performance_id", "number"],
        unique=False,
        **only("admitted_at IS NULL AND retired_at IS NOT NULL"),
    )
    op.create_index(
        "ix_queue_entry_inside",
        "queue_entry",
        ["performance_id", "access_expires_at"],
        unique=False,
        **only("admitted_at IS NOT NULL AND retired_at IS NULL"),
    )
    op.create_index(
        "ix_queue_entry_unnumbered",
        "queue_entry",
        ["performance_id", "joined_at", "id"],
        unique=False,
        **only("number IS NULL AND admitted_at IS NULL AND retired_at IS NULL"),
    )
    op.create_index(
        "ix_queue_entry_waiting",
        "queue_entry",
        ["performance_id", "number"],
        unique=False,
        **only("number IS NOT NULL AND admitted_at IS NULL AND retired_at IS NULL"),
    )
    op.create_index(
        "uq_queue_entry_stay",
        "queue_entry",
        ["performance_id", "account_id"],
        unique=True,
        **only("retired_at IS NULL"),
    )
    op.create_table(
        "rate_limit",
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("window_starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_limit")),
    )
    op.create_table(
        "room_progress",
        sa.Column("performance_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("performance_id", name=op.f("pk_room_progress")),
    )
    op.create_table(
        "seat",
        sa.Column("performance_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seat_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("displaced_hold_id", sa.Uuid(), nullable=True),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(hold_id IS NULL) = (held_until IS NULL)", name=op.f("ck_seat_hold")),
        sa.CheckConstraint(
            "NOT blocked OR (ticket_id IS NULL AND hold_id IS NULL)", name=op.f("ck_seat_blocked")
        ),
        sa.CheckConstraint("ticket_id IS NULL OR hold_id IS NULL", name=op.f("ck_seat_one_owner")),
        sa.PrimaryKeyConstraint("performance_id", "seat_no", name=op.f("pk_seat")),
        postgresql_with={"fillfactor": "15"},
    )
    op.create_table(
        "ticket",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("booking_id", sa.Uuid(), nullable=False),
        sa.Column("performance_id", sa.Integer(), nullable=False),
        sa.Column("seat_no", sa.Integer(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "scanned_at IS NULL OR voided_at IS NULL", name=op.f("ck_ticket_scanned_or_voided")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket")),
        sa.UniqueConstraint("code", name=op.f("uq_ticket_code")),
    )
    op.create_index("ix_ticket_booking_id", "ticket", ["booking_id"], unique=False)
    op.create_index(
        "uq_ticket_seat",
        "ticket",
        ["performance_id", "seat_no"],
        unique=True,
        **only("voided_at IS NULL"),
    )
    op.create_table(
        "venue",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_venue")),
    )
    op.create_table(
        "wallet",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.CheckConstraint("balance_minor >= 0", name=op.f("ck_wallet_balance")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_wallet")),
        postgresql_with=ROOM_TO_GROW,
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(length=100), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("description", sa.String(length=4000), nullable=False),
        sa.Column("venue_id", sa.Integer(), nullable=False),
        sa.Column("organiser_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organiser_id"], ["account.id"], name=op.f("fk_event_organiser_id")
        ),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name=op.f("fk_event_venue_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("slug", name=op.f("uq_event_slug")),
    )
    op.create_index(op.f("ix_event_organiser_id"), "event", ["organiser_id"], unique=False)
    op.create_index(op.f("ix_event_venue_id"), "event", ["venue_id"], unique=False)
    op.create_table(
        "login_session",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_login_session_account_id")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login_session")),
    )
    op.create_index(
        op.f("ix_login_session_account_id"), "login_session", ["account_id"], unique=False
    )
    op.create_table(
        "seatmap",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("venue_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("seat_count", sa.Integer(), nullable=False),
        sa.Column(
            "geometry", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(["venue_id"], ["venue.id"], name=op.f("fk_seatmap_venue_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seatmap")),
        sa.UniqueConstraint("version", name=op.f("uq_seatmap_version")),
    )
    op.create_index(op.f("ix_seatmap_venue_id"), "seatmap", ["venue_id"], unique=False)
    op.create_table(
        "performance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("seatmap_id", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("prequeue_opens_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sales_open_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sales_close_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_until_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("rate_per_minute", sa.Integer(), nullable=False),
        sa.Column("session_seconds", sa.Integer(), nullable=False),
        sa.Column("hold_seconds", sa.Integer(), nullable=False),
        sa.Column("seats_max", sa.Integer(), nullable=False),
        sa.Column("single_seat_rule", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "single_seat_rule IN ('off', 'lenient', 'strict')",
            name=op.f("ck_performance_single_seat_rule"),
        ),
        sa.CheckConstraint(
            "capacity IS NULL OR capacity >= 0", name=op.f("ck_performance_capacity")
        ),
        sa.CheckConstraint(
            "hold_seconds > 0 AND session_seconds > 0", name=op.f("ck_performance_lifetimes")
        ),
        sa.CheckConstraint("rate_per_minute >= 0", name=op.f("ck_performance_rate")),
        sa.CheckConstraint("seats_max > 0", name=op.f("ck_performance_seats_max")),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_performance_event_id")),
        sa.ForeignKeyConstraint(
            ["seatmap_id"], ["seatmap.id"], name=op.f("fk_performance_seatmap_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performance")),
    )
    op.create_index(op.f("ix_performance_event_id"), "performance", ["event_id"], unique=False)
    op.create_index(op.f("ix_performance_seatmap_id"), "performance", ["seatmap_id"], unique=False)
    op.create_table(
        "seat_place",
        sa.Column("seatmap_id", sa.Integer(), nullable=False),
        sa.Column("seat_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label", sa.String(length=40), nullable=False),
        sa.Column("section", sa.String(length=40), nullable=False),
        sa.Column("row", sa.String(length=10), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("price_level", sa.String(length=20), nullable=False),
        sa.Column("accessible", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["seatmap_id"], ["seatmap.id"], name=op.f("fk_seat_place_seatmap_id")
        ),
        sa.PrimaryKeyConstraint("seatmap_id", "seat_no", name=op.f("pk_seat_place")),
        sa.UniqueConstraint("seatmap_id", "label", name=op.f("uq_seat_place_seatmap_id_label")),
    )
    op.create_table(
        "price_level",
        sa.Column("performance_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_price_level_price")),
        sa.ForeignKeyConstraint(
            ["performance_id"], ["performance.id"], name=op.f("fk_price_level_performance_id")
        ),
        sa.PrimaryKeyConstraint("performance_id", "code", name=op.f("pk_price_level")),
    )
    protect_journal()
    leases = sa.table("job_lease", sa.column("name"), sa.column("fence"), sa.column("expires_at"))
    op.execute(
        leases.insert().values(
            [{"name": name, "fence": 0, "expires_at": sa.func.current_timestamp()} for name in JOBS]
        )
    )


def protect_journal() -> None:
    """Refuse UPDATE and DELETE on the journal."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRESQL_APPEND_ONLY)
    else:
        for name in ("UPDATE", "DELETE"):
            op.execute(SQLITE_APPEND_ONLY.format(name=name))


def downgrade() -> None:
    op.drop_table("price_level")
    op.drop_table("seat_place")
    op.drop_table("performance")
    op.drop_table("seatmap")
    op.drop_table("login_session")
    op.drop_table("event")
    op.drop_table("wallet")
    op.drop_table("venue")
    op.drop_table("ticket")
    op.drop_table("seat")
    op.drop_table("room_progress")
    op.drop_table("rate_limit")
    op.drop_table("queue_entry")
    op.drop_table("ledger_entry")
    op.drop_table("journal_entry")
    op.drop_table("job_lease")
    op.drop_table("idempotency_key")
    op.drop_table("hold")
    op.drop_table("booking")
    op.drop_table("allowance")
    op.drop_table("account")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION journal_entry_is_append_only()")
