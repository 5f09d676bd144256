"""Texts of machines and nodes, without what a terminal would obey. Laptop only."""

from __future__ import annotations

import re

# Colours; other sequences (titles, links, moves of the cursor), whole or cut off; single controls.
_CONTROL = re.compile(
    r"(\x1b\[[0-9;:]*m)"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b(?:\[[0-?]*[ -/]*[@-~]?|.)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_PLAIN = "\x1b[0m"


def harmless(text: str, *, colours: bool = False) -> str:
    """The text, with line ends and tabs. `colours` are kept, and end with the text."""
    if text.isprintable():
        return text
    kept = _CONTROL.sub(lambda found: (found[1] or "") if colours else "", text)
    return kept + _PLAIN if "\x1b" in kept and not kept.endswith(_PLAIN) else kept
