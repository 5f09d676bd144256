"""Listening sockets that units inherit: bound before they start, kept while they are wanted.

Machine only; standard library, Python >= 3.8. Why it is as it is: a listener is a queue that lives
as long as some process has it open, and its file is no more than an address.

- A supervisor keeps every listener open, through restarts of the unit and its own upgrade. Who
  connects meanwhile waits in the queue for the unit's next process.
- When the supervisor is killed, the copy that the unit inherited keeps queue and address alive. A
  fresh socket at the path would now be one of which the unit does not know, and clients would wait
  there for ever: so the next supervisor leaves the path alone while a process lives that inherited
  it. It asks the unit (`status` on its control pipe) for a copy, which comes as sd_notify's
  FDSTORE=1, and then everything is as before.
- Of a unit that does not answer, the listener is lost with its process. As soon as the end is seen,
  also if the restart is not due yet, a fresh socket takes the file's place by rename. Until then,
  for milliseconds, connections are refused: this takes the death of both, and clients try again.
  To take the descriptor out of the process (pidfd_getfd) would need Linux 5.6 and the right to
  trace it, which Ubuntu does not give.
"""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, Mapping, NamedTuple, Optional, Set, Tuple

from deploy.supervisor.files import remove
from deploy.supervisor.layout import Layout, private
from deploy.supervisor.slot import Slot
from deploy.unit import Socket, Unit

BACKLOG = 128
LONGEST_PATH = 107  # bytes of sun_path, without the NUL
KINDS = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}


class Place(NamedTuple):
    deployment: str
    path: str  # absolute


class SocketFailed(Exception):
    """A socket cannot be bound where it should be; what is there was not touched."""


@dataclass(frozen=True)
class Work:
    bind: Mapping[Place, Socket]
    release: Tuple[Place, ...]


def decide(
    slots: Iterable[Slot], held: Mapping[Place, str], locate: Callable[[str, Socket], Place]
) -> Work:
    """What is to be bound and what let go of; `held` maps places to the kinds of our listeners."""
    wanted: Dict[Place, Socket] = {}
    inherited: Set[Place] = set()  # by processes that live
    for slot in slots:
        if slot.wanted is not None:
            for entry in slot.wanted.sockets:
                wanted[locate(slot.key.deployment, entry)] = entry
        if slot.pid is not None and slot.actual is not None:
            inherited |= {locate(slot.key.deployment, entry) for entry in slot.actual.sockets}
    return Work(
        bind={
            place: entry
            for place, entry in wanted.items()
            if place not in inherited and held.get(place) != entry.kind
        },
        release=tuple(place for place in held if place not in wanted and place not in inherited),
    )


@dataclass(frozen=True)
class Listener:
    socket: socket.socket
    file: Optional[Tuple[int, int]]  # device and inode of what was at the path when we got it

    @property
    def kind(self) -> str:
        return "stream" if self.socket.type == socket.SOCK_STREAM else "seqpacket"

    def leads_here(self, path: str) -> bool:
        """Whether the file at `path` is still this listener's."""
        return self.file is not None and self.file == _file(path)


