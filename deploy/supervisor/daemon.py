"""The supervisor as a process of its own: its life from lock to leave. Machine only; >= 3.8.

It ends by SIGTERM, by `upgrade` (in place), and by itself when nothing is deployed and nobody is
connected. Units never end with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Dict, List, Optional, Sequence, Set, Tuple

from deploy.supervisor import files, launch
from deploy.supervisor.client import ask
from deploy.supervisor.control import Refusal, bad
from deploy.supervisor.deployments import Deployments, Unreadable
from deploy.supervisor.engine import Engine
from deploy.supervisor.environment import base_environment
from deploy.supervisor.files import remove
from deploy.supervisor.journal import Journal, find_orphans, takeover
from deploy.supervisor.key import Key
from deploy.supervisor.launch import agent_command
from deploy.supervisor.layout import AGENT_HASH, Layout
from deploy.supervisor.leasing import Leasing
from deploy.supervisor.lockfile import keep_folder, try_lock, unlock
from deploy.supervisor.locks import Locks
from deploy.supervisor.metrics import Metrics
from deploy.supervisor.operations import GRACE, Operations
from deploy.supervisor.session import Session
from deploy.supervisor.slot import Slot
from deploy.supervisor.sockets import Place
from deploy.supervisor.switch import Switch, moment
from deploy.supervisor.updates import Updates
from deploy.unit import Unit

log = logging.getLogger(__name__)

RETRY = 60.0  # seconds until what starts us at boot is written again, if the disk was full
IDLE = 0.2  # seconds after the last client has gone
OPEN_FILES = 65536  # a unit takes a handful of ours: the usual 1024 would do for some 200
LOCK_WAIT = 10.0  # seconds for which a leaving supervisor's lock is waited for


class Inherited:
    """What a supervisor hands to the agent that replaces it in place: open descriptors."""

    def __init__(
        self,
        lock: Optional[int] = None,
        listener: Optional[int] = None,
        notify: Optional[Dict[Key, int]] = None,
        sockets: Optional[Dict[Place, int]] = None,
    ) -> None:
        self.lock = lock
        self.listener = listener
        self.notify = notify or {}
        self.sockets = sockets or {}

    def to_text(self) -> str:
        return json.dumps(
            {
                "lock": self.lock,
                "listener": self.listener,
                "notify": [[*key, descriptor] for key, descriptor in self.notify.items()],
                "sockets": [[*place, descriptor] for place, descriptor in self.sockets.items()],
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Inherited:
        data = json.loads(text)
        notify = {Key(name, unit): descriptor for name, unit, descriptor in data["notify"]}
        # an agent from before there were sockets may hand over to this one
        sockets = {
            Place(name, path): descriptor for name, path, descriptor in data.get("sockets", ())
        }
        return cls(data["lock"], data["listener"], notify, sockets)


class Daemon:
    def __init__(self, layout: Layout, agent: str, inherited: Optional[Inherited] = None) -> None:
        self.layout = layout
        self.agent = agent
        self._inherited = inherited or Inherited()
        self._sessions: Set[Session] = set()
        self._tasks: Set[asyncio.Task[None]] = set()
        self._was_active = False
        self._idle = False
        self._idle_timer: Optional[asyncio.TimerHandle] = None
        self._stays = time.monotonic() + GRACE

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
        _allow_open_files()
        kept = keep_folder(self.layout)
        for folder in (self.layout.deployments, self.layout.root / "secrets", self.layout.run):
            files.sweep(folder)
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self._ended.set)
        self._deployments = Deployments(self.layout)
        self._engine = Engine(self.layout, journal=Journal(self.layout), on_change=self._changed)
        locks = Locks(time.monotonic)
        self._switch = Switch(self._engine, self._deployments, locks)
        self._updates = Updates(
            self.layout,
            needed=lambda name: locks.get(name) is not None or self._pending(name),
            units=lambda: [key for key, slot in self._engine.units.slots.items() if slot.pid],
            clock=time.time,
        )
        self._leasing = Leasing(self._engine, self.layout, now=moment)
        self._metrics = Metrics(self.layout, self._engine, self.agent)
        self._operations = Operations(
            self._engine,
            self._deployments,
            self._switch,
            locks,
            self._updates,
            self._metrics,
            self._leasing,
            agent=self.agent,
            upgrade=self._upgrade,
            stay=self._stay,
        )
        self._leasing.recall()  # first: nothing starts whose lease is over
        self._adopt()
        self._updates.take_over(filter(self._pending, self._deployments.names()))
        self._listener = self._listen()
        server = await asyncio.start_unix_server(self._connected, sock=self._listener)
        log.info(
            "supervisor %s of %s is up (pid %d)", self.agent[:12], self.layout.root, os.getpid()
        )
        await self._metrics.start()
        self._look()
        self._refresh_launcher()
        await self._ended.wait()
        server.close()
        self._metrics.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._leasing.close()
        self._switch.close()
        self._updates.close()
        self._engine.leave()
        remove(self.layout.socket)
        if self._idle:
            log.info("nothing is deployed and nobody is connected: leaving")
            _empty(self.layout)
        os.close(kept)
        unlock(self.layout, lock)
        return 0

    def _adopt(self) -> None:
        noted = Journal(self.layout).read()
        orphans = find_orphans(self.layout)
        self._switch.recover(noted, {orphan.key.deployment for orphan in orphans})
        current: Dict[str, Tuple[int, Sequence[Unit]]] = {}
        unreadable: List[str] = []
        for name in self._deployments.names():
            try:
                generation = self._deployments.generation(name)
            except Unreadable as error:
                log.error("%s; what runs of it runs on", error)
                current[name] = as_they_are(name, noted)
                unreadable.append(name)
                continue
            if generation is not None:
                try:
                    self._deployments.write_documents(generation.profile)
                except OSError as error:  # those of the same generation may well be there
                    log.error("%s: its documents cannot be written: %s", name, error)
                current[name] = (generation.number, generation.profile.units)
        wanted = {Key(name, u.name): u for name, (_, units) in current.items() for u in units}
        slots = takeover(noted, orphans, wanted, time.monotonic())
        for name in unreadable:  # the journal may be lost as well: then what is found is all
            current[name] = as_they_are(name, slots)
        self._was_active = bool(current) or bool(slots)
        self._engine.adopt(slots, current, self._inherited.notify, self._inherited.sockets)
        self._switch.resume()

    def _refresh_launcher(self) -> None:
        """What starts a supervisor at boot, if anything does, starts this one's agent."""
        text = launch.script(self.layout, self.agent, sys.executable, base_environment())
        try:
            launch.refresh(self.layout, text)
        except OSError as error:
            log.error("%s is of another agent: %s", self.layout.launcher, error)
            asyncio.get_running_loop().call_later(RETRY, self._refresh_launcher)

    def _pending(self, deployment: str) -> bool:
        return self._deployments.pending(deployment) is not None

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
        self._look()

        def over(task: asyncio.Task[None]) -> None:
            self._sessions.discard(session)
            self._tasks.discard(task)
            self._look()
            if not task.cancelled() and task.exception() is not None:
                log.error("a session failed", exc_info=task.exception())

        task.add_done_callback(over)

    def _changed(self, keys: Set[Key]) -> None:
        for session in self._sessions:
            session.changed(keys)
        for name in {key.deployment for key in keys}:
            if self._engine.units.gone(name) and self._deployments.current(name) is None:
                self._deployments.clear(name)
        self._look()

    def _stay(self, seconds: float, longer: bool) -> None:
        """For so long idleness does not end us, as somebody relies on us and will be back: if that
        is `longer` than before, or in any case."""
        until = time.monotonic() + seconds
        self._stays = max(until, self._stays) if longer and not self._was_active else until
        self._was_active = False

    def _look(self) -> None:
        """Something changed: if that leaves nothing to do, the end comes unless more changes."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if not self._engine.empty:
            self._was_active = True
        if self._tasks or not self._engine.empty:
            return
        grace = 0.0 if self._was_active else self._stays - time.monotonic()
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(max(IDLE, grace), self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self._tasks or not self._engine.empty:
            return
        names = self._deployments.names()
        if not any(self._deployments.current(name) is not None for name in names):
            self._idle = True
            self._ended.set()

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
        self._leasing.close()
        notify, sockets = self._engine.prepare_exec()
        os.set_inheritable(self._lock, True)
        self._listener.set_inheritable(True)
        inherited = Inherited(self._lock, self._listener.fileno(), notify, sockets)
        log.info("going on as %s", argv[-2])
        try:
            os.execv(argv[0], [*argv, "supervise", inherited.to_text()])
        except OSError as error:
            log.error("the upgrade failed, going on as before: %s", error)
            os.set_inheritable(self._lock, False)
            self._listener.set_inheritable(False)
            self._engine.keep()
            self._leasing.recall()


def as_they_are(deployment: str, slots: Sequence[Slot]) -> Tuple[int, List[Unit]]:
    """The generation and the units of a deployment of which nothing else is known."""
    known = [slot for slot in slots if slot.key.deployment == deployment]
    units = [slot.actual for slot in known if slot.actual is not None]
    return max((slot.generation for slot in known), default=0), units


def take_lock(layout: Layout) -> Optional[int]:
    """The descriptor that holds the supervisor's lock; None when another one runs and answers."""
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        lock = try_lock(layout)
        if lock is not None:
            return lock
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
    for path in (layout.journal, layout.supervisor_log, layout.updates, layout.leases):
        remove(path)
    shutil.rmtree(str(layout.notifications), ignore_errors=True)


def _allow_open_files() -> None:
    """As many as we may have; units begin with the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
