"""Deployments that fail in ways of their own, side by side on three robots; and what is found."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, write_flow

NAMES = {1: "base", 2: "rover", 3: "drone"}
BASE, ROVER, DRONE = NAMES
UNITS = {BASE: {"on-base"}, ROVER: {"on-rover"}, DRONE: {"on-drone", "steady"}}
ROOT = "/home/robot/.local/share/dora"

# A node that needs no more than its Python, so that many can be started on a busy machine.
GOOD = """
import os, signal, socket, sys, time
def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
print("VERSION", flush=True)
"""
WELL = "ready()\ntime.sleep(1000)\n"


@dataclass(frozen=True)
class Cause:
    """What is wrong with the new generation's node on the rover; as it ends, `why` is said of it,
    and `said` stands last in what it printed."""

    name: str
    why: str
    said: str
    script: str = WELL  # after GOOD
    keys: str = ""  # of the node in the flow file
    options: tuple[str, ...] = ()
    further: dict[str, str] = field(default_factory=dict)  # scripts

    def __str__(self) -> str:
        return self.name


CAUSES = (
    Cause("crashes-at-start", "exited with code 1", "no camera", "sys.exit('no camera')\n"),
    Cause(
        "crashes-after-2-s",
        "exited with code 1",
        "lost the camera",
        "ready()\ntime.sleep(2)\nsys.exit('lost the camera')\n",
        options=("--window", "3"),
    ),
    Cause(
        "is-never-ready",
        "not ready 1 s after its start",
        "two",
        "time.sleep(1000)\n",
        ", startup_timeout: 1s",
    ),
    Cause(
        "ignores-sigterm",
        "not ready 1 s after its start",
        "I stay",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('I stay', flush=True)\ntime.sleep(1000)\n",
        ", startup_timeout: 1s",
    ),
    Cause(
        "fails-its-health-command",
        "failed its health command `check.py --deep`: exited with code 3",
        "no map",
        keys=", health: [sh -c true, check.py --deep]",
        further={"check.py": "print('no map')\nraise SystemExit(3)\n"},
    ),
)


@dataclass
class Robot:
    """What lies and runs of one deployment on one robot, seen from inside."""

    current: str | None
    booted: str | None
    on_trial: bool
    pids: dict[str, list[int]]  # of all processes that work in the folder of a node
    said: list[str]  # the node's log
    failures: dict[int, dict[str, Any]]  # generation -> why it was gone back from


@dataclass
class Outcome:
    """What `dora deploy` said, and the robots right after it."""

    code: int
    result: dict[str, Any]
    progress: str
    robots: dict[int, Robot]
    before: dict[int, Robot]


class Deployments:
    """Makes flow files and deploys them; `lock` is a flow.lock: versions are looked up once."""

    def __init__(self, lan: Lan, fleet: Fleet, folder: Path) -> None:
        self.lan = lan
        self.fleet = fleet
        self.folder = folder
        self.lock: bytes | None = None

    def flow(
        self,
        name: str,
        version: str,
        cause: Cause | None = None,
        robots: Sequence[int] = tuple(NAMES),
    ) -> Path:
        """A node on each of the robots, which says its version; on the drone also one that is the
        same in all of them."""
        good = (GOOD + WELL).replace("VERSION", version)
        scripts = {f"{NAMES[i]}.py": good for i in robots}
        scripts["steady.py"] = GOOD + WELL
        keys = ""
        if cause is not None:
            keys = cause.keys
            scripts["rover.py"] = (GOOD + cause.script).replace("VERSION", version)
            scripts.update(cause.further)
        rows = [
            f"  - {{id: on-{robot}, path: {robot}.py, deploy: {{machine: {robot}}}"
            f"{keys if robot == 'rover' else ''}}}\n"
            for robot in (NAMES[i] for i in robots)
        ]
        if DRONE in robots:
            rows.append("  - {id: steady, path: steady.py, deploy: {machine: drone}}\n")
        file = write_flow(self.folder / name, scripts, "nodes:\n" + "".join(rows))
        if self.lock is not None:
            file.with_suffix(".lock").write_bytes(self.lock)
        return file

    def start(self, flow: Path, *options: str) -> Callable[[], Outcome]:
        """Deploys in the background; the call of what is returned waits for the end."""
        name = flow.parent.name
        before = self.robots(name)
        process = subprocess.Popen(
            self.fleet.command("deploy", flow, "--detach", "--json", *options),
            env=self.fleet.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def join() -> Outcome:
            try:
                output, progress = process.communicate(timeout=200)
            finally:
                process.kill()
                process.wait()
            assert "Traceback" not in progress, progress
            assert output, progress
            robots = self.robots(name)
            return Outcome(process.returncode, json.loads(output), progress, robots, before)

        return join

    def deploy(self, flow: Path, *options: str) -> Outcome:
        return self.start(flow, *options)()

    def good(self, name: str, robots: Sequence[int] = tuple(NAMES)) -> None:
        """The first generation, which goes well."""
        outcome = self.deploy(self.flow(name, "one", robots=robots))
        assert 0 == outcome.code, outcome.progress
        if self.lock is None:
            self.lock = (self.folder / name / "flow.lock").read_bytes()

    # What is found, not over the network: also while a link is cut

    def robots(self, name: str) -> dict[int, Robot]:
        return {i: self.robot(i, name) for i in NAMES}

    def robot(self, i: int, name: str) -> Robot:
        folder = self.lan.path(i, f"{ROOT}/deployments/{name}")
        log = self.lan.path(i, f"{ROOT}/logs/{name}/on-{NAMES[i]}.log")
        generations = {
            int(file.stem): json.loads(file.read_text())
            for file in folder.glob("generations/*.json")
        }
        return Robot(
            current=_target(folder / "current"),
            booted=_target(folder / "booted"),
            on_trial=(folder / "pending.json").exists(),
            pids=self._pids(i, name),
            said=log.read_text().splitlines() if log.exists() else [],
            failures={n: it["failure"] for n, it in generations.items() if "failure" in it},
        )

    def _pids(self, i: int, name: str) -> dict[str, list[int]]:
        if not self.lan.processes(i):  # it is off
            return {}
        listed = self.lan.run(
            i,
            ["find", "/proc", "-maxdepth", "2", "-name", "cwd", "-printf", "%h %l\\n"],
            check=False,  # processes end while it looks
        )
        found: dict[str, list[int]] = {}
        for line in listed.stdout.splitlines():
            process, _, cwd = line.partition(" ")
            if cwd.startswith(f"{ROOT}/state/{name}/"):
                found.setdefault(os.path.basename(cwd), []).append(int(process.split("/")[2]))
        return found


def _target(link: Path) -> str | None:
    return os.readlink(link) if link.is_symlink() else None
