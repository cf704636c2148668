"""What strangers try: other people's sessions, other sites, many passwords, secrets that are none."""

import pytest

from webapp.web.forms import local_path


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "wallet",
        "",
        "/" + "x" * 501,
    ],
)
def test_nobody_is_sent_to_another_site(text: str) -> None:
    assert local_path(text) is None
