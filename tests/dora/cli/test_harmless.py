"""What machines and nodes say, on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from dora.cli.console import SafeConsole
from dora.cli.harmless import harmless


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("wheels at 3.2 m/s, ärger, 轮", "wheels at 3.2 m/s, ärger, 轮"),
        ("two\n\tlines", "two\n\tlines"),
        ("\x1b]0;root@laptop\x07title", "title"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;never ended", ""),
        ("over\x1b[2J\x1b[1;1Hwritten", "overwritten"),
        ("10 %\r20 %\x08\x07", "10 %20 %"),
        ("\x9b31mone byte\x85", "31mone byte"),
        ("\x1bcreset\x1b", "reset"),
    ],
)
def test_nothing_is_left_that_a_terminal_obeys(said: str, shown: str) -> None:
    """Titles, links, the clipboard, moves of the cursor; whole or cut off."""
    assert shown == harmless(said)
    assert shown == harmless(said, colours=True)


def test_colours_end_with_their_line() -> None:
    """They are kept only where they are asked for."""
    assert "red" == harmless("\x1b[31mred")
    assert "\x1b[31mred\x1b[0m" == harmless("\x1b[31mred", colours=True)
    assert "\x1b[31mred\x1b[0m" == harmless("\x1b[31mred\x1b[0m", colours=True)


def test_cells_of_tables_are_harmless_too() -> None:
    """And our own colours stay."""
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, highlight=False)
    table = Table(box=None)
    table.add_column("why")
    table.add_row("gone\x1b[2J: [red]no route[/red]")
    console.print(table)
    assert "gone: \x1b[31mno route\x1b[0m" in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()
