"""What units use: the meter with readings of its own, and real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping

from deploy.supervisor.key import Key
from deploy.supervisor.usage import (
    Excess,
    Meter,
    Reading,
    Usage,
    Watched,
    oom_kills,
    read_groups,
    shared_once,
)
from tests.deploy.supervisor.machine import until

A, B = Key("flow", "a"), Key("flow", "b")
MIB = 2**20


class Readings:
    """What the meter is to read next."""

    def __init__(self, readings: Mapping[int, Reading], exact: int | None = None) -> None:
        self.readings = readings
        self.exact = exact

    def read(self, groups: Collection[int]) -> Mapping[int, Reading]:
        return {group: it for group, it in self.readings.items() if group in groups}

    def count(self, pids: Iterable[int]) -> int | None:
        return self.exact

    def meter(self) -> Meter:
        return Meter(self.read, self.count)


def test_cpu_is_a_share_of_one_core_between_looks() -> None:
    """Unknown at first; looks that follow too soon say nothing new; time never goes back."""
    source = Readings({7: Reading(100, 2.0)})
    meter = source.meter()
    running = {A: Watched(7)}
    shares = []
    for now, rss, cpu in [
        (10, 100, 2.0),
        (12, 50, 3.0),
        (12.1, 60, 3.1),
        (14, 50, 7.0),
        (15, 9, 1),
    ]:
        source.readings = {7: Reading(rss, cpu)}
        assert [] == meter.look(running, now)
        usage = meter.usage(A, 7)
        assert usage is not None
        assert (rss, 100) == (usage.rss, usage.peak)
        shares.append(usage.cpu)
    assert [None, 0.5, 0.5, 2.0, 0.0] == shares


def test_a_new_process_begins_anew() -> None:
    """Neither its peak nor its CPU is the old one's; one that has gone has none."""
    source = Readings({7: Reading(100, 2.0), 8: Reading(5, 1.0)})
    meter = source.meter()
    meter.look({A: Watched(7)}, 1)
    assert None is meter.usage(A, 8)
    meter.look({A: Watched(8)}, 3)
    assert Usage(5, None, 5, 1.0) == meter.usage(A, 8)
    meter.look({}, 4)
    assert None is meter.usage(A, 8)


def test_shared_pages_count_once_before_a_unit_is_blamed() -> None:
    """Else the sum counts; a unit without a limit may use what it will."""
    source = Readings({7: Reading(300, 0.0), 8: Reading(900, 0.0)}, exact=90)
    meter = source.meter()
    running = {A: Watched(7, limit=100), B: Watched(8)}
    assert [] == meter.look(running, 1)
    source.exact = 110
    assert [Excess(A, 110, 100)] == meter.look(running, 2)
    source.exact = None
    assert [Excess(A, 300, 100)] == meter.look(running, 3)
    source.readings = {7: Reading(100, 0.0)}
    assert [] == meter.look(running, 4)


def test_a_real_process_group_is_read_with_its_children() -> None:
    """Their memory is summed, what they share is counted once, and used CPU time is found."""
    program = f"""
import os, time
data = bytearray(os.urandom(1)) * {40 * MIB}
end = time.process_time() + 0.2
while time.process_time() < end: pass
os.fork() or time.sleep(1000)
print("up", flush=True)
time.sleep(1000)
"""
    argv = [sys.executable, "-I", "-S", "-c", program]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert b"up\n" == process.stdout.readline()
            until(lambda: len(read_groups({process.pid})[process.pid].pids) == 2, "a fork")
            reading = read_groups({process.pid})[process.pid]
            assert reading.rss > 80 * MIB
            assert 0.15 < reading.cpu
            once = shared_once(reading.pids)
            assert once is not None
            assert 40 * MIB < once < 80 * MIB
        finally:
            os.killpg(process.pid, 9)
    until(lambda: process.pid not in read_groups({process.pid}), "the end of both")
    assert 0 == shared_once([process.pid])
    assert oom_kills() >= 0
