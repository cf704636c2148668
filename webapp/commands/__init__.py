"""Commands for operators: `flask --app wsgi …`.

Promises:

1. Every command explains itself with `--help`, and with `--json` says the same in one line for programs.
2. A refusal goes to stderr with its code, without a traceback, and the exit status is not zero.
3. No password and no session token is ever an argument, where every user of the machine could read it.
"""

from flask import Flask

from webapp.commands.demo_house import demo
from webapp.commands.locking import locks
from webapp.commands.people import credit, new_account, new_buyers
from webapp.commands.rooms import draw_again, room
from webapp.commands.sales import new_sale
from webapp.commands.schema import migrate, migrate_to
from webapp.commands.serving import serve
from webapp.commands.verifying import verify

__all__ = ["install", "migrate_to"]

COMMANDS = (
    migrate,
    demo,
    new_sale,
    new_buyers,
    new_account,
    credit,
    room,
    draw_again,
    serve,
    verify,
    locks,
)


def install(app: Flask) -> None:
    """Give the app its commands."""
    for command in COMMANDS:
        app.cli.add_command(command)
