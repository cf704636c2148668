"""The catalogues, brought up to date: `python -m tests.translations`.

What the source says in `_()`, `gettext()`, `ngettext()`, `N_()` and `nN_()` goes into `translations/<code>.po`, and
so do the titles of refusals, which are the docstrings of `webapp/domain/errors.py`. What is gone from the source
goes from the catalogues. New texts come without a translation; the suite fails until they have one.
"""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from webapp.domain.errors import Refusal
from webapp.web.languages import FOLDER, LANGUAGES, SOURCE

HEADER = "# Translated by hand; `python -m tests.translations` adds and removes texts."
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # dates in the file would change at every run
ROOT = Path(__file__).resolve().parents[1]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None, "nN_": (1, 2)}
OPTIONS = {"jinja2": {"trim_blocks": "true", "lstrip_blocks": "true"}}


def titles(family: type[Refusal] = Refusal) -> Iterator[str]:
    """Yield the titles of all refusals."""
    for refusal in family.__subclasses__():
        yield refusal().title
        yield from titles(refusal)


def source() -> Catalog:
    """Return everything that the source says to people."""
    catalog = Catalog(project="Jari", fuzzy=False)
    for folder, kind in (("webapp", "python"), ("templates", "jinja2")):
        ending = "py" if kind == "python" else "html"
        found = extract_from_dir(
            ROOT / folder,
            method_map=[(f"**.{ending}", kind)],
            options_map={f"**.{ending}": OPTIONS.get(kind, {})},
            keywords=KEYWORDS,
        )
        for name, _line, message, _comments, context in found:
            catalog.add(message, locations=[(f"{folder}/{name}", 0)], context=context)
    for title in titles():
        catalog.add(title, locations=[("webapp/domain/errors.py", 0)])
    return catalog


def read(language: str) -> Catalog:
    """Return a language's catalogue as it is in the checkout."""
    path = FOLDER / f"{language}.po"
    if not path.exists():
        return Catalog(locale=language, project="Jari", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def main() -> None:
    """Bring the catalogues up to date, and say how much is missing."""
    argparse.ArgumentParser(
        prog="python -m tests.translations", description=main.__doc__
    ).parse_args()
    for language in set(LANGUAGES) - {SOURCE}:
        catalog = read(language)
        catalog.update(source(), no_fuzzy_matching=True)
        catalog.obsolete.clear()
        catalog.header_comment = HEADER
        catalog.creation_date = catalog.revision_date = EPOCH
        catalog.last_translator = catalog.language_team = "The Jari authors"
        catalog.version, catalog.msgid_bugs_address = "0", "CHANGELOG.md"
        with (FOLDER / f"{language}.po").open("wb") as file:
            write_po(
                file, catalog, width=100, no_location=True, sort_output=True, omit_header=False
            )
        missing = [message.id for message in catalog if message.id and not message.string]
        print(f"{language}: {len(catalog)} texts, {len(missing)} to translate")


if __name__ == "__main__":
    main()
