"""The laws of the house, each as a test, and the measure of its rooms.

A law about what code may say is read from the source; a law about what happens is watched happening, on
both databases. Every exception stands in a table here with its reason, and one that is no longer needed
fails too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from flask import Flask

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock, config_for
from tests.faults import CONFLICTS, Faults, Statement
from tests.kernel.operations import Stage
from webapp import create_app
from webapp.db import Database
from webapp.domain import errors, seatmap
from webapp.domain.errors import HoldExpired, Refusal
from webapp.domain.model import Base
from webapp.web.guards import public, refuse_unguarded

ROOT = Path(__file__).resolve().parent.parent
# One module in six files.
KERNEL = {
    f"webapp/{name}.py" for name in ("db", "engines", "clock", "ids", "statements", "troubles")
}

LINES_MAX = 400
FUNCTION_LINES_MAX = 45  # without the docstring

# A module of more lines than LINES_MAX holds one topic all the same, and says here which.
LONG_MODULES = {
    "webapp/domain/model.py": "every table, to be read from top to bottom like a diagram",
}
LONG_FUNCTIONS = {"webapp/migrations/versions/0001_first_schema.py:upgrade"}


Played = dict[str, list[Statement]]


# -- reading the source -----------------------------------------------------------------------------


@cache
def sources() -> dict[str, ast.Module]:
    """Parse every module of the service, by its path from the root."""
    paths = [*ROOT.glob("webapp/**/*.py"), *ROOT.glob("jobs/**/*.py")]
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted(paths)
    }


def domain() -> dict[str, ast.Module]:
    return {path: tree for path, tree in sources().items() if path.startswith("webapp/domain/")}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def parameters(function: ast.FunctionDef) -> list[str]:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield "module" for `import module` and "module.name" for `from module import name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def said(node: ast.AST) -> str:
    """Return a dotted name as it is written: `tx.connection.commit`; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{said(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[str]:
    yield from (said(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))


def caught(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield every exception that is caught or suppressed, with the place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            yield from ((said(kind) if kind else "everything", node) for kind in kinds)
        elif isinstance(node, ast.Call) and said(node.func).endswith("suppress"):
            yield from ((said(kind), node) for kind in node.args)


def compare(found: set[str], permitted: dict[str, str]) -> None:
    """Fail for what is done without a permission, and for a permission that nobody uses."""
    assert found - permitted.keys() == set()
    assert permitted.keys() - found == set(), "no longer needed"


# -- law 1: only the kernel begins, commits, rolls back or retries ------------------------------------

TRANSACTIONAL = {
    *("begin", "begin_nested", "commit", "rollback", "savepoint", "invalidate"),
    *("connect", "raw_connection", "create_engine", "sessionmaker", "scoped_session"),
}
MAKES_CONNECTIONS = {
    "webapp/commands/schema.py:connect": "a migration is no work of the kernel's: it is DDL",
    "webapp/commands/schema.py:create_engine": "and needs a connection that no request gets",
}


def test_law_1_only_the_kernel_begins_and_ends_transactions() -> None:
    found = {
        f"{path}:{call.rpartition('.')[2]}"
        for path, tree in sources().items()
        if path not in KERNEL
        for call in calls(tree)
        if call.rpartition(".")[2] in TRANSACTIONAL
    }
    compare(found, MAKES_CONNECTIONS)
    for path, tree in sources().items():
        if path not in KERNEL:
            names = set(imported(tree))
            assert not names & {"sqlalchemy.orm.Session", "psycopg", "sqlite3"}, path
            spoken = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            starts = {str(text).strip().split(" ")[0] for text in spoken}
            assert not starts & {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT"}, path


def test_law_1_nobody_else_tries_again() -> None:
    """Who catches Busy answers or gives up; a loop around it would multiply the kernel's tries."""
    for path, tree in sources().items():
        if path in KERNEL:
            continue
        for loop in (node for node in ast.walk(tree) if isinstance(node, ast.For | ast.While)):
            kinds = {kind.rpartition(".")[2] for kind, _ in caught(loop)}
            assert not kinds & {"Busy", "OutcomeUnknown"}, f"{path}:{loop.lineno}"


def test_law_1_the_commit_is_inside_the_retried_block(db: Database) -> None:
    faults, sale = Faults(db), make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    faults.conflict_at_commit(CONFLICTS[db.writer.dialect.name][0])
    place(db, admitted, [1])
    assert faults.fired == 1
    assert db.lookup(seatmap.states, sale)[:3] == "fhf"


# -- law 2: a domain function is a function of its transaction --------------------------------------

PURE = {
    *(
        "array",
        "bisect",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
    ),
    "itertools",
    *("json", "math", "operator", "random", "re", "secrets", "string", "typing", "uuid"),
    *("sqlalchemy", "webapp.db", "webapp.ids", "webapp.statements", "webapp.domain"),
}


def test_law_2_the_domain_touches_nothing_but_the_database() -> None:
    for path, tree in domain().items():
        strangers = {
            name
            for name in imported(tree)
            if not any(name == pure or name.startswith(f"{pure}.") for pure in PURE)
        }
        assert not strangers, path
        assert "webapp.db.Database" not in set(imported(tree)), path


def test_law_2_the_domain_and_the_kernel_know_no_web() -> None:
    for path, tree in sources().items():
        if path in KERNEL or path.startswith("webapp/domain/"):
            roots = {name.partition(".")[0] for name in imported(tree)}
            assert not roots & {"flask", "flask_sqlalchemy", "werkzeug", "jinja2"}, path


def test_law_2_the_transaction_comes_first() -> None:
    for path, tree in domain().items():
        for function in functions(tree):
            names = parameters(function)
            assert "tx" not in names or names[0] == "tx", f"{path}:{function.name}"


def test_law_2_whoever_writes_was_given_a_transaction() -> None:
    """`tx` is a parameter, of the function or of the one around it, never something found lying about."""
    for path, tree in domain().items():
        given = {id(n) for f in functions(tree) if "tx" in parameters(f) for n in ast.walk(f)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id == "tx":
                assert id(node) in given, f"{path}:{node.lineno}"


# -- law 3: expiry is a fact of the clock -------------------------------------------------------------


@pytest.mark.failure("F2")
def test_law_3_an_expired_hold_is_no_hold_although_nobody_swept(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, hold_seconds=60)
    late, next_one = make_accounts(db, 2)
    admitted = enter(db, late, sale)
    held = place(db, admitted, [1, 2])
    clock.advance(61)
    assert db.lookup(seatmap.states, sale)[:4] == "ffff"
    place(db, enter(db, next_one, sale), [1, 2])
    with pytest.raises(HoldExpired):
        pay(db, admitted, held)


# -- law 4: every invariant is guarded twice ----------------------------------------------------------

# What makes an UPDATE of this table conditional. `allowance` is missing: raising it is conditional,
# lowering it follows from the booking's own guard.
GUARDED_BY = {
    "queue_entry": r"(ended|admitted|retired)_at IS NULL|number IS NULL",
    "hold": r"ended_at IS (NOT )?NULL",
    "seat": r"hold_id (=|IN|IS NULL)|ticket_id (IN|= ANY)",
    "wallet": r"balance_minor (\+ .* )?>= ",
    "booking": r"cancelled_at IS NULL",
    "ticket": r"ticket.scanned_at IS NULL AND ticket.voided_at IS NULL",
    "job_lease": r"fence = ",
}
SECOND_WALL = {
    "a seat has one owner": "ck_seat_one_owner",
    "a seat is sold once": "uq_ticket_seat",
    "a blocked seat is nobody's": "ck_seat_blocked",
    "a held seat says until when": "ck_seat_hold",
    "a hold is paid once": "uq_booking_hold_id",
    "a booking is debited once and refunded once": "uq_ledger_entry_once",
    "no balance below zero": "ck_wallet_balance",
    "no negative count of seats bought": "ck_allowance_seats_bought",
    "one stay per customer": "uq_queue_entry_stay",
    "a number is given once": "uq_queue_entry_number",
    "a voided ticket opens no door": "ck_ticket_scanned_or_voided",
    "one effect per key": "pk_idempotency_key",
    "one witness per attempt": "uq_journal_entry_attempt",
}


def changes(text: str) -> bool:
    """Whether a statement changes rows that are there, as UPDATE does or as an INSERT's conflict."""
    return text.startswith("UPDATE") or "DO UPDATE" in text


def where(text: str) -> str:
    return " ".join(text.replace('"', "").split()).partition(" WHERE ")[2]


def test_law_4_the_first_wall_is_a_condition(played: Played) -> None:
    for operation, statements in played.items():
        for text in (statement.text for statement in statements):
            guard = GUARDED_BY.get(written(text), "")
            if changes(text):
                assert re.search(guard, where(text)), f"{operation}: {text}"


def test_law_4_the_second_wall_is_the_schema() -> None:
    named = {
        str(item.name)
        for table in Base.metadata.tables.values()
        for item in (*table.constraints, *table.indexes)
    }
    assert set(SECOND_WALL.values()) <= named


# -- law 5: effects follow from committed journal entries ---------------------------------------------


def test_law_5_work_has_no_effect_of_its_own() -> None:
    """What runs inside of a transaction may run twice: it counts nothing, logs nothing, mails nothing."""
    effects = {"inc", "observe", "labels", "info", "warning", "error", "exception", "print"}
    for path, tree in sources().items():
        if path in KERNEL or path.startswith("webapp/migrations/"):
            continue
        for function in functions(tree):
            if "tx" in parameters(function):
                ends = {call.rpartition(".")[2] for call in calls(function)}
                assert not ends & effects, f"{path}:{function.name}"


# -- law 6: a database error is never swallowed -------------------------------------------------------

DATABASE_ERRORS = {
    *("everything", "BaseException", "Exception", "SQLAlchemyError", "DBAPIError", "Error"),
    *("IntegrityError", "OperationalError", "ProgrammingError", "InternalError", "DatabaseError"),
}
CATCHES_WIDELY = {
    "webapp/web/operations.py:SQLAlchemyError": "/readyz: whatever it is, this process is not ready",
    "webapp/web/health.py:SQLAlchemyError": "a report of health is dropped, not the process",
    "webapp/metrics.py:SQLAlchemyError": "what was counted is told the next time, and logged",
    "webapp/commands/speaking.py:OperationalError": "a command says what the database said, and fails",
    "webapp/commands/speaking.py:ProgrammingError": "the same: the tables are not there",
    "webapp/web/fastlane.py:Exception": "told and logged as Flask's handlers would",
    "webapp/web/crowd.py:Exception": "raised again in each join it was worked for; a note is logged and made the next time",
    "webapp/web/joining.py:Exception": "logged; the others of its group are answered nevertheless",
    "webapp/web/reception.py:Exception": "a thread does the same request anew, and tells it",
    "webapp/web/groups.py:BaseException": "raised again in each request that it was worked for",
    "webapp/logs.py:Exception": "what cannot be said stops nobody: logging's own rule, told by handleError",
    "jobs/usher.py:Exception": "the same, and the other rooms are tended; the round has failed nevertheless",
    "jobs/__main__.py:Exception": "outside of any transaction: logged, and tried at the next tick",
}


def test_law_6_no_database_error_is_swallowed() -> None:
    found = {
        f"{path}:{kind.rpartition('.')[2]}"
        for path, tree in sources().items()
        if path not in KERNEL
        for kind, _ in caught(tree)
        if kind.rpartition(".")[2] in DATABASE_ERRORS
    }
    compare(found, CATCHES_WIDELY)


# -- laws 7 and 9: what is written, and in which order ------------------------------------------------

OWN = {
    *("queue_entry", "allowance", "hold", "seat", "wallet"),
    *("ledger_entry", "booking", "ticket", "idempotency_key", "journal_entry"),
}
ORDER = (
    {"job_lease"},
    {"queue_entry"},
    {"booking"},  # nothing but a cancellation locks one that is there
    {"allowance"},
    {"hold"},
    {"ticket"},
    {"seat"},
    {"wallet"},
    {"new rows"},
    {"journal_entry"},
)


def written(text: str) -> str:
    """Return the table that a statement writes, "" if none."""
    match = re.search(r'\b(?:UPDATE|INSERT INTO|DELETE FROM) "?(?!SET\b)(\w+)', text)
    return match[1] if match else ""


def locked(text: str) -> str:
    """Return what a statement locks: its table, or "new rows", which nobody else can wait for."""
    table = written(text)
    return table if not table or changes(text) or table == "journal_entry" else "new rows"


@pytest.fixture
def played(app: Flask, db: Database, clock: AdvancingClock) -> Played:
    """Play every transaction of a sale once; return its statements, on this database."""
    stage, faults, played = Stage(app.extensions["jari"], clock), Faults(db), {}
    for operation in ("place", "replace", "release", "expire", "pay", "cancel", "leave", "retire"):
        scene = stage.set(operation)
        faults.forget()
        scene.play()
        played[operation] = list(faults.statements)
    return played


def test_law_7_a_buyer_writes_only_what_is_his_own(played: Played) -> None:
    """Own tables, and in them rows that are named by more than their performance."""
    for operation in ("place", "replace", "release", "pay", "cancel", "leave"):
        for statement in played[operation]:
            assert written(statement.text) in OWN | {""}, operation
            if changes(statement.text):
                own = r"\b(id|account_id|hold_id|booking_id|seat_no)( (=|IN) |[^()]*\) DO UPDATE)"
                assert re.search(own, statement.text), f"{operation}: {statement.text}"


def test_law_9_all_lock_in_one_order(played: Played) -> None:
    rank = {table: place for place, tables in enumerate(ORDER) for table in tables}
    for operation, statements in played.items():
        order = [table for statement in statements if (table := locked(statement.text))]
        assert order == sorted(order, key=lambda table: rank[table]), operation
        assert order[-1] == "journal_entry", operation
        assert order.count("seat") <= 1, operation


def test_law_9_seats_are_asked_for_in_their_order(played: Played) -> None:
    for operation in ("place", "replace", "release", "expire", "pay", "cancel", "leave"):
        [update] = [s for s in played[operation] if s.text.startswith("UPDATE seat")]
        numbers = seat_numbers(update)
        assert len(numbers) > 1
        assert numbers == sorted(numbers), operation


def seat_numbers(statement: Statement) -> list[int]:
    """Return the seats that a statement names, in a list or one by one, by name (psycopg) or by position (SQLite)."""
    last = re.split(r"seat_no (?:IN|= ANY) \(", statement.text)[-1]
    before = statement.text[: -len(last)]
    listed = re.match(r"(?:SELECT .*\s+FROM json_each|CAST)\(", last)
    names = re.match(r"(\?|%\(\w+\)s(::\w+)?|[, ])+", last[listed.end() if listed else 0 :])
    assert names
    given = statement.parameters
    if isinstance(given, dict):
        found = [given[name] for name in re.findall(r"%\((\w+)\)s", names[0])]
    else:
        found = list(given[before.count("?") :][: names[0].count("?")])
    return [int(seat_no) for seat_no in re.findall(r"\d+", found[0])] if listed else found


# -- law 8: the database's clock is the only clock ----------------------------------------------------

WALL_CLOCKS = re.compile(
    r"(^|\.)(datetime|date)\.(now|utcnow|today)$|^time\.(time|time_ns|localtime|gmtime|ctime)$"
    r"|^func\.(now|current_timestamp|localtimestamp|current_date|clock_timestamp)$"
)
READS_A_WALL_CLOCK = {
    "webapp/ids.py:time.time_ns": "ids are roughly in the order of time; nothing is decided by them",
}


def test_law_8_nobody_asks_this_machine_for_the_time() -> None:
    found = {
        f"{path}:{call}"
        for path, tree in sources().items()
        if not path.startswith("webapp/migrations/")
        for call in calls(tree)
        if WALL_CLOCKS.search(call)
    }
    compare(found, READS_A_WALL_CLOCK)
    for path, tree in sources().items():
        assert not {"time.time", "time.time_ns"} & set(imported(tree)), path
        if path in KERNEL or path.startswith("webapp/migrations/"):
            continue
        spoken = [str(n.value) for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        sql = re.compile(r"CURRENT_TIMESTAMP|\bnow\(\)|clock_timestamp|'now'")
        assert not any(sql.search(text) for text in spoken), path


# -- the measure of the rooms -------------------------------------------------------------------------


def test_modules_are_short_or_say_why_not() -> None:
    lines = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in sources()}
    long = {
        path
        for path, count in lines.items()
        if count > LINES_MAX and not path.startswith("webapp/migrations/")
    }
    compare(long, LONG_MODULES)


def test_functions_are_short() -> None:
    found = {
        f"{path}:{function.name}"
        for path, tree in sources().items()
        for function in functions(tree)
        if length(function) > FUNCTION_LINES_MAX
    }
    assert found == LONG_FUNCTIONS


def length(function: ast.FunctionDef) -> int:
    documented = ast.get_docstring(function, clean=False)
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - (len(documented.splitlines()) if documented else 0)


def test_modules_say_what_they_hide() -> None:
    for path, tree in sources().items():
        if tree.body and not path.endswith("__init__.py"):
            assert ast.get_docstring(tree), path


def test_what_is_public_in_the_kernel_and_the_domain_is_documented() -> None:
    for path, tree in sources().items():
        if path not in KERNEL and not path.startswith("webapp/domain/"):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}:{node.name}"


def test_the_import_contracts_are_kept() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def settings() -> set[str]:
    """Find the names of all environment variables that somebody may set."""
    found = set()
    trees = [tree for path, tree in sources().items() if path != "webapp/web/operations.py"]
    trees.append(ast.parse((ROOT / "gunicorn.conf.py").read_text("utf-8")))
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and re.search(
                r"(^|\.)(env|environ|environment)\.get$|^(_number|_choice)$", said(node.func)
            ):
                words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                found |= {word for word in words[:1] if isinstance(word, str)}
    return found - {"FLASK_RUN_FROM_CLI"}  # flask's own


def test_every_setting_is_documented() -> None:
    assert {"DATABASE_URL", "SECRET_KEY", "POOL_SIZE", "TOPUPS", "WEB_THREADS"} <= settings()
    text = (ROOT / "README.md").read_text("utf-8")
    undocumented = {name for name in settings() if f"`{name}`" not in text}
    assert undocumented == set()


# -- refusals and routes ------------------------------------------------------------------------------


def refusals(family: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for refusal in family.__subclasses__():
        yield refusal
        yield from refusals(refusal)


def test_every_refusal_has_a_title_and_a_code_of_its_own() -> None:
    kinds = [refusal for refusal in refusals() if refusal.__module__ == errors.__name__]
    assert len(kinds) > 25
    for refusal in kinds:
        assert "code" in refusal.__dict__, refusal
        assert re.fullmatch(r"[a-z][a-z_]+", refusal.code), refusal
        title = (refusal.__dict__.get("__doc__") or "").strip()
        assert title.endswith("."), refusal
        assert "\n" not in title, refusal
        assert refusal.status in {402, 403, 404, 409, 410, 422, 429}, refusal
    codes = [refusal.code for refusal in kinds]
    assert len(set(codes)) == len(codes)
    for private in set(refusals()) - set(kinds):  # told apart inside, the same to the customer
        assert private.code in codes, private
        assert "code" not in private.__dict__, private
        assert private().title == private.__mro__[1]().title, private


def test_refusals_are_raised_with_facts_never_with_prose() -> None:
    names = {refusal.__name__ for refusal in refusals()}
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and said(node.func).rpartition(".")[2] in names:
                assert not node.args, f"{path}:{node.lineno}"


@pytest.fixture
def unopened(tmp_path: Path) -> Flask:
    """An app that nobody has asked anything yet: it needs no database."""
    return create_app(config_for(f"sqlite:///{tmp_path / 'none.sqlite3'}"))


def test_every_route_is_guarded(unopened: Flask) -> None:
    guards = {
        rule.rule: getattr(unopened.view_functions[rule.endpoint], "guard", None)
        for rule in unopened.url_map.iter_rules()
        if rule.endpoint != "static"
    }
    assert {rule for rule, guard in guards.items() if guard is None} == set()
    assert len(guards) > 30


@pytest.mark.parametrize("guard", [None, public])
def test_a_route_without_a_guard_does_not_start(
    unopened: Flask, guard: Callable[..., object] | None
) -> None:
    def view() -> str:
        return "open to the world"

    unopened.add_url_rule("/forgotten", view_func=guard(view) if guard else view)
    if guard:
        refuse_unguarded(unopened)
        return
    with pytest.raises(RuntimeError, match="/forgotten"):
        refuse_unguarded(unopened)
