"""When to strike and whom: the phases of a command, told by what can be seen of it. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from tests.interruptions.robot import Disk


class Phase(str, Enum):  # noqa: UP042 (formats as its value)
    CONNECT = "connect"  # and place, build, plan
    COPY = "copy"
    SWITCH = "switch"  # the first robot has begun, not all have done so
    PROVE = "prove"
    CONFIRM = "confirm"  # all units were ready; up to the end of the command
    BACK = "go back"  # some unit is not healthy
    GC = "gc"
    AFTER = "after"  # nothing was under way any more


class Command(str, Enum):  # noqa: UP042
    DEPLOY = "deploy"
    BROKEN = "deploy of a broken node"
    ROLLBACK = "rollback"
    GC = "gc"


class Victim(str, Enum):  # noqa: UP042
    SUPERVISOR = "supervisor"
    COORDINATOR = "coordinator"
    CONNECTION = "connection"
    STORE = "store process"  # what the laptop copies to, and which collects
    DISK = "disk"


PHASES: Mapping[Command, tuple[Phase, ...]] = {
    Command.DEPLOY: (Phase.CONNECT, Phase.COPY, Phase.SWITCH, Phase.PROVE, Phase.CONFIRM),
    Command.BROKEN: (Phase.BACK, Phase.SWITCH),
    Command.ROLLBACK: (Phase.SWITCH, Phase.PROVE, Phase.CONFIRM),
    Command.GC: (Phase.GC,),
}
# The others are phases of several commands.
OFTEN = (Phase.CONNECT, Phase.COPY, Phase.BACK, Phase.GC)
DELAYS = {  # seconds, at most, after the phase was seen to begin
    Phase.CONNECT: 0.9,
    Phase.COPY: 0.4,
    Phase.SWITCH: 0.02,
    Phase.PROVE: 1.0,
    Phase.CONFIRM: 1.4,
    Phase.BACK: 0.4,
    Phase.GC: 0.05,
}
LEFT = (0, 0, 4096, 20_000, 200_000, 3_000_000)  # bytes that a filled disk has left


@dataclass(frozen=True)
class Moment:
    """What is to be interrupted: `command`, `delay` seconds after `phase` was seen to begin."""

    command: Command
    phase: Phase
    victim: Victim
    robot: int  # whose, but for the coordinator
    delay: float
    left: int = 0  # bytes of a disk
    everything: bool = False  # all connections of the robot at once, not one
    wait: bool = False  # until a trial is over by itself, before the next deploy
    first: bool = False  # nothing ran before

    def __str__(self) -> str:
        what = f"first {self.command.value}" if self.first else self.command.value
        return f"{what}: {self.victim.value} {self.delay:.3f} s into {self.phase.value}"


def moments(chance: random.Random, robots: int) -> Iterator[Moment]:
    """For ever; every combination of command, phase and victim before one comes again."""
    combinations = [
        (command, phase, victim)
        for command, phases in PHASES.items()
        for phase in phases
        for victim in Victim
        for _ in range(2 if phase in OFTEN else 1)
        if victim is not Victim.STORE or phase in (Phase.COPY, Phase.GC)
    ]
    while True:
        chance.shuffle(combinations)
        for (command, phase, victim), number in zip(
            combinations, itertools.count(chance.randrange(robots)), strict=False
        ):
            yield Moment(
                command,
                phase,
                victim,
                robot=number % robots,
                delay=chance.random() * chance.random() * DELAYS[phase],
                left=chance.choice(LEFT),
                everything=chance.random() < 0.5,
                wait=chance.random() < 0.3,
                first=command in (Command.DEPLOY, Command.BROKEN) and chance.random() < 0.1,
            )


def in_different_phases(chance: random.Random, robots: int, count: int) -> list[Moment]:
    """A short choice of at most as many as there are phases; no trial is waited for."""
    found: dict[Phase, Moment] = {}
    for moment in moments(chance, robots):
        found.setdefault(moment.phase, replace(moment, wait=False, first=False))
        if len(found) == count:
            break
    return list(found.values())


@dataclass(frozen=True)
class Sight:
    """What can be seen of a running command: the robots' disks, and what it said so far."""

    disks: tuple[Disk, ...]
    said: str  # on stderr
    ended: bool = False


def phase_of(command: Command, before: tuple[Disk, ...], now: Sight) -> Phase:
    """How far the command is; the latest phase of which there is a sign."""
    if now.ended:
        return Phase.AFTER
    pairs = list(zip(before, now.disks, strict=True))
    if command is Command.GC:
        busy = any(
            it.scratch or it.trees < was.trees or it.generations < was.generations
            for was, it in pairs
        )
        return Phase.GC if busy else Phase.CONNECT
    switched = [it for was, it in pairs if it.newest > was.newest]
    lines = now.said.splitlines()
    if " failed:" in now.said or "rolled back" in now.said:
        return Phase.BACK
    if any(it.booted == it.newest for it in switched):
        return Phase.CONFIRM
    activated = sum(": generation " in line for line in lines)
    if activated and activated >= len(switched):
        starting = sum(_count(line) for line in lines if ": generation " in line)
        running = sum(" running, pid " in line for line in lines)
        return Phase.CONFIRM if running >= starting else Phase.PROVE
    if switched or any(it.pending is not None and it.pending != was.pending for was, it in pairs):
        return Phase.SWITCH
    if "copied " in now.said or any(it.scratch or it.trees > was.trees for was, it in pairs):
        return Phase.COPY
    return Phase.CONNECT


def _count(line: str) -> int:
    """Units of `generation 3: 1 started, 2 restarted, 1 kept`, all of which will be seen to run."""
    parts = line.rpartition(": ")[2].split(", ")
    return sum(
        int(part.split()[0]) for part in parts if part[0].isdigit() and "stopped" not in part
    )
