"""What the README says is what there is: every setting with its default, every command, every link."""

import re
from pathlib import Path

import pytest

from webapp.commands import COMMANDS
from webapp.config import Config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for, with which default."""

    def __init__(self) -> None:
        super().__init__(SECRET_KEY="0123456789abcdef" * 2)
        self.defaults: dict[str, str] = {}

    def get(self, name: str, default: str | None = None) -> str | None:
        self.defaults[name] = default or ""
        return super().get(name, default)


def rows(heading: str) -> dict[str, str]:
    """Return the first two columns of the table below a heading."""
    section = README.split(f"### {heading}\n")[1].split("\n#")[0]
    found = re.findall(r"^\| `([^`]+)` \|([^|]*)\|", section, re.MULTILINE)
    return {name: second.strip(" `") for name, second in found}


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    asked = Asked()
    Config.from_env(asked)
    server = (ROOT / "gunicorn.conf.py").read_text()
    pattern = r"""environ\.get\(["'](\w+)["'](?:, ["']([^"']*)["'])?\)"""
    assert rows("Configuration") == asked.defaults | dict(re.findall(pattern, server))


def test_every_command_is_in_the_readme() -> None:
    assert set(rows("Commands")) == {command.name for command in COMMANDS}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))))
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_in_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
