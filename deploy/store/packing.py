"""Whether it pays to compress what is sent: decided by what was measured. Laptop only.

Pure, but for the sample that is packed. A robot on slow Wi-Fi waits for the link, one on a cable
waits for the compressor.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

LEVEL = 1  # of zlib: higher ones cost more than they save
WORTH = 0.9  # of the time; what is saved beyond that may as well be a mistake of measuring

# What a measurement sends, once so that the link is awake, and once with an eye on the clock; and
# how much has to follow for it to be worth that.
WARM_UP = 64 * 1024
MEASURED = 256 * 1024
LARGE = 4_000_000  # bytes


@dataclass(frozen=True)
class Sample:
    """How a sample was packed: `ratio` is packed by plain bytes, `speed` plain bytes a second."""

    ratio: float
    speed: float


def pays(link: float, sample: Sample) -> bool:
    """Whether sending takes less time packed. `link` is in bytes a second. Packing and sending go
    on at once, so that the slower of both counts."""
    packed = max(sample.ratio / link, 1 / sample.speed)
    return packed < WORTH / link


def link_rate(size: int, seconds: float, answer: float) -> float:
    """Bytes a second of a link on which `size` bytes were acknowledged after `seconds`, where
    nothing at all is after `answer` seconds."""
    return size / max(seconds - answer, 1e-6)


def take_sample(data: bytes, clock: Callable[[], float] = time.perf_counter) -> Sample:
    """Packs `data`, which must not be empty."""
    began = clock()
    packed = zlib.compress(data, LEVEL)
    return Sample(len(packed) / len(data), len(data) / max(clock() - began, 1e-9))
