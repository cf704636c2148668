"""How alembic reaches the database: by the connection that `webapp.commands` passes in."""

from alembic import context

from webapp.domain.model import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by making a new one
    compare_type=True,
    transactional_ddl=True,  # also on SQLite, whose BEGIN is ours
)
with context.begin_transaction():
    context.run_migrations()
