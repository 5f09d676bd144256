"""Runs the health commands of units on trial, as `health` decides. Machine only; Python >= 3.8.

A command is no unit: it has the unit's folder and environment, but none of its cores, sockets and
pipes, so that it cannot speak for it. It dies with this process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections import deque
from dataclasses import dataclass, replace
from typing import Callable, Deque, Dict, Iterable, List, Optional, Set

from deploy.supervisor.confirmation import Pending
from deploy.supervisor.exits import Exits
from deploy.supervisor.health import Action, Check, Health, Run
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout
from deploy.supervisor.logs import last_lines
from deploy.supervisor.proc import start_time
from deploy.supervisor.process import Processes, SpawnFailed
from deploy.supervisor.restart import Exit
from deploy.supervisor.secrets import SecretMissing
from deploy.supervisor.slot import Slot
from deploy.unit import SHARED, HealthCommand, Unit

log = logging.getLogger(__name__)

BLOCK = 64 * 1024
SPEAKING = (  # variables by which a unit speaks to us, and by which its process is recognised
    "DEPLOY_CONTROL",
    "DEPLOY_FINGERPRINT",
    "DEPLOY_HOLD",
    "DEPLOY_RESTARTS",
    "DEPLOY_RETURNS",
    "DEPLOY_UPDATES",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
)
KEPT = 4096  # bytes of a command's output
CLOSE = 1.0  # seconds for a killed command to go, when this process is to end


@dataclass
class _Running:
    """A health command's process. Of its output only the end is kept, in memory."""

    key: Key
    timeout: float
    process: subprocess.Popen[bytes]
    output: int  # the reading end of the pipe
    said: bytes = b""
    cut: bool = False  # whether more was said than is kept
    late: bool = False
    asked: bool = True  # whether it still matters how it ends

    def read(self) -> bool:
        """Takes what can be had at once; False at the end of the output."""
        try:
            block = os.read(self.output, BLOCK)
        except BlockingIOError:
            return True
        self.said += block
        self.cut = self.cut or len(self.said) > KEPT
        self.said = self.said[-KEPT:]
        return bool(block)

    def kill(self) -> None:
        """With its whole group. It is reaped when it has ended."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of it has gone; the number is nobody else's before it is reaped


class Examiner:
    """`on_change(keys)` is called when checks have begun or ended. Needs a running loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        layout: Layout,
        on_change: Callable[[Set[Key]], None],
    ) -> None:
        self._loop = loop
        self._processes = Processes(layout, mortal=True)
        self._on_change = on_change
        self._health = Health()
        self._trials: Dict[str, Pending] = {}
        self._running: Dict[int, _Running] = {}  # by pid
        self._exits = Exits(loop, self._exited)

    def check(self, key: Key) -> Optional[Check]:
        """What is known of a unit's health; None when it has no commands, or is not on trial."""
        return self._health.checks.get(key)

    def on_trial(self, deployment: str, trial: Optional[Pending]) -> None:
        """`update` follows."""
        if trial is None:
            self._trials.pop(deployment, None)
        else:
            self._trials[deployment] = trial

    def update(self, slots: Iterable[Slot]) -> None:
        """Units or trials are others now."""
        self._perform(self._health.update(slots, self._trials))

    def close(self) -> None:
        """Ends all commands; those that still matter are run anew by the next supervisor."""
        self._exits.close()
        for running in self._running.values():
            running.kill()
        for pid in list(self._running):
            self._reap(pid, patience=CLOSE)
        self._health = Health()

    def _perform(self, actions: Iterable[Action]) -> None:
        changed: Set[Key] = set()
        queue: Deque[Action] = deque(actions)
        while queue:
            action = queue.popleft()
            changed.add(action.key)
            if isinstance(action, Run):
                queue.extend(self._run(action))
            else:
                self._give_up(action.key)
        if changed:
            self._on_change(changed)

    def _run(self, action: Run) -> List[Action]:
        try:
            self._spawn(action.key, action.unit, action.command)
        except (SpawnFailed, SecretMissing, OSError) as error:
            log.warning("%s: health command `%s`: %s", action.key, action.command.text, error)
            return self._health.ended(action.key, str(error))
        return []

    def _spawn(self, key: Key, unit: Unit, command: HealthCommand) -> None:
        environment = self._processes.environment(key, unit, 0)
        for name in SPEAKING:
            environment.pop(name, None)
        plain = replace(unit, argv=command.argv, cores=(), pin=SHARED, realtime=None, nice=0)
        argv = self._processes.command(plain, environment)
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                argv,
                cwd=unit.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        running = _Running(key, command.timeout, process, reading)
        self._running[process.pid] = running
        self._loop.add_reader(reading, self._read, running)
        self._loop.call_later(command.timeout, self._late, process.pid, running)
        self._exits.add(process.pid, start_time(process.pid) or 0)

    def _read(self, running: _Running) -> None:
        if not running.read():
            self._loop.remove_reader(running.output)

    def _late(self, pid: int, running: _Running) -> None:
        if self._running.get(pid) is running:
            running.late = True
            running.kill()

    def _give_up(self, key: Key) -> None:
        for running in self._running.values():
            if running.key == key:
                running.asked = False
                running.kill()

    def _exited(self, pid: int, start: int) -> None:
        running = self._running[pid]
        exit = self._reap(pid)
        if not running.asked:
            return
        why = None if exit is not None and exit.clean else str(exit)
        if running.late:
            why = f"not over after {running.timeout:g} s"
        if why is not None:
            log.warning("%s: a health command failed: %s", running.key, why)
        actions = self._health.ended(running.key, why, last_lines(running.said, cut=running.cut))
        self._on_change({running.key})
        self._perform(actions)

    def _reap(self, pid: int, patience: Optional[float] = None) -> Optional[Exit]:
        """How a process ended that has, or was killed: with all of its group, and what they said is
        read. None when it is not gone within `patience`: a driver may hold it for ever."""
        running = self._running.pop(pid)
        running.kill()
        self._loop.remove_reader(running.output)
        for _ in range(16):  # a pipe holds that much; who left the group may write on for ever
            if not running.read():
                break
        os.close(running.output)
        try:
            return Exit.from_returncode(running.process.wait(patience))
        except subprocess.TimeoutExpired:
            running.process.returncode = 0  # what its destructor would warn of is known
            return None
