"""Guests in the order of their numbers: everybody in line is told who was let in past them.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    invited = sa.text("invited_at IS NOT NULL")
    op.create_index(
        "ix_queue_entry_invited",
        "queue_entry",
        ["performance_id", "number"],
        unique=False,
        postgresql_where=invited,
        sqlite_where=invited,
    )


def downgrade() -> None:
    op.drop_index("ix_queue_entry_invited", table_name="queue_entry")
