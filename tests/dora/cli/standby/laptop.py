"""A user's laptop with a standby, and machines that refuse or never answer. Real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")

ROOT = Path(__file__).parents[4]
PATIENCE = 30.0
FLOW = """\
nodes:
  - id: talker
    path: talker.py
    inputs: {tick: dora/timer/millis/100}
    outputs: [word]
"""


@dataclass(frozen=True)
class Ended:
    """What a user sees of a command."""

    status: int
    out: str
    err: str


class Laptop:
    """A home with a project in it. Machine `away` refuses, and `deaf` accepts but says nothing."""

    def __init__(self, program: Path = ROOT) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="dora-standby-"))  # sockets need short paths
        self.project = self.home / "project"
        self.project.mkdir()
        (self.project / "flow.yml").write_text(FLOW)
        (self.project / "broken.yml").write_text("nodes: [{id: 7, pth: x}]\n")
        (self.project / "talker.py").write_text("")
        self._callers: list[socket.socket] = []
        self._deaf = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._away = socket.socket()  # bound, and never listens: nobody else gets the port
        self._away.bind(("127.0.0.1", 0))
        self.write("away.yml", f"{{host: 127.0.0.1, port: {self._away.getsockname()[1]}}}", "away")
        self.write("deaf.yml", f"{{host: 127.0.0.1, port: {self._deaf.getsockname()[1]}}}", "deaf")
        shutil.copy(self.project / "away.yml", self.project / "machines.yml")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DORA_")},
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "PYTHONPATH": str(program),
            "NO_COLOR": "1",
            "TOKEN": "nobody else's business",
        }

    def write(self, name: str, machine: str, called: str) -> None:
        (self.project / name).write_text(f"machines:\n  {called}: {machine}\n")

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "dora.cli", *words]

    def dora(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "", cold: bool = False
    ) -> Ended:
        alone = {"DORA_STANDBY": "0"} if cold else {}
        done = subprocess.run(
            self.argv(*words),
            cwd=self.project,
            env={**self.env, **(env or {}), **alone},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, cold: bool = False) -> subprocess.Popen[str]:
        """In the background, with its output in pipes; the caller ends it."""
        return subprocess.Popen(
            self.argv(*words),
            cwd=self.project,
            env={**self.env, **({"DORA_STANDBY": "0"} if cold else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hang(self, *words: str, cold: bool = False) -> subprocess.Popen[str]:
        """A command that waits for the deaf machine, once it does."""
        command = self.start(*words or ("status",), "-i", "deaf.yml", cold=cold)
        self.await_call()
        return command

    def await_call(self) -> None:
        """Until somebody has called the deaf machine."""
        self._deaf.settimeout(PATIENCE)
        caller, _ = self._deaf.accept()
        self._callers.append(caller)

    def hang_up(self) -> None:
        """The machine that was deaf ends the conversation: the command fails."""
        while self._callers:
            self._callers.pop().close()

    def leave_a_standby(self) -> int:
        """Its pid, once it listens."""
        self.dora("status")
        return eventually(self.standby)

    def standby(self) -> int | None:
        """The pid of one that listens."""
        for path in (self.home / "dora-standby").glob("*.sock"):
            try:
                return int(path.with_suffix(".lock").read_text())
            except FileNotFoundError:
                return None  # it is just leaving
        return None

    def close(self) -> None:
        for path in (self.home / "dora-standby").glob("*.lock"):
            end(int(path.read_text()))
        self.hang_up()
        self._deaf.close()
        self._away.close()
        shutil.rmtree(self.home)


def eventually(look: Callable[[], Found | None]) -> Found:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"nothing for {PATIENCE:g} s: {look}")


def children(pid: int) -> list[int]:
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def served(pid: int) -> int:
    """Page faults of the children that a standby has seen to their end: more with each."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[8])


def alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    eventually(lambda: not alive(pid))
