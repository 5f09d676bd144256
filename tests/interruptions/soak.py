"""One round after another: a command is interrupted, looked at, and the next deploy mends it."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interruptions import judge
from tests.interruptions.moments import Command, Moment, Phase, Sight, Victim, phase_of
from tests.interruptions.project import Project
from tests.interruptions.robot import Disk, Robot
from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet

NAMES = ("base", "rover")
# A short path, and one that is too long for sockets: then they are in /tmp.
ROOTS = ("/home/robot/.local/share/dora", "/home/robot/robots-with-long-names/and-folders/dora")
TRIAL = "10"  # seconds
PATIENCE = 180.0  # seconds that an interrupted command may take to its end
ORDER = list(Phase)


@dataclass
class Findings:
    """What the rounds hit: (command, phase, victim) -> rounds; and how the commands ended."""

    hits: Counter[tuple[Command, Phase, Victim]] = field(default_factory=Counter)
    ends: Counter[tuple[Victim, int]] = field(default_factory=Counter)
    rounds: int = 0
    trials: int = 0  # that were seen to their end
    collections: int = 0


class Soak:
    """Two robots in network namespaces, behind real OpenSSH. `work` is an empty folder; `disks`
    are block devices for the robots' stores, which are in memory else."""

    def __init__(
        self, lan: Lan, work: Path, chance: random.Random, disks: Sequence[Path] = ()
    ) -> None:
        self._chance = chance
        self._work = work
        inventory = work / "machines.yml"
        text = lan.inventory_text(user="robot")
        for number, (name, root) in enumerate(zip(NAMES, ROOTS, strict=True), 1):
            text = text.replace(f"robot{number}:\n", f"{name}:\n    store: {root}\n")
        inventory.write_text(text)
        self.fleet = Fleet(lan.home, inventory, cache=work / "cache")
        self.project = Project(work, NAMES, chance)
        self.robots = [
            Robot(lan, number, name, root, self.project.name, disk)
            for number, (name, root, disk) in enumerate(
                zip(NAMES, ROOTS, disks or (None, None), strict=True), 1
            )
        ]
        self.findings = Findings()
        self.said = ""  # by the interrupted command, for whoever looks into a failure

    def begin(self) -> None:
        """Two versions are deployed, so that there is something to go back to."""
        for _ in range(2):
            self.fleet.deploy(self.project.change())

    def round(self, moment: Moment) -> Phase:
        """Strikes at `moment`, and checks everything. Raises AssertionError; the phase hit."""
        self.said = ""
        if moment.first:
            self.fleet.dora("stop", self.project.name)
        before = self._disks()
        units = [robot.units() for robot in self.robots]
        phase, code, result = self._interrupted(moment, before)
        self._count(moment, phase, code)

        for robot, was in zip(self.robots, before, strict=True):
            judge.old_or_new(robot, was)
        if result is not None:
            judge.told_the_truth(result, self.robots, before)
        if moment.victim is Victim.DISK:
            self._on_a_full_disk(self.robots[moment.robot])
        self._come_to_rest(moment)
        for robot in self.robots:
            judge.sound(robot)
        if self._chance.random() < 0.1:
            self.fleet.dora("store", "verify")

        self._mend()
        for robot, were in zip(self.robots, units, strict=True):
            judge.same_processes(were, robot.units())
        if moment.command is Command.GC or self._chance.random() < 0.2:
            self._collect()
        return phase

    def state(self) -> str:
        """All that may explain a failure."""
        parts = []
        for robot in self.robots:
            parts.append(f"{robot.name}: {robot.disk()}")
            parts += [f"  {task.pid} {task.unit or task.command[-150:]}" for task in robot.tasks()]
            parts.append(robot.supervisor_log())
        return "\n".join(parts)

    # the interruption

    def _interrupted(
        self, moment: Moment, before: tuple[Disk, ...]
    ) -> tuple[Phase, int, dict[str, Any] | None]:
        """What phase was hit, how the command ended, and what it said on stdout."""
        files = [self._work / "stdout", self._work / "stderr"]
        with files[0].open("w") as out, files[1].open("w") as complaints:
            command = subprocess.Popen(
                self.fleet.command(*self._arguments(moment)),
                env=self.fleet.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=complaints,
            )
        try:
            phase = self._strike(moment, before, command, files[1])
            code = command.wait(PATIENCE)
        finally:
            command.kill()
            command.wait()
            self.said = files[1].read_text()
        assert "Traceback" not in self.said, self.said
        assert code in (0, 1, 4, 5, 6, -9), (code, self.said)
        text = files[0].read_text()
        told = code in (0, 1, 5, 6) and moment.command is not Command.GC and text
        return phase, code, json.loads(text) if told else None

    def _arguments(self, moment: Moment) -> list[str | Path]:
        if moment.command is Command.GC:
            return ["gc", "--keep", "1", "--json"]
        options = ["--json", "--confirm-timeout", TRIAL]
        if moment.command is Command.ROLLBACK:
            return ["rollback", self.project.name, *options]
        flow = self.project.change(broken=moment.command is Command.BROKEN)
        return ["deploy", flow, "--detach", *options]

    def _strike(
        self,
        moment: Moment,
        before: tuple[Disk, ...],
        command: subprocess.Popen[bytes],
        stderr: Path,
    ) -> Phase:
        def phase() -> Phase:
            ended = command.poll() is not None
            sight = Sight(self._disks(), stderr.read_text(errors="replace"), ended)
            return phase_of(moment.command, before, sight)

        while ORDER.index(phase()) < ORDER.index(moment.phase):
            time.sleep(0.002)
        time.sleep(moment.delay)
        hit = phase()
        robot = self.robots[moment.robot]
        match moment.victim:
            case Victim.COORDINATOR:
                command.kill()
            case Victim.DISK:
                robot.fill(moment.left)
            case Victim.SUPERVISOR:
                self._kill_supervisor(robot)
            case Victim.STORE:
                for task in robot.tasks():
                    if task.serves_a_store:
                        robot.kill(task)
            case Victim.CONNECTION:
                sessions = [task for task in robot.tasks() if task.serves_ssh]
                for task in sessions if moment.everything else self._some(sessions):
                    robot.kill(task)
        return hit

    @staticmethod
    def _kill_supervisor(robot: Robot) -> None:
        for task in robot.tasks():
            if task.is_supervisor:
                robot.kill(task)

    def _some(self, sessions: list[Any]) -> list[Any]:
        return [self._chance.choice(sessions)] if sessions else []

    def _disks(self) -> tuple[Disk, ...]:
        return tuple(robot.disk() for robot in self.robots)

    def _count(self, moment: Moment, phase: Phase, code: int) -> None:
        self.findings.rounds += 1
        self.findings.hits[moment.command, phase, moment.victim] += 1
        self.findings.ends[moment.victim, code] += 1

    # afterwards

    def _on_a_full_disk(self, robot: Robot) -> None:
        """Removing what is old needs no space, nor does a supervisor that has to be started."""
        robot.fill(0)
        if self._chance.random() < 0.3:
            self._kill_supervisor(robot)
        if self._chance.random() < 0.5:
            self.fleet.dora("gc", "--keep", "1")
        robot.empty()

    def _come_to_rest(self, moment: Moment) -> None:
        """What nobody touches any more is one generation, or the other."""
        if moment.wait and not all(robot.supervised for robot in self.robots):
            self.fleet.dora("generations", self.project.name)  # starts a supervisor
        for robot in self.robots:
            if not robot.supervised:
                continue  # the next deploy goes on from there
            if moment.wait and robot.disk().pending is not None:
                judge.eventually(lambda: judge.settled(robot), "the trial's end")  # noqa: B023
                self.findings.trials += 1
            judge.eventually(lambda: judge.runs_its_generation(robot), "at rest")  # noqa: B023

    def _mend(self) -> None:
        """One more deploy completes, and data flows."""
        flow = self.project.change()
        result = self.fleet.deploy(flow)
        judge.told_the_truth(result, self.robots, self._disks())
        assert result["outcome"] == "deployed", result
        for robot in self.robots:
            judge.eventually(lambda: judge.runs_its_generation(robot), "after a deploy")  # noqa: B023
        said = f"{self.project.version} got {self.project.version}"
        judge.eventually(
            lambda: [] if said in self.robots[1].lines("print") else [said], "data flows"
        )

    def _collect(self) -> None:
        self.fleet.dora("gc", "--keep", "1")
        for robot in self.robots:
            judge.eventually(lambda: judge.nothing_unneeded(robot), "after gc")  # noqa: B023
        self.findings.collections += 1
