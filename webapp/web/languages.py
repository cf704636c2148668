"""Which language a page speaks, and its words in that language.

Promises:

1. What a visitor chose (a cookie) comes first, then what the browser asks for, then English.
2. English is in the source. Every other language is one catalogue, `translations/<code>.po`, read at
   the first use as translators wrote it: nothing is compiled and nothing can be out of step.
3. The JSON API speaks English, whatever the browser prefers: its texts are for developers.

A test finds words that no catalogue has (`tests/test_translations.py`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from flask import Flask, Response, g, has_request_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

FOLDER: Final = Path(__file__).resolve().parent.parent / "translations"
LANGUAGES: Final = {"en": "English", "ko": "한국어"}
SOURCE: Final = "en"
COOKIE: Final = "jari_language"
COOKIE_SECONDS: Final = 365 * 24 * 3600
CHOSEN_BY: Final = ("Accept-Language", "Cookie")  # headers of a request
WISHES_KEPT: Final = 256

_spoken: ContextVar[str | None] = ContextVar("spoken", default=None)


def N_(message: str) -> str:
    """Mark a text that is translated where it is shown."""
    return message


def nN_(one: str, many: str) -> tuple[str, str]:
    """Mark a counted text that is translated where it is shown."""
    return one, many


@cache
def catalogue(language: str) -> NullTranslations:
    """Return a language's words."""
    if language == SOURCE:
        return NullTranslations()
    with (FOLDER / f"{language}.po").open("rb") as file:
        words = read_po(file, locale=language, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, words)
    compiled.seek(0)
    return Translations(compiled)


@cache
def locale_of(language: str) -> Locale:
    """Return what Babel knows of a language."""
    return Locale.parse(language)


def language() -> str:
    """Return the code of the language that this request is answered in."""
    if (spoken := _spoken.get()) is not None:
        return spoken
    if not has_request_context():
        return SOURCE
    if "language" not in g:
        g.language = _choose()
    return str(g.language)


def _choose() -> str:
    if request.path.startswith("/api/"):
        return SOURCE
    return choose(request.cookies, request.headers.get("Accept-Language", ""))


def choose(cookies: Mapping[str, str], accepted: str) -> str:
    """Return the language of a visitor with these cookies, whose browser accepts these."""
    chosen = cookies.get(COOKIE, "")
    return chosen if chosen in LANGUAGES else _best(accepted)


@lru_cache(maxsize=WISHES_KEPT)
def _best(accepted: str) -> str:
    wishes = parse_accept_header(accepted, LanguageAccept)
    return wishes.best_match(list(LANGUAGES), SOURCE) or SOURCE


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Say what is said meanwhile in this language: ahead of Flask there is no request to ask."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def gettext(message: str, **values: Any) -> str:
    """Say something in the language of the request; `values` fill its %(name)s."""
    text = catalogue(language()).gettext(message) if message else ""
    return text % values if values else text


def ngettext(one: str, many: str, number: int, **values: Any) -> str:
    """Say something about a number of things; the number itself is %(num)s."""
    text = catalogue(language()).ngettext(one, many, number)
    return text % {"num": f"{number:,}", **values}


def install(app: Flask) -> None:
    """Give templates their words, and answers the headers that say which they are."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # the extension adds it
        gettext, _template_ngettext, newstyle=True
    )
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    app.add_template_global(language)
    app.jinja_env.globals.update(LANGUAGES=LANGUAGES)

    @app.after_request
    def _say_which(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.headers["Content-Language"] = language()
            response.vary.update(CHOSEN_BY)
        return response


def _template_ngettext(one: str, many: str, number: int) -> str:
    """Say it as gettext does: Jinja fills in the values itself, `num` being the number."""
    return catalogue(language()).ngettext(one, many, number)
