"""A browser without scripts, for Flask's client: it reads pages and sends the forms it finds there."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.builders import Customer
from webapp.web.guards import COOKIE
from webapp.web.house import House

SILENT = ("submit", "button")


@dataclass
class Form:
    """A form as it would be sent if somebody pressed its button now."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self._select: str | None = None
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "h1":
            self._in_heading = True
            self.headings.append("")
        elif tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif tag == "select":
            self._select = given["name"]
            self.forms[-1].choices[self._select] = []
        elif tag == "option" and self._select:
            self.forms[-1].choices[self._select].append(given["value"])
            if "selected" in given:
                self.forms[-1].fields.append((self._select, given["value"]))
        elif tag == "input" and given.get("type") == "checkbox":
            self._read_checkbox(given)
        elif tag == "input" and given.get("type") not in SILENT:
            self.forms[-1].fields.append((given["name"], given.get("value", "")))

    def _read_checkbox(self, given: dict[str, str]) -> None:
        if "disabled" in given:
            return
        self.forms[-1].choices.setdefault(given["name"], []).append(given["value"])
        if "checked" in given:
            self.forms[-1].fields.append((given["name"], given["value"]))

    def handle_endtag(self, tag: str) -> None:
        self._in_heading &= tag != "h1"
        if tag == "select" and self._select:
            form = self.forms[-1]
            if self._select not in dict(form.fields):
                form.fields.append((self._select, form.choices[self._select][0]))
            self._select = None

    def handle_data(self, data: str) -> None:
        self.words += data.split()
        if self._in_heading:
            self.headings[-1] += data


class Page:
    """What came back."""

    def __init__(self, response: TestResponse) -> None:
        self.response = response
        self.status = response.status_code
        self.location = response.headers.get("Location")
        self.text = response.text
        reader = _Reader()
        reader.feed(self.text)
        self.words = " ".join(reader.words)
        self.forms = reader.forms
        self.heading = " ".join(" ".join(reader.headings).split())

    def form(self, end: str) -> Form:
        """Return the form whose action ends so ("" finds one that is sent to its own page)."""
        found = [f for f in self.forms if f.action.endswith(end) and (end or not f.action)]
        assert found, f"no form to …{end} among {[form.action for form in self.forms]}"
        return found[-1]


class Surfer:
    """Somebody with a browser, who does nothing within a second: no snapshot is that old."""

    def __init__(self, app: Flask, customer: Customer | None = None) -> None:
        self.client: FlaskClient = app.test_client()
        self._house: House = app.extensions["jari"]
        if customer is not None:
            self.client.set_cookie(COOKIE, customer.session)

    def get(self, path: str, status: int = 200) -> Page:
        """Open an address; be told where to go (303) without going there."""
        self._wait_a_second()
        page = Page(self.client.get(path))
        assert page.status == status, (page.status, path, page.location or page.text)
        return page

    def send(
        self, on: str | Page, end: str, status: int = 303, **changes: str | list[str] | None
    ) -> Page:
        """Open an address (unless given the page), fill its form to …`end`, and send it.

        A list gives a name several values; None leaves it out.
        """
        page = self.get(on) if isinstance(on, str) else on
        form = page.form(end)
        data = [(name, value) for name, value in form.fields if name not in changes]
        for name, value in changes.items():
            values = [] if value is None else [value] if isinstance(value, str) else value
            data += [(name, one) for one in values]
        path = form.action or page.response.request.path
        self._wait_a_second()
        sent = Page(self.client.post(path, data=_multi(data)))
        assert sent.status == status, (sent.status, path, sent.location or sent.text)
        return sent

    def follow(self, page: Page) -> Page:
        """Go where a form's answer leads."""
        assert page.location is not None
        return self.get(page.location)

    def _wait_a_second(self) -> None:
        for snapshots in (self._house.sales, self._house.availability, self._house.rooms):
            snapshots.forget()


def _multi(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    data: dict[str, list[str]] = {}
    for name, value in pairs:
        data.setdefault(name, []).append(value)
    return data
