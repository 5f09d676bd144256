"""How long to wait before a lost machine is tried again."""

from __future__ import annotations

from itertools import islice

from dora.coordinator.watch import pauses


def test_pauses_double_up_to_a_limit() -> None:
    """With no luck in the draw, each is twice the one before."""
    assert [0.5, 1.0, 2.0, 4.0, 4.0] == list(islice(pauses(0.5, 4.0, jitter=lambda: 1.0), 5))


def test_half_of_a_pause_is_random() -> None:
    """So that many laptops, or many machines, are not tried at the same moment."""
    assert [0.25, 0.5, 1.0] == list(islice(pauses(0.5, 4.0, jitter=lambda: 0.0), 3))
    assert [0.375, 0.75] == list(islice(pauses(0.5, 4.0, jitter=lambda: 0.5), 2))
