"""Jari sells seats when everyone comes at once. `create_app` is the only place that wires."""

import os
from functools import partial
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from sqlalchemy.engine import make_url
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp import commands, metrics
from webapp.config import Config
from webapp.db import Database
from webapp.domain import journal
from webapp.domain.errors import EmailTaken, SeatsTaken
from webapp.domain.model import Base
from webapp.engines import engine_options
from webapp.web import (
    account_pages,
    api,
    assets,
    checkout_pages,
    failures,
    fastlane,
    guards,
    health,
    inputs,
    languages,
    lottery_pages,
    operations,
    organiser,
    pages,
    phrases,
    room_pages,
    sale_pages,
    seat_map,
    seat_pages,
    security,
    shapes,
)
from webapp.web.house import House

ROOT = Path(__file__).resolve().parent.parent
BODY_MAX_BYTES = 64 * 1024
TOPICS = (
    pages,
    sale_pages,
    seat_pages,
    seat_map,
    checkout_pages,
    account_pages,
    organiser,
    room_pages,
    lottery_pages,
    api,
    operations,
)

# The second wall's words: what a violated constraint means to the customer.
REFUSALS = {"uq_account_email": EmailTaken, "uq_ticket_seat": SeatsTaken}
GENERATED = frozenset({"uq_booking_reference", "uq_ticket_code"})


def create_app(config: Config) -> Flask:
    """Make one process's application; raise when a route has no guard."""
    app = Flask(__name__, template_folder=str(ROOT / "templates"), static_folder=None)
    app.config.update(
        SECRET_KEY=config.secret_key,
        SECRET_KEY_FALLBACKS=[config.secret_key_previous] if config.secret_key_previous else [],
        MAX_CONTENT_LENGTH=BODY_MAX_BYTES,
        SESSION_COOKIE_SECURE=config.cookie_secure,
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # a buyer may wait for hours with the form open
        WTF_CSRF_SSL_STRICT=config.cookie_secure,
    )
    db = open_database(app, config)
    house = app.extensions["jari"] = House(config, db)
    security.install(app)  # first, so that whatever is refused later has its id and its headers
    assets.install(app)
    health.install(app, house.health, house.lateness)
    csrf = CSRFProtect(app)
    app.json = shapes.Json(app)
    languages.install(app)
    phrases.install(app)
    failures.install(app)
    inputs.install(app)
    for topic in TOPICS:
        app.register_blueprint(topic.blueprint)
    csrf.exempt(api.blueprint)  # bearer tokens are not sent by browsers on their own
    commands.install(app)
    guards.refuse_unguarded(app)
    lane = fastlane.install(app, house)
    if config.trusted_proxies:
        # Only as many as there are: whatever a client writes before those is what it likes.
        fixed = partial(ProxyFix, x_for=config.trusted_proxies, x_proto=0)
        app.wsgi_app = fixed(app.wsgi_app)  # type: ignore[method-assign]  # as Flask says it is wrapped
        lane.answer_at_once = fixed(lane.answer_at_once)  # type: ignore[method-assign, arg-type]  # its other door
    return app


def open_database(app: Flask, config: Config) -> Database:
    """Make the two engines through Flask-SQLAlchemy, which keeps them, and the door in front of them."""
    _make_sqlite_folder(config.database_url)
    pool = {"pool_size": config.pool_size, "pool_timeout": config.pool_timeout_seconds}
    writer = engine_options(config.database_url, writes=True, **pool)  # type: ignore[arg-type]
    reader = engine_options(config.database_url, writes=False, **pool)  # type: ignore[arg-type]
    app.config["SQLALCHEMY_DATABASE_URI"] = writer.pop("url")
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = writer
    app.config["SQLALCHEMY_BINDS"] = {"reader": reader}
    flask_sqlalchemy = SQLAlchemy(metadata=Base.metadata)
    flask_sqlalchemy.init_app(app)
    with app.app_context():
        engines = flask_sqlalchemy.engines
    for name, engine in (("writer", engines[None]), ("reader", engines["reader"])):
        metrics.watch_pool(engine, name)
    db = Database(
        engines[None],
        engines["reader"],
        Base.metadata,
        journal.write,
        refusals=REFUSALS,
        again=GENERATED,
        budget_seconds=config.transaction_seconds,
        rehearse=config.rehearse,
    )
    db.subscribers.append(metrics.count)
    return db


def _make_sqlite_folder(database_url: str) -> None:
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        os.makedirs(Path(url.database).absolute().parent, exist_ok=True)
