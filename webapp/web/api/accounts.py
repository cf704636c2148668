"""Accounts, sessions and wallets."""

from flask import Response, request

from webapp.domain import wallet
from webapp.domain.errors import Invalid
from webapp.web import actions, inputs, sessions, shapes
from webapp.web.api.replies import keyed, paged, reply, reply_kept
from webapp.web.guards import person, session_token
from webapp.web.house import house
from webapp.web.throttle import public_address


def create_account() -> Response:
    """Open a customer's account."""
    new = inputs.body(inputs.SignUp)
    opened = sessions.sign_up(
        house(), new.email, new.password, new.name, public_address(request.remote_addr)
    )
    body: shapes.Account = {"id": opened.id, "email": opened.email, "name": opened.name}
    return reply(body, 201)


def create_session() -> Response:
    """Sign in."""
    given = inputs.body(inputs.SignIn)
    token, expires_at = sessions.sign_in(
        house(), given.email, given.password, public_address(request.remote_addr)
    )
    body: shapes.Session = {"session_token": token, "expires_at": expires_at}
    return reply(body, 201)


def end_session() -> Response:
    """Sign out."""
    sessions.sign_out(house(), session_token() or "")
    return Response(status=204)


def get_wallet() -> Response:
    """Show the wallet."""
    return reply(shapes.wallet(house().db.lookup(wallet.get, person().id)))


def list_wallet_entries() -> Response:
    """List the wallet's movements, newest first."""
    page = inputs.query(inputs.PageByUuid)
    found = house().db.lookup(wallet.list_movements, person().id, page.cursor, page.limit + 1)
    return paged(found, page.limit, lambda entry: entry.id, shapes.movement)


def top_up() -> Response:
    """Put money into the wallet, where self-service is open."""
    amount_minor = inputs.body(inputs.TopUp).amount_minor
    limit = house().config.top_up_max_minor
    if amount_minor > limit:
        fault = {"pointer": "/amount_minor", "detail": f"must be at most {limit}"}
        raise Invalid(errors=[fault])
    return reply_kept(actions.top_up(house(), keyed(), amount_minor))
