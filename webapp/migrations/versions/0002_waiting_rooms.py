"""Waiting rooms: how they treat people, lotteries, guests, and the health that admission is fed by.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ARRIVAL_SECONDS = 180


def upgrade() -> None:
    _make_rooms()
    _make_lotteries()
    _make_health()
    op.add_column("queue_entry", sa.Column("seen_at", sa.DateTime(timezone=True)))
    op.add_column("queue_entry", sa.Column("used_from", sa.String(length=16)))
    op.add_column("queue_entry", sa.Column("invited_at", sa.DateTime(timezone=True)))
    # Whoever is inside already has come in.
    op.execute("UPDATE queue_entry SET seen_at = admitted_at WHERE admitted_at IS NOT NULL")


def _make_rooms() -> None:
    op.create_table(
        "room",
        sa.Column("performance_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("arrival_seconds", sa.Integer(), nullable=False),
        sa.Column("idle_seconds", sa.Integer(), nullable=True),
        sa.Column("message", sa.String(length=500), nullable=False),
        sa.Column("beacon_source", sa.String(length=200), nullable=False),
        sa.CheckConstraint("arrival_seconds > 0", name=op.f("ck_room_arrival")),
        sa.CheckConstraint("idle_seconds IS NULL OR idle_seconds > 0", name=op.f("ck_room_idle")),
        sa.ForeignKeyConstraint(
            ["performance_id"], ["performance.id"], name=op.f("fk_room_performance_id")
        ),
        sa.PrimaryKeyConstraint("performance_id", name=op.f("pk_room")),
    )
    op.execute(
        "INSERT INTO room (performance_id, arrival_seconds, message, beacon_source)"
        f" SELECT id, {ARRIVAL_SECONDS}, '', '' FROM performance"
    )
    op.create_table(
        "guest",
        sa.Column("performance_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_guest_account_id")),
        sa.ForeignKeyConstraint(
            ["performance_id"], ["performance.id"], name=op.f("fk_guest_performance_id")
        ),
        sa.PrimaryKeyConstraint("performance_id", "account_id", name=op.f("pk_guest")),
    )


def _make_lotteries() -> None:
    op.create_table(
        "lottery",
        sa.Column("performance_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seed", sa.LargeBinary(length=32), nullable=False),
        sa.Column("beacon_source", sa.String(length=200), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("participants", sa.LargeBinary(), nullable=True),
        sa.Column("participants_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("beacon", sa.String(length=200), nullable=True),
        sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_number", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (participants IS NULL)", name=op.f("ck_lottery_closed")
        ),
        sa.CheckConstraint(
            "(drawn_at IS NULL) = (first_number IS NULL)", name=op.f("ck_lottery_numbers")
        ),
        sa.CheckConstraint(
            "drawn_at IS NULL OR closed_at IS NOT NULL", name=op.f("ck_lottery_drawn")
        ),
        sa.ForeignKeyConstraint(
            ["performance_id"], ["performance.id"], name=op.f("fk_lottery_performance_id")
        ),
        sa.PrimaryKeyConstraint("performance_id", name=op.f("pk_lottery")),
    )


def _make_health() -> None:
    op.create_table(
        "process_health",
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("pool_full", sa.Integer(), nullable=False),
        sa.Column("p95_milliseconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_process_health")),
    )
    op.create_index(op.f("ix_process_health_at"), "process_health", ["at"], unique=False)
    pace = op.create_table(
        "pace",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("percent BETWEEN 0 AND 100", name=op.f("ck_pace_percent")),
        sa.CheckConstraint("(percent = 100) = (reason IS NULL)", name=op.f("ck_pace_reason")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pace")),
    )
    now = sa.func.current_timestamp()
    op.execute(pace.insert().values(id=1, percent=100, changed_at=now))


def downgrade() -> None:
    with op.batch_alter_table("queue_entry") as table:
        table.drop_column("invited_at")
        table.drop_column("used_from")
        table.drop_column("seen_at")
    for name in ("pace", "process_health", "lottery", "guest", "room"):
        op.drop_table(name)
