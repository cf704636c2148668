"""How a command speaks: words for people, one line of JSON for programs, refusals without a traceback."""

import json
from collections.abc import Mapping
from typing import Any

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from webapp.config import ConfigError
from webapp.db import Busy, OutcomeUnknown
from webapp.domain.errors import Refusal
from webapp.web.failures import TITLES, plain

_AS_JSON = "jari.as_json"


class Operation(click.Command):
    """A command with `--json`, whose refusals end it with status 1 and their code on stderr."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        flag = click.Option(["--json", "as_json"], is_flag=True, help="Answer in one line of JSON.")
        self.params.append(flag)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command."""
        ctx.meta[_AS_JSON] = ctx.params.pop("as_json")
        try:
            super().invoke(ctx)
        except Refusal as refusal:
            raise refused(refusal.code, refusal.title, refusal.facts) from refusal
        except Busy as busy:
            raise refused("busy", TITLES["busy"]) from busy
        except OutcomeUnknown as unknown:
            raise refused(
                "outcome_unknown", "Look whether it happened before trying again."
            ) from unknown
        except ConfigError as error:
            raise refused("config", str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            # Not reachable, or without this version's tables: the operator's business, and the
            # database says it better than a traceback of ours.
            raise refused("database", str(error.orig).strip().partition("\n")[0]) from error


def refused(code: str, title: str, facts: Mapping[str, Any] | None = None) -> click.ClickException:
    """Make the exception that says why on stderr and ends the process with status 1."""
    details = f" {_json(facts)}" if facts else ""
    return click.ClickException(f"{code}: {title}{details}")


def say(facts: Mapping[str, Any], text: str) -> None:
    """Answer: with `text`, or with `facts` where JSON was asked for. Flushed: somebody may be waiting."""
    click.echo(_json(facts) if click.get_current_context().meta[_AS_JSON] else text)


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, default=plain, ensure_ascii=False)