class Sockets:
    """The listeners that this supervisor has open."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._listeners: Dict[Place, Listener] = {}

    @property
    def held(self) -> Dict[Place, str]:
        return {place: listener.kind for place, listener in self._listeners.items()}

    def locate(self, deployment: str, entry: Socket) -> Place:
        folder = str(self._layout.unit_run(deployment))
        return Place(deployment, os.path.normpath(os.path.join(folder, entry.path)))

    def shared(self, deployment: str, units: Iterable[Unit]) -> Optional[str]:
        """A path that two sockets of these units name; None if there is none."""
        seen: Set[Place] = set()
        for unit in units:
            for entry in unit.sockets:
                place = self.locate(deployment, entry)
                if place in seen:
                    return place.path
                seen.add(place)
        return None

    def lacks(self, slot: Slot) -> bool:
        """Whether the unit's process has a listener that we have not."""
        if slot.pid is None or slot.actual is None:
            return False
        places = (self.locate(slot.key.deployment, entry) for entry in slot.actual.sockets)
        return any(place not in self._listeners for place in places)

    def hold(self, place: Place, entry: Socket) -> int:
        """The descriptor of a listener to which the path leads; bound now if there is none.

        Raises SocketFailed or OSError.
        """
        listener = self._listeners.get(place)
        if listener is None or listener.kind != entry.kind or not listener.leads_here(place.path):
            fresh = self._bind(place, entry)
            if listener is not None:
                listener.socket.close()
            listener = self._listeners[place] = fresh
        return listener.socket.fileno()

    def take(self, place: Place, descriptor: int) -> None:
        """Goes on with a listener that an earlier supervisor of this process had."""
        os.set_inheritable(descriptor, False)
        self._listeners[place] = Listener(socket.socket(fileno=descriptor), _file(place.path))

    def take_back(self, slot: Slot, name: str, descriptor: int) -> bool:
        """Keeps the listener that a unit gave us, unless it is none that we lack."""
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return False
        listener = socket.socket(fileno=descriptor)
        for entry in slot.actual.sockets if slot.actual is not None else ():
            place = self.locate(slot.key.deployment, entry)
            file = _file(place.path)
            if entry.name != name or place in self._listeners or file is None:
                continue
            if _listens(listener, entry.kind):
                self._listeners[place] = Listener(listener, file)
                return True
        listener.close()
        return False

    def release(self, place: Place) -> None:
        """Stops listening and removes the file, unless it is another's by now."""
        listener = self._listeners.pop(place)
        listener.socket.close()
        if listener.leads_here(place.path):
            remove(Path(place.path))

    def give(self) -> Dict[Place, int]:
        """The descriptors, open for a program that is executed in our place."""
        for listener in self._listeners.values():
            listener.socket.set_inheritable(True)
        return {place: each.socket.fileno() for place, each in self._listeners.items()}

    def keep(self) -> None:
        """After `give`, when that program was not executed after all."""
        for listener in self._listeners.values():
            listener.socket.set_inheritable(False)

    def leave(self) -> None:
        """Closes our copies; units have theirs, and the files are for whoever comes next."""
        for listener in self._listeners.values():
            listener.socket.close()
        self._listeners.clear()

    def _bind(self, place: Place, entry: Socket) -> Listener:
        path = Path(place.path)
        self._check(place, path)
        private(path.parent)
        # bound aside and renamed, so that whoever finds the file can connect to it
        aside = path.with_name(f".{os.getpid()}.socket")
        listener = socket.socket(socket.AF_UNIX, KINDS[entry.kind] | socket.SOCK_CLOEXEC)
        folder = os.open(str(path.parent), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove(aside)
            fits = len(os.fsencode(str(aside))) <= LONGEST_PATH
            listener.bind(str(aside) if fits else f"/proc/self/fd/{folder}/{aside.name}")
            os.chmod(str(aside), 0o600)
            listener.listen(BACKLOG)
            os.replace(str(aside), place.path)
        except OSError:
            listener.close()
            remove(aside)
            raise
        finally:
            os.close(folder)
        return Listener(listener, _file(place.path))

    def _check(self, place: Place, path: Path) -> None:
        for other in self._listeners:
            if other.path == place.path and other.deployment != place.deployment:
                raise SocketFailed(f"{path} is a socket of deployment {other.deployment!r} already")
        run = self._layout.unit_run(place.deployment)
        ours = run in path.parents
        if self._layout.run in path.parents and not ours:
            raise SocketFailed(f"{path} is where the supervisor's own files are; choose another")
        if ours and path.name.endswith(".control"):
            raise SocketFailed(f"{path}: names that end in .control are those of control pipes")
        try:
            found = os.lstat(place.path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise SocketFailed(f"{path} is there already and is no socket; remove it")


def _file(path: str) -> Optional[Tuple[int, int]]:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def _listens(candidate: socket.socket, kind: str) -> bool:
    return (
        candidate.family == socket.AF_UNIX
        and candidate.type == KINDS[kind]
        and candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    )
