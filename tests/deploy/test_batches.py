"""Deployments in batches: who is switched together follows from the plan and a number."""

from __future__ import annotations

import pytest

from deploy.batches import Serial, batches
from deploy.plan import Change, MachinePlan


def row(name: str, action: str = "restart") -> MachinePlan:
    return MachinePlan(name, None, None, (Change("a", action),))  # type: ignore[arg-type]


def names(serial: str | None, *rows: MachinePlan) -> list[list[str]]:
    found = batches(rows, None if serial is None else Serial.parse(serial))
    return [[it.machine for it in batch] for batch in found]


ROWS = [row(name) for name in "abcde"]


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        (None, [["a", "b", "c", "d", "e"]]),
        ("2", [["a", "b"], ["c", "d"], ["e"]]),
        ("9", [["a", "b", "c", "d", "e"]]),
        ("50%", [["a", "b"], ["c", "d"], ["e"]]),
        ("1%", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("100%", [["a", "b", "c", "d", "e"]]),
    ],
)
def test_machines_are_cut_in_their_order(serial: str | None, expected: list[list[str]]) -> None:
    """A part is rounded down, to one at least; the last batch has what is left."""
    assert expected == names(serial, *ROWS)


def test_machines_without_a_change_take_nobodys_place() -> None:
    """They get new documents alone, with the last batch."""
    still = [row("x", "keep"), row("y", "keep")]
    assert [["a"], ["b", "x", "y"]] == names("1", still[0], ROWS[0], still[1], ROWS[1])
    assert [["x", "y"]] == names("1", *still)
    assert [] == names("1")
    assert [] == names(None)


@pytest.mark.parametrize("text", ["0", "-1", "", "25 %", "101%", "0%", "1.5", "ten", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Before anything is connected to."""
    with pytest.raises(ValueError, match="neither a number of machines nor a part"):
        Serial.parse(text)
