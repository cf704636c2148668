"""The line to the database is cut at COMMIT, before or after it was applied; the customer asks again."""

import random
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.builders import make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.races.soundness import assert_sound
from tests.servers import Line, Web, until
from tests.shoppers import Reply, Shopper
from webapp import create_app
from webapp.domain.model import Booking, LedgerEntry
from webapp.web.house import House

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.race]


@pytest.mark.failure("F44")
def test_half_of_all_commits_lose_their_answer_and_each_takes_effect_once(
    postgres_url: str, tmp_path: Path
) -> None:
    app = create_app(config_for(postgres_url))
    house: House = app.extensions["jari"]
    sale = make_sale(house.db, seats=60)
    customers = make_accounts(house.db, 12, balance_minor=1_000)
    port = house.db.writer.url.port
    assert port is not None
    line = Line(port, random.Random(44))
    url = postgres_url.replace(f":{port}/", f":{line.port}/")

    def insist(shopper: Shopper, step: str, *words: str) -> Reply:
        return until(lambda: answered(getattr(shopper, step)(*words)), what=step)

    def answered(reply: Reply) -> Reply | None:
        assert reply.status in (200, 201, 503), reply
        return reply if reply.ok else None

    with Web(url, tmp_path / "web.log") as web:
        line.share = 0.5
        for number, customer in enumerate(customers, 1):
            shopper = Shopper(web.http, customer, sale)
            insist(shopper, "join")
            held = insist(shopper, "hold", f"ST-A-{number}" if number < 11 else f"ST-B-{number}")
            paid = insist(shopper, "pay", held.body["id"])
            again = insist(shopper, "pay", held.body["id"])
            assert again.body == paid.body
            key = f"refund-{number}"
            assert (
                insist(shopper, "top_up", 70, key).body == insist(shopper, "top_up", 70, key).body
            )
    line.close()
    assert line.cuts > 10
    kinds = select(LedgerEntry.kind, func.count()).group_by(LedgerEntry.kind)
    counted = house.db.read(lambda tx: {row.kind: row[1] for row in tx.execute(kinds)})
    assert counted == {"top_up": 25, "spend": 12}  # each wallet opens with one, the organiser's too
    bookings = select(func.count()).select_from(Booking)
    assert house.db.read(lambda tx: tx.execute(bookings).scalar()) == 12
    assert_sound(house.db)
    dispose(app)
