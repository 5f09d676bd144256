"""When compressing pays: by the link, the compressor and what is to be sent."""

from __future__ import annotations

import itertools

import pytest

from deploy.store.packing import Sample, link_rate, pays, take_sample

MBIT = 1_000_000 / 8
CODE = Sample(ratio=0.4, speed=60e6)
WHEELS = Sample(ratio=0.6, speed=40e6)  # libraries, images: half of it does not pack


@pytest.mark.parametrize(
    ("mbit", "sample", "packed"),
    [
        (5, CODE, True),
        (54, CODE, True),
        (54, WHEELS, True),
        (1000, CODE, False),
        (1000, WHEELS, False),
        (10_000, CODE, False),
        (5, Sample(ratio=1.0, speed=100e6), False),  # packed already
        (5, Sample(ratio=0.95, speed=100e6), False),  # hardly worth it
        (54, Sample(ratio=0.4, speed=5e6), False),  # a laptop that packs slower than it sends
    ],
)
def test_slow_links_get_it_packed_and_quick_ones_do_not(
    mbit: float, sample: Sample, packed: bool
) -> None:
    """The slower of packing and sending counts; packing has to save a tenth of the time."""
    assert packed == pays(mbit * MBIT, sample)


def test_the_way_there_and_back_is_not_the_links_rate() -> None:
    """A far link may be quick: what an empty answer takes is taken off."""
    assert 1e6 == pytest.approx(link_rate(250_000, 0.35, answer=0.1))
    assert link_rate(250_000, 0.1, answer=0.1) > 1e9  # nothing is left: as quick as it gets


def test_a_sample_tells_ratio_and_speed() -> None:
    """Of a clock that ticks once a second: as many bytes a second as the sample has."""
    sample = take_sample(b"abcd" * 1000, clock=itertools.count().__next__)
    assert (4000, True) == (sample.speed, sample.ratio < 0.05)
