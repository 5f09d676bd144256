"""Addresses as they may be shown and kept: without the passwords in them. Pure; laptop only.

What stands between `://` and `@` goes, name and password: a token often is given as the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOGIN = re.compile(r"(://)[^\s/?#]*@")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def without_logins(text: str) -> str:
    """`text` with every `user:password@` of an address taken out."""
    return _LOGIN.sub(r"\1", text)


def has_login(text: str) -> bool:
    return _LOGIN.search(text) is not None


def logins(texts: Iterable[str]) -> dict[str, str]:
    """Addresses in `texts` that have a login: without it -> as they were written."""
    found = (match[0] for text in texts for match in _ADDRESS.finditer(text))
    return {without_logins(address): address for address in found if has_login(address)}
