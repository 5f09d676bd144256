"""Where nodes are decides what a slow link can bear."""

from __future__ import annotations

from pathlib import Path

from tests.lan.bench import Lan
from tests.lan.slow_link import SlowLink


def test_a_placed_flow_keeps_the_rate_that_first_match_cannot(
    lan: Lan, tmp_path: Path, cache: Path
) -> None:
    """All that the camera sends arrives, over a link of which that would need four times as much;
    with the detector on the first machine that matches, less than half of it does."""
    link = SlowLink(lan, tmp_path, cache)
    try:
        ours = link.placed_by_us(4)
        first = link.placed_by_first_match(4)
    finally:
        link.end()
    assert ("cart", "base") == (ours.detector, first.detector)
    assert ours.sent == ours.arrived
    assert first.arrived < first.sent / 2
