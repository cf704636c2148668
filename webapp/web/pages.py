"""What anybody may read, and the way in: events, signing up, in and out.

Promises:

1. The session cookie is HttpOnly, SameSite=Lax, Secure where configured, and new at each sign-in.
2. A refused form comes back with what was typed, except the password, and the status says why.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request, session, url_for

from webapp.domain import catalogue
from webapp.domain.catalogue import Listing, Search
from webapp.domain.errors import EmailTaken, Invalid, NotFound, TooManyAttempts
from webapp.web import guards, inputs, languages, phrases, posters, sessions, shapes
from webapp.web.failures import Rejected
from webapp.web.forms import after_sign_in, faults, page, see_other
from webapp.web.guards import public
from webapp.web.house import house
from webapp.web.languages import N_
from webapp.web.shapes import Showing
from webapp.web.standing import status_of
from webapp.web.throttle import public_address

blueprint = Blueprint("pages", __name__)

EVENTS_PER_PAGE = 20
POSTER_SECONDS = 24 * 3600
AVAILABILITY = {
    "scheduled": "PreOrder",
    "prequeue": "PreOrder",
    "open": "InStock",
    "paused": "InStock",
    "sold_out": "SoldOut",
    "closed": "Discontinued",
}
SEARCH_FAULTS = {
    "q": N_("Please search for at most 100 letters."),
    "since": N_("Please enter a day, such as 2026-12-24."),
    "until": N_("Please enter a day, such as 2026-12-24."),
}
SIGN_UP_FAULTS = {
    "name": N_("Please tell us your name (at most 200 characters)."),
    "email": N_("Please enter an e-mail address, such as name@example.com."),
    "password": N_("The password needs 8 to 200 characters."),
}


@blueprint.before_request
def greet() -> None:
    """Find out who is looking: these pages greet, and require nothing."""
    g.person = guards.find_person()


# -- events -------------------------------------------------------------------------------------


@blueprint.get("/")
@public
def events() -> Response:
    """List the events, all of them or what was searched for."""
    cursor = inputs.query(inputs.PageById).cursor
    given = {name: text for name, text in request.args.items() if text}
    try:
        asked = inputs.form(inputs.EventSearch, given)
    except Invalid as refusal:
        return _events_page([], None, given, refusal)
    search = Search(asked.q, _midnight(asked.since), _midnight(asked.until, days=1))
    found = house().db.read(catalogue.list_events, cursor or 0, EVENTS_PER_PAGE + 1, search)
    more = None
    if len(found) > EVENTS_PER_PAGE:
        after = found[EVENTS_PER_PAGE - 1].id
        more = url_for("pages.events") + "?" + urlencode({**given, "cursor": after})
    return _events_page(found[:EVENTS_PER_PAGE], more, given)


def _events_page(
    found: Sequence[Listing],
    more: str | None,
    given: dict[str, str],
    refusal: Invalid | None = None,
) -> Response:
    return page(
        "catalogue/events.html",
        200 if refusal is None else refusal.status,
        events=[(event, _showings(event)) for event in found],
        more=more,
        asked={name: given.get(name, "") for name in ("q", "since", "until")},
        faults=faults(refusal, SEARCH_FAULTS),
    )


def _midnight(day: date | None, days: int = 0) -> datetime | None:
    """Return when a day begins where the house is, or the day `days` after it."""
    if day is None:
        return None
    return datetime.combine(day, time(), phrases.ZONE) + timedelta(days=days)


@blueprint.get("/events/<slug>")
@public
def event(slug: str) -> Response:
    """Show one event with its performances."""
    found = house().db.read(catalogue.get_event, slug)
    showings = _showings(found)
    return page(
        "catalogue/event.html",
        event=found,
        showings=showings,
        described=_describe(found, showings),
    )


@blueprint.get("/events/<slug>/poster.svg")
@public
def poster(slug: str) -> Response:
    """Show an event's picture."""
    found = house().db.read(catalogue.get_event, slug)
    response = Response(posters.draw(found.slug), mimetype="image/svg+xml")
    response.headers["Cache-Control"] = f"public, max-age={POSTER_SECONDS}"
    return response


def _describe(event: Listing, showings: Sequence[Showing]) -> list[dict[str, Any]]:
    """Describe an event's performances to search engines, in schema.org's words."""
    picture = url_for("pages.poster", slug=event.slug, _external=True)
    place = {"@type": "Place", "name": event.venue, "address": event.address or event.venue}
    return [
        {
            "@context": "https://schema.org",
            "@type": "Event",
            "name": event.title,
            "description": event.description,
            "image": picture,
            "startDate": showing["starts_at"].isoformat(),
            "eventStatus": "https://schema.org/EventScheduled",
            "eventAttendanceMode": "https://schema.org/OfflineEventAttendanceMode",
            "location": place,
            "offers": [
                {
                    "@type": "Offer",
                    "name": level["name"],
                    "price": phrases.enter_money(level["price_minor"], level["currency"]),
                    "priceCurrency": level["currency"],
                    "validFrom": showing["sales_open_at"].isoformat(),
                    "availability": f"https://schema.org/{AVAILABILITY[showing['sale_status']]}",
                    "url": url_for(
                        "sale.performance", performance_id=showing["id"], _external=True
                    ),
                }
                for level in showing["price_levels"]
            ],
        }
        for showing in showings
    ]


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
    # The tickets that this browser kept for the door are nobody else's business.
    response.headers["Clear-Site-Data"] = '"storage"'
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
