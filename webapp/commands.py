"""Commands for operators: `flask --app wsgi …`."""

import json
from pathlib import Path

import click
from alembic import command
from alembic.config import Config as AlembicConfig
from flask import Flask, current_app

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config() -> AlembicConfig:
    """Say where the migrations are; the connection is passed in, so no ini file is needed."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate_to(app: Flask, revision: str = "head") -> None:
    """Bring the database to a revision, forwards or backwards."""
    db = app.extensions["jari"].db
    config = alembic_config()
    with db.writer.connect() as connection:
        config.attributes["connection"] = connection
        if revision in ("head", "heads") or not revision.startswith("-"):
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)


@click.command()
@click.option(
    "--revision", default="head", help="Where to go: head, a revision, or -1 for one back."
)
@click.option("--json", "as_json", is_flag=True)
def migrate(revision: str, as_json: bool) -> None:
    """Bring the database to a revision of the schema (forwards; -1 goes one back)."""
    migrate_to(current_app._get_current_object(), revision)  # type: ignore[attr-defined]
    click.echo(json.dumps({"revision": revision}) if as_json else f"database is at {revision}")


def install(app: Flask) -> None:
    """Give the app its commands."""
    app.cli.add_command(migrate)
