"""Passwords in addresses are not shown and not kept."""

from __future__ import annotations

import pytest

from deploy.addresses import has_login, logins, without_logins
from deploy.document import shown


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:s3cret@example.org/simple", "https://example.org/simple"),
        (
            "x @ https://t0ken@example.org/x.whl ; os_name",
            "x @ https://example.org/x.whl ; os_name",
        ),
        ("git+ssh://git:pw@host/x @ http://a:b@c:8080", "git+ssh://host/x @ http://c:8080"),
        ("http://me:p@ss@host/x", "http://host/x"),
        ("https://example.org:8443/x?mail=a@b", "https://example.org:8443/x?mail=a@b"),
        ("numpy>=2, me@example.org", "numpy>=2, me@example.org"),
    ],
)
def test_logins_are_taken_out_of_any_text(text: str, safe: str) -> None:
    """Names too: a token often is given as one."""
    assert safe == without_logins(text)
    assert has_login(text) == (text != safe)


def test_addresses_find_back_to_their_logins() -> None:
    """For the one program that needs them."""
    found = logins(["x @ https://me:pw@h/x.whl ; os_name", "y @ https://h/y.whl", "numpy"])
    assert {"https://h/x.whl": "https://me:pw@h/x.whl"} == found


def test_a_message_about_a_file_shows_no_password() -> None:
    """Also where the text is cut short."""
    assert "s3cret" not in shown("https://me:s3cret@example.org/" + "x" * 60)
    assert "s3cret" not in shown("https://" + "m" * 40 + ":s3cret" * 5 + "@example.org/")
