"""How messages about files quote values and suggest others. Laptop only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from deploy.addresses import without_logins


def suggest(word: object, choices: Iterable[str]) -> str | None:
    """`did you mean 'x'?` for the choice nearest to `word`, None if none is near."""
    near = difflib.get_close_matches(str(word), sorted(choices), n=1, cutoff=0.6)
    return f"did you mean {shown(near[0])}?" if near else None


def shown(value: object) -> str:
    """`value` as a message quotes it: short, in YAML's words, without passwords of addresses."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value = without_logins(value)
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return "a list"
    return str(value)
