"""What is said of nodes that move, and of those that cannot."""

from __future__ import annotations

from dora.coordinator.moves import moved, noted, staying


def test_what_moved_is_noted_with_why() -> None:
    """One that is new has not moved."""
    moves = moved({"a": "rover", "b": "rover"}, {"a": "base", "b": "rover", "c": "base"})
    assert "a rover -> base" == moves
    assert "moved a rover -> base; it is lost" == noted(moves, ["it is lost"])
    assert "it is back" == noted("", ["it is back"])
    assert "" == noted("", [])


def test_who_stays_is_told_with_all_that_was_tried() -> None:
    """Each machine with its reason."""
    bars = {"a": {"rover": "lost", "base": "exited with code 1"}, "b": {"rover": "lost"}}
    assert (
        "a stays on rover (lost): no other machine will do; not base (exited with code 1)",
    ) == staying({"a": "rover", "b": "base", "c": "rover"}, bars)
