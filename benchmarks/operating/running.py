"""Runs a dataflow, ours or dora-rs's, and looks at its processes. Ends what it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 120.0  # s; 10,000 operators on a busy machine
PARTING = 15.0  # s
WORDS = 30  # lines of a log


class RunError(RuntimeError):
    """A dataflow did not come up, or gave nothing; the text has the last lines of its log."""


@dataclass
class Memory:
    """Of processes, in bytes. `pss`: shared pages divided by their users."""

    processes: int
    rss: int
    pss: int


class Rate(NamedTuple):
    per_second: float
    cpu: float  # s for each message, of all processes


@dataclass
class Run:
    popen: subprocess.Popen[bytes]
    log: Path
    notes: Path
    began: float = field(default_factory=time.monotonic)

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        """Raises RunError when that does not come true."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            if self.popen.poll() is not None or time.monotonic() > deadline:
                lines = self.log.read_text(errors="replace").splitlines()[-WORDS:]
                raise RunError("\n".join([f"not seen: {what}", *lines]))
            time.sleep(0.02)
        return found

    def counts(self) -> list[tuple[float, int]]:
        """What a sink wrote: (monotonic seconds, messages so far)."""
        text = self.notes.read_text() if self.notes.exists() else ""
        lines = [line.split() for line in text.splitlines() if line.count(" ") == 1]
        return [(int(when) / 1e9, int(count)) for when, count in lines]

    def rate(self, seconds: float) -> Rate:
        """At the sink, measured over at least `seconds`."""
        self.wait_for(lambda: self.counts() and self.counts()[-1][1] > 0, "a first message")
        time.sleep(1.0)  # until everything is warm
        begin, spent = self.counts()[-1], self._spent()
        # A rate needs some messages, however slow they are.
        self.wait_for(
            lambda: self.counts()[-1][0] - begin[0] > seconds and self.counts()[-1][1] > begin[1],
            "messages at the end of the chain",
        )
        end = self.counts()[-1]
        count = end[1] - begin[1]
        return Rate(count / (end[0] - begin[0]), (self._spent() - spent) / count)

    def served(self, marks: Sequence[str]) -> tuple[float, float]:
        """When the first message was at the end of the chain, in seconds since the command began,
        and since the last of the processes did whose command line has one of `marks`."""
        self.wait_for(lambda: self.counts() and self.counts()[-1][1], "a first message")
        when = next(when for when, count in self.counts() if count)
        started = max(_started(pid) for pid in self._hosts(marks))
        return when - self.began, when - started

    def memory(self, marks: Sequence[str]) -> Memory:
        """Of the processes below ours whose command line has one of `marks`."""
        sizes = [_sizes(pid) for pid in self._hosts(marks)]
        return Memory(len(sizes), sum(rss for rss, _ in sizes), sum(pss for _, pss in sizes))

    def _spent(self) -> float:
        """CPU time of all processes, in seconds."""
        ticks = 0
        for pid in (self.popen.pid, *_below(self.popen.pid)):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _hosts(self, marks: Sequence[str]) -> list[int]:
        """Raises RunError if there are none."""
        pids = [pid for pid in _below(self.popen.pid) if any(m in _command(pid) for m in marks)]
        if not pids:
            raise RunError(f"no process has one of {marks} in its command line")
        return pids


@contextmanager
def running(command: Sequence[str], flow: Callable[[Path], Any], **env: str) -> Iterator[Run]:
    """`command` gets the flow file's path as its last argument; `flow` the path for notes."""
    with tempfile.TemporaryDirectory(prefix="dora-bench-") as name:
        folder = Path(name)
        notes = folder / "notes"
        (folder / "flow.yml").write_text(json.dumps(flow(notes)))  # JSON is YAML
        base = {k: v for k, v in os.environ.items() if not k.startswith(("DORA_", "PYTHON"))}
        # dora-rs takes the first `python` of the path.
        base["PATH"] = f"{Path(command[0]).parent}:{base.get('PATH', os.defpath)}"
        base["RUST_LOG"] = "error"
        with (folder / "log").open("wb") as log:
            popen = subprocess.Popen(
                [*command, str(folder / "flow.yml")],
                env={**base, **env},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Run(popen, folder / "log", notes)
        finally:
            _end(popen)


def _end(popen: subprocess.Popen[bytes]) -> None:
    """Asks, asks again, insists: with all processes below it."""
    left = {pid: _ticks(pid) for pid in _below(popen.pid)}
    for number in (signal.SIGINT, signal.SIGINT):
        if popen.poll() is None:
            popen.send_signal(number)
            try:
                popen.wait(PARTING)
            except subprocess.TimeoutExpired:
                continue
    if popen.poll() is None:
        popen.kill()
    popen.wait()
    for pid, ticks in left.items():
        if ticks is not None and _ticks(pid) == ticks:  # else the number is another's by now
            os.kill(pid, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    """The process's children, their children, and so on."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(text) for text in task.read_text().split()]
        except OSError:
            continue  # that thread has ended
        for child in children:
            found += [child, *_below(child)]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _started(pid: int) -> float:
    """Monotonic seconds."""
    ticks = _ticks(pid)
    if ticks is None:
        raise RunError(f"process {pid} has ended")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age


def _ticks(pid: int) -> int | None:
    """When it was started, in clock ticks since boot: with its number, its identity."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None


def _sizes(pid: int) -> tuple[int, int]:
    """Resident, and with shared pages divided by their users; bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return kilobytes["Rss:"] * 1024, kilobytes["Pss:"] * 1024
