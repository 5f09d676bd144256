"""The interruption test in short; `python -m tests.interruptions` goes on for as long as wanted."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.interruptions.moments import Command, Phase, Sight, in_different_phases, phase_of
from tests.interruptions.report import table
from tests.interruptions.robot import Disk
from tests.interruptions.soak import NAMES, Soak
from tests.lan.bench import Lan

ROUNDS = 5


@pytest.mark.timeout(600)
def test_whatever_dies_in_whatever_phase_the_next_deploy_mends_it(tmp_path: Path) -> None:
    """Promise 3, in random phases: old or new generation, nothing twice, nothing left behind."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")  # pytest shows it when the test fails
    chance = random.Random(seed)
    with Lan(len(NAMES)) as lan:
        soak = Soak(lan, tmp_path, chance)
        soak.begin()
        for moment in in_different_phases(chance, len(NAMES), ROUNDS):
            print(moment)
            try:
                print("hit", soak.round(moment).value)
            except AssertionError:
                print(soak.said, soak.state(), sep="\n")
                raise
    print(table(soak.findings))


def disk(**changes: int | bool | None) -> Disk:
    calm = {"current": 4, "booted": 4, "pending": None, "newest": 4}
    return Disk(**{**calm, "generations": 4, "trees": 9, "scratch": False, **changes})  # type: ignore[arg-type]


ACTIVATED = "base: generation 5: 1 restarted, 2 kept\n"
RUNNING = "base: count running, pid 7\n" * 3


@pytest.mark.parametrize(
    ("now", "said", "phase"),
    [
        (disk(), "", Phase.CONNECT),
        (disk(scratch=True), "", Phase.COPY),
        (disk(trees=10), "base: copied 1 KB\n", Phase.COPY),
        (disk(pending=5), "", Phase.SWITCH),
        (disk(current=5, pending=5, newest=5), "", Phase.SWITCH),
        (disk(current=5, pending=5, newest=5), ACTIVATED, Phase.PROVE),
        (disk(current=5, pending=5, newest=5), ACTIVATED + RUNNING, Phase.CONFIRM),
        (disk(current=5, booted=5, newest=5), ACTIVATED, Phase.CONFIRM),
        (disk(newest=5), ACTIVATED + "base: count failed: exited with code 1\n", Phase.BACK),
    ],
)
def test_a_phase_is_told_by_what_can_be_seen(now: Disk, said: str, phase: Phase) -> None:
    """The table of the long test counts what was really hit."""
    assert phase == phase_of(Command.DEPLOY, (disk(),), Sight((now,), said))
