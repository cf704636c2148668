"""A sale that opens in a house with a past: the statistics know every performance but this one.

PostgreSQL then expects one row of it, and takes the index of the whole hall for as good as the keys of
two seats. Under SERIALIZABLE that locks the hall against everybody.
"""

from sqlalchemy import text

from tests.builders import enter, make_accounts, make_sale, place
from tests.conftest import config_for, dispose
from webapp import create_app
from webapp.db import Database, Tx

LOCKED_PAGES = text("""
    SELECT count(*) FROM pg_locks
    WHERE mode = 'SIReadLock' AND relation = 'pk_seat'::regclass AND locktype = 'page'
""")


def test_a_hold_reads_only_its_own_seats(postgres_url: str) -> None:
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db
    for _ in range(3):
        make_sale(db, seats=10_000)
    with db.writer.begin() as connection:
        connection.execute(text("ANALYZE"))
    late = make_sale(db, seats=10_000)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, late)

    def locked(tx: Tx) -> int:
        place(db, admitted, [5_000, 5_001])
        return int(tx.execute(LOCKED_PAGES).scalar_one())

    assert db.transact(locked) <= 2
    dispose(app)
