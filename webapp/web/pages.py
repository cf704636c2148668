"""What anybody may read, and the way in: events, signing up, in and out.

Promises:

1. The session cookie is HttpOnly, SameSite=Lax, Secure where configured, and new at each sign-in.
2. A refused form comes back with what was typed, except the password, and the status says why.
"""

from datetime import datetime

from flask import Blueprint, Response, g, request, session, url_for

from webapp.domain import catalogue
from webapp.domain.catalogue import Listing
from webapp.domain.errors import EmailTaken, Invalid, NotFound, TooManyAttempts
from webapp.web import guards, inputs, languages, sessions, shapes
from webapp.web.failures import Rejected
from webapp.web.forms import after_sign_in, faults, page, see_other
from webapp.web.guards import public
from webapp.web.house import house
from webapp.web.shapes import Showing
from webapp.web.standing import status_of
from webapp.web.throttle import public_address

blueprint = Blueprint("pages", __name__)

EVENTS_PER_PAGE = 20
SIGN_UP_FAULTS = {
    "name": "Please tell us your name (at most 200 characters).",
    "email": "Please enter an e-mail address, such as name@example.com.",
    "password": f"The password needs {inputs.PASSWORD_MIN} to {inputs.PASSWORD_MAX} characters.",
}


@blueprint.before_request
def greet() -> None:
    """Find out who is looking: these pages greet, and require nothing."""
    g.person = guards.find_person()


# -- events -------------------------------------------------------------------------------------


@blueprint.get("/")
@public
def events() -> Response:
    """List the events."""
    cursor = inputs.query(inputs.PageById).cursor
    found = house().db.read(catalogue.list_events, cursor or 0, EVENTS_PER_PAGE + 1)
    more = found[EVENTS_PER_PAGE - 1].id if len(found) > EVENTS_PER_PAGE else None
    listed = [(event, _showings(event)) for event in found[:EVENTS_PER_PAGE]]
    return page("catalogue/events.html", events=listed, more=more)


@blueprint.get("/events/<slug>")
@public
def event(slug: str) -> Response:
    """Show one event with its performances."""
    found = house().db.read(catalogue.get_event, slug)
    return page("catalogue/event.html", event=found, showings=_showings(found))


def _showings(event: Listing) -> list[Showing]:
    sales = [house().sales.get(performance_id) for performance_id in event.performance_ids]
    return [shapes.showing(sale, status_of(house(), sale)) for sale in sales]


# -- language -----------------------------------------------------------------------------------


@blueprint.get("/language/<code>")
@public
def choose_language(code: str) -> Response:
    """Remember the visitor's language, and go back to where they were."""
    if code not in languages.LANGUAGES:
        raise NotFound()
    response = see_other(after_sign_in())
    response.set_cookie(
        languages.COOKIE,
        code,
        max_age=languages.COOKIE_SECONDS,
        secure=house().config.cookie_secure,
        samesite="Lax",
    )
    return response


# -- sessions -----------------------------------------------------------------------------------


@blueprint.get("/sign-up")
@public
def sign_up() -> Response:
    """Show the form for a new account."""
    return _signing("account/sign_up.html", None)


@blueprint.post("/sign-up")
@public
def open_account() -> Response:
    """Open an account and sign its owner in."""
    values = {name: request.form.get(name, "") for name in ("name", "email", "password")}
    try:
        new = inputs.form(inputs.SignUp, values)
        address = public_address(request.remote_addr)
        sessions.sign_up(house(), new.email, new.password, new.name, address)
    except (Invalid, EmailTaken, TooManyAttempts) as refusal:
        return _signing("account/sign_up.html", refusal)
    token, expires_at = sessions.sign_in(house(), new.email, new.password, address)
    return _signed_in(token, expires_at)


@blueprint.get("/sign-in")
@public
def sign_in() -> Response:
    """Show the form to sign in; somebody who is signed in goes on at once."""
    if g.person is not None:
        return see_other(after_sign_in())
    return _signing("account/sign_in.html", None)


@blueprint.post("/sign-in")
@public
def open_session() -> Response:
    """Sign in."""
    values = {name: request.form.get(name, "") for name in ("email", "password")}
    try:
        who = inputs.form(inputs.SignIn, values)
        address = public_address(request.remote_addr)
        token, expires_at = sessions.sign_in(house(), who.email, who.password, address)
    except Invalid:
        return _signing("account/sign_in.html", Rejected(401, "bad_credentials"))
    except (Rejected, TooManyAttempts) as refusal:
        return _signing("account/sign_in.html", refusal)
    return _signed_in(token, expires_at)


@blueprint.post("/sign-out")
@public
def sign_out() -> Response:
    """Sign out; a second time changes nothing."""
    token = guards.session_token()
    if token:
        sessions.sign_out(house(), token)
    session.clear()
    response = see_other(url_for("pages.events"))
    response.delete_cookie(guards.COOKIE)
    return response


def _signing(
    template: str, refusal: Invalid | EmailTaken | TooManyAttempts | Rejected | None
) -> Response:
    response = page(
        template,
        200 if refusal is None else refusal.status,
        faults=faults(refusal, SIGN_UP_FAULTS),
        refusal=refusal,
        email=request.form.get("email", ""),
        name=request.form.get("name", ""),
        next=request.values.get("next", ""),
    )
    if isinstance(refusal, TooManyAttempts):
        response.headers["Retry-After"] = str(refusal.facts["retry_after"])
    return response


def _signed_in(token: str, expires_at: datetime) -> Response:
    session.clear()  # what was agreed with a stranger (the CSRF token) ends here
    response = see_other(after_sign_in())
    response.set_cookie(
        guards.COOKIE,
        token,
        expires=expires_at,
        secure=house().config.cookie_secure,
        httponly=True,
        samesite="Lax",
    )
    return response
