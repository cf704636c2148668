"""A browser without scripts, for Flask's client: it reads pages and sends the forms it finds there."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.builders import Customer
from webapp.web.guards import COOKIE
from webapp.web.house import House

Values = str | list[str] | None


@dataclass
class Form:
    """A form as it would be sent if somebody pressed its button now."""

    action: str
    method: str
    hidden: bool = False  # waits for a script, so nobody here can send it
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
            action, method = given.get("action", ""), given.get("method", "get")
            self.forms.append(Form(action, method, "hidden" in given))
        elif tag == "select":
            self._select = given["name"]
            self.forms[-1].choices[self._select] = []
        elif tag == "option" and self._select:
            self.forms[-1].choices[self._select].append(given["value"])
            if "selected" in given:
                self.forms[-1].fields.append((self._select, given["value"]))
        elif tag == "input" and given.get("type") in ("checkbox", "radio"):
            self._read_checkbox(given)
        elif tag == "input":
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
        self.forms = [form for form in reader.forms if not form.hidden]
        self.heading = " ".join(" ".join(reader.headings).split())

    def form(self, end: str, which: int = -1) -> Form:
        """Return the last form whose action ends so ("" finds one that is sent to its own page)."""
        found = [f for f in self.forms if f.action.endswith(end) and (end or not f.action)]
        assert found, f"no form to …{end} among {[form.action for form in self.forms]}"
        return found[which]


class Surfer:
    """Somebody with a browser, who takes their time: no snapshot is that old, and no look too soon."""

    def __init__(self, app: Flask, customer: Customer | None = None) -> None:
        self.client: FlaskClient = app.test_client()
        self._house: House = app.extensions["jari"]
        if customer is not None:
            self.client.set_cookie(COOKIE, customer.session)

    def get(self, path: str, status: int = 200) -> Page:
        """Open an address; be told where to go (303) without going there."""
        self._wait_a_while()
        return self.look(path, status)

    def look(self, path: str, status: int = 200) -> Page:
        """Open an address at once, so that snapshots may answer, and it may be too soon."""
        return _expect(status, path, self.client.get(path))

    def follow(self, page: Page, status: int = 200) -> Page:
        """Go where an answer leads."""
        assert page.location is not None
        return self.get(page.location, status)

    def send(
        self, on: str | Page, end: str, status: int = 303, which: int = -1, **changes: Values
    ) -> Page:
        """Open an address (unless given the page), fill its form to …`end`, and send it.

        A list gives a name several values; None leaves it out.
        """
        page = self.get(on) if isinstance(on, str) else on
        form = page.form(end, which)
        data: dict[str, list[str]] = {}
        for name, value in form.fields:
            data.setdefault(name, []).append(value)
        for name, values in changes.items():
            data[name] = [values] if isinstance(values, str) else values or []
        return self._post(form.action or page.response.request.path, data, status)

    def post(self, path: str, status: int = 303, **values: str) -> Page:
        """Send what no page offers, with a valid token."""
        token = dict(self.get("/wallet").form("/sign-out").fields)["csrf_token"]
        return self._post(path, {"csrf_token": token, **values}, status)

    def _post(self, path: str, data: dict[str, Any], status: int) -> Page:
        self._wait_a_while()
        return _expect(status, path, self.client.post(path, data=data))

    def _wait_a_while(self) -> None:
        for snapshots in (self._house.sales, self._house.availability, self._house.rooms):
            snapshots.forget()
        self._house.pacing._not_before.clear()


def _expect(status: int, path: str, response: TestResponse) -> Page:
    page = Page(response)
    assert page.status == status, (page.status, path, page.location or page.words[:500])
    return page
