"""The supervisor as a process of its own: its life from lock to leave. Machine only; >= 3.8.

It ends by SIGTERM, by `upgrade` (in place), and by itself when nothing is deployed and nobody is
connected. Units never end with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Dict, List, Optional, Set

from deploy.supervisor.client import ask
from deploy.supervisor.control import Refusal, bad
from deploy.supervisor.deployments import Deployments, Unreadable
from deploy.supervisor.engine import Engine
from deploy.supervisor.journal import Journal, find_orphans, takeover
from deploy.supervisor.layout import AGENT_HASH, Layout, private
from deploy.supervisor.operations import Operations
from deploy.supervisor.process import remove
from deploy.supervisor.session import Session
from deploy.supervisor.slot import Key

log = logging.getLogger(__name__)

GRACE = 10.0  # seconds for which a supervisor that has nothing to do waits for its first client
IDLE = 0.2  # seconds after the last client has gone
LOCK_WAIT = 10.0  # seconds for which a leaving supervisor's lock is waited for


class Inherited:
    """What a supervisor hands to the agent that replaces it in place: open descriptors."""

    def __init__(
        self,
        lock: Optional[int] = None,
        listener: Optional[int] = None,
        notify: Optional[Dict[Key, int]] = None,
    ) -> None:
        self.lock = lock
        self.listener = listener
        self.notify = notify or {}

    def to_text(self) -> str:
        notify = [[*key, descriptor] for key, descriptor in self.notify.items()]
        return json.dumps({"lock": self.lock, "listener": self.listener, "notify": notify})

    @classmethod
    def from_text(cls, text: str) -> Inherited:
        data = json.loads(text)
        notify = {Key(name, unit): descriptor for name, unit, descriptor in data["notify"]}
        return cls(data["lock"], data["listener"], notify)


class Daemon:
    def __init__(self, layout: Layout, agent: str, inherited: Optional[Inherited] = None) -> None:
        self.layout = layout
        self.agent = agent
        self._inherited = inherited or Inherited()
        self._sessions: Set[Session] = set()
        self._tasks: Set[asyncio.Task[None]] = set()
        self._was_active = False

    async def run(self) -> int:
        """Until it is to end; returns the exit status. Raises UnsafeFolder or OSError at start."""
        self.layout.prepare()
        lock = self._inherited.lock
        if lock is None:
            lock = take_lock(self.layout)
            if lock is None:
                return 0  # another one runs
        self._lock = lock
        os.set_inheritable(lock, False)
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self._ended.set)
        self._deployments = Deployments(self.layout)
        self._deployments.clear_stopped()
        self._engine = Engine(self.layout, journal=Journal(self.layout), on_change=self._changed)
        self._operations = Operations(
            self._engine, self._deployments, agent=self.agent, upgrade=self._upgrade
        )
        self._adopt()
        self._listener = self._listen()
        server = await asyncio.start_unix_server(self._connected, sock=self._listener)
        log.info(
            "supervisor %s of %s is up (pid %d)", self.agent[:12], self.layout.root, os.getpid()
        )
        idle = asyncio.ensure_future(self._until_idle())
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait({idle, ended}, return_when=asyncio.FIRST_COMPLETED)
        leaves_nothing = idle.done()
        for task in (idle, ended):
            task.cancel()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._engine.leave()
        remove(self.layout.socket)
        if leaves_nothing:
            log.info("nothing is deployed and nobody is connected: leaving")
            _empty(self.layout)
        remove(self.layout.lock)
        if leaves_nothing:
            try:
                os.rmdir(str(self.layout.run))
            except OSError:
                pass  # somebody else put something there
        os.close(lock)
        return 0

    def _adopt(self) -> None:
        current = {}
        for name in self._deployments.names():
            try:
                generation = self._deployments.generation(name)
            except Unreadable as error:
                log.error("%s", error)
                continue
            if generation is not None:
                self._deployments.write_documents(generation.profile)
                current[name] = (generation.number, generation.profile.units)
        wanted = {Key(name, u.name): u for name, (_, units) in current.items() for u in units}
        noted = Journal(self.layout).read()
        orphans = find_orphans(self.layout)
        slots = takeover(noted, orphans, wanted, time.monotonic())
        self._was_active = bool(current) or bool(slots)
        self._engine.adopt(slots, current, self._inherited.notify)

    def _listen(self) -> socket.socket:
        if self._inherited.listener is not None:
            os.set_inheritable(self._inherited.listener, False)
            listener = socket.socket(fileno=self._inherited.listener)
        else:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            # bound aside and renamed, so that whoever finds the socket can connect to it
            aside = self.layout.socket.with_name("supervisor.new")
            remove(aside)
            listener.bind(str(aside))
            os.chmod(str(aside), 0o600)
            listener.listen(128)
            os.replace(str(aside), str(self.layout.socket))
        listener.setblocking(False)
        return listener

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self._operations, reader, writer)
        task = asyncio.ensure_future(session.serve())
        self._sessions.add(session)
        self._tasks.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._sessions.discard(session)
            self._tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                log.error("a session failed", exc_info=task.exception())

        task.add_done_callback(over)

    def _changed(self, keys: Set[Key]) -> None:
        for session in self._sessions:
            session.changed(keys)

    @property
    def _active(self) -> bool:
        names = self._deployments.names()
        return not self._engine.empty or any(self._deployments.current(n) for n in names)

    async def _until_idle(self) -> None:
        """Returns when nothing is deployed, and nobody is connected or was just now."""
        quiet_since = time.monotonic()
        had_client = False
        while True:
            await asyncio.sleep(IDLE / 2)
            if self._sessions:
                had_client = True
            if self._sessions or not self._engine.empty:
                quiet_since = time.monotonic()
                continue
            patience = IDLE if self._was_active else GRACE
            if time.monotonic() - quiet_since < patience:
                continue
            if not self._active:
                return
            self._was_active = True
            quiet_since = time.monotonic() if had_client else quiet_since

    async def _upgrade(self, agent: str, python: Optional[str]) -> None:
        """Goes on as another agent, in this process, once the reply is out. Raises Refusal."""
        if not AGENT_HASH.match(agent) or not self.layout.agent(agent).is_dir():
            raise Refusal("upgrade_failed", f"agent {agent[:80]!r} is not on this machine")
        program = python or sys.executable
        if not os.path.isabs(program):
            raise bad(f"'python' must be an absolute path, not {program!r}")
        argv = agent_command(self.layout, agent, program)
        loop = asyncio.get_running_loop()
        try:
            done = await loop.run_in_executor(None, _try, [*argv, "version"])
        except (OSError, subprocess.SubprocessError) as error:
            raise Refusal("upgrade_failed", f"{program} cannot run the agent: {error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")[-500:]
            raise Refusal("upgrade_failed", f"{program} cannot run the agent: {said}")
        loop.call_later(0.05, self._become, argv)

    def _become(self, argv: List[str]) -> None:
        notify = self._engine.prepare_exec()
        os.set_inheritable(self._lock, True)
        self._listener.set_inheritable(True)
        inherited = Inherited(self._lock, self._listener.fileno(), notify)
        log.info("going on as %s", argv[-2])
        try:
            os.execv(argv[0], [*argv, "supervise", inherited.to_text()])
        except OSError as error:
            log.error("the upgrade failed, going on as before: %s", error)
            os.set_inheritable(self._lock, False)
            self._listener.set_inheritable(False)
            self._engine.notifications.keep()


def agent_command(layout: Layout, agent: str, python: str) -> List[str]:
    """The argv that runs an extracted agent; a verb and its arguments follow."""
    return [python, "-I", "-S", str(layout.agent(agent)), str(layout.root)]


def take_lock(layout: Layout) -> Optional[int]:
    """The descriptor that holds the supervisor's lock; None when another one runs and answers."""
    deadline = time.monotonic() + LOCK_WAIT
    private(layout.run)
    while True:
        lock = os.open(str(layout.lock), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(str(layout.lock))):
                return lock
        except (BlockingIOError, FileNotFoundError):
            pass  # held, or removed by one that left meanwhile
        os.close(lock)
        if ask(layout.socket, "hello", timeout=2.0) is not None or time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def run(layout: Layout, agent: str, inherited: Optional[Inherited] = None) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        return asyncio.run(Daemon(layout, agent, inherited).run())
    except Exception:
        log.exception("the supervisor failed; units run on")
        return 1


def _try(argv: List[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)


def _empty(layout: Layout) -> None:
    """Removes what the supervisor keeps in `run`, but for its lock."""
    for path in (layout.journal, layout.supervisor_log):
        remove(path)
    shutil.rmtree(str(layout.notifications), ignore_errors=True)
