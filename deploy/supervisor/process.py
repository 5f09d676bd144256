"""Starting, asking, signalling and recognising processes. Machine only; Python >= 3.8.

What a unit finds in its environment beside its own `env`: HOME, PATH, LANG, USER of this machine,
DEPLOY_UNIT, DEPLOY_CONTROL (a FIFO; the line `stop` asks it to leave, `status` to say READY=1 again
if it is; other lines are to be ignored), NOTIFY_SOCKET (sd_notify's), DEPLOY_RESTARTS (how often it
was restarted), DEPLOY_RETURNS (`never`, or the seconds that it must live to be restarted if it
fails), DEPLOY_FINGERPRINT (by which supervisors know it), WATCHDOG_USEC if it has a
watchdog (sd_watchdog_enabled's; by WATCHDOG_USEC=0 it says that it wants none any more),
DEPLOY_UPDATES and DEPLOY_HOLD (a file to lock, and one for a note, to hold updates up: see
`deploy.supervisor.updates`), and LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID if it has sockets
(sd_listen_fds').
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from deploy.supervisor import listening
from deploy.supervisor.cgroups import ENTER, Groups
from deploy.supervisor.environment import DEFAULT_PATH, base_environment
from deploy.supervisor.files import remove
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout, private
from deploy.supervisor.links import link_tree
from deploy.supervisor.logkeeper import LogKeeper
from deploy.supervisor.proc import is_child, online_cores, start_time
from deploy.supervisor.scheduling import Allowed, allowed, prefix
from deploy.supervisor.secrets import SecretMissing, Secrets
from deploy.unit import Unit

logger = logging.getLogger(__name__)

# Put between `setpriv` and a unit's command: if we died before `setpriv` had its say, nobody would
# tell the unit.
ORPHANED = 'test "$PPID" = "$0" && exec "$@"'

# Put before a unit's command when `setpriv` is missing: dies with its parent, becomes the unit.
MORTAL = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
ctypes.CDLL(None, use_errno=True).prctl(1, 9)
if os.getppid() != parent:
    sys.exit(1)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class SpawnFailed(Exception):
    """A unit's process could not be started; there is none."""


class Processes:
    """Starts units' processes and reaches them. `mortal`: they die with this process."""

    def __init__(
        self,
        layout: Layout,
        *,
        mortal: bool = False,
        groups: Optional[Groups] = None,
        logs: Optional[LogKeeper] = None,
    ) -> None:
        self.layout = layout
        self.mortal = mortal
        self._groups = groups
        self._logs = LogKeeper(layout) if logs is None else logs
        self._secrets = Secrets(layout)
        self._children: Dict[int, subprocess.Popen[bytes]] = {}
        self._allowed: Optional[Allowed] = None  # asked once some unit needs it

    def spawn(
        self,
        key: Key,
        unit: Unit,
        restarts: int,
        sockets: Sequence[int] = (),
        returns: Optional[float] = None,
        cores: Optional[Sequence[int]] = None,
    ) -> Tuple[int, int]:
        """Starts the unit and returns pid and start time. Raises SpawnFailed.

        `sockets` are listening, one for each of `unit.sockets`; the unit gets copies of them. It
        runs on `cores`, if others than its own are given.
        """
        try:
            return self._spawn(key, unit, restarts, sockets, returns, cores)
        except (OSError, SecretMissing) as error:
            raise SpawnFailed(f"cannot be started: {error}") from error

    def _spawn(
        self,
        key: Key,
        unit: Unit,
        restarts: int,
        sockets: Sequence[int],
        returns: Optional[float],
        cores: Optional[Sequence[int]],
    ) -> Tuple[int, int]:
        environment = self.environment(key, unit, restarts)
        environment["DEPLOY_RETURNS"] = "never" if returns is None else f"{returns:g}"
        argv = self.command(unit, environment, cores)
        entrance = self._entrance(key, unit)
        cwd = private(Path(unit.cwd))
        if unit.links is not None:
            link_tree(self.layout.store, self.layout.tree(unit.links), cwd)
        self._make_control(key)
        output = self._logs.open(key, unit)
        try:
            child: Union[int, subprocess.Popen[bytes]]
            if sockets:
                child = listening.start(
                    entrance,
                    argv,
                    cwd=str(cwd),
                    environment=environment,
                    output=output,
                    sockets=sockets,
                )
            else:
                child = subprocess.Popen(
                    [*entrance, *argv],
                    cwd=str(cwd),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        finally:
            os.close(output)
        if isinstance(child, int):
            return child, start_time(child) or 0
        self._children[child.pid] = child
        return child.pid, start_time(child.pid) or 0

    def command(
        self,
        unit: Unit,
        environment: Mapping[str, str],
        cores: Optional[Sequence[int]] = None,
    ) -> List[str]:
        """The unit's argv behind what pins it, has it scheduled as it asks for, and ties its life
        to ours. Raises SpawnFailed."""
        program = unit.argv[0]
        where = os.path.join(unit.cwd, program) if "/" in program else program
        if shutil.which(where, path=environment["PATH"]) is None:
            # in the unit's folder there may be a link to it that is not made yet
            linked = unit.links is not None and "/" in program
            tree = self.layout.tree(unit.links or "")
            if not linked or shutil.which(str(tree / program)) is None:
                raise SpawnFailed(f"{program!r} is not a program on this machine")
        argv = list(unit.argv)
        if self.mortal:
            parent = str(os.getpid())
            setpriv = shutil.which("setpriv", path=DEFAULT_PATH)
            if setpriv is not None:
                argv = [setpriv, "--pdeathsig", "KILL", "/bin/sh", "-c", ORPHANED, parent, *argv]
            else:
                argv = [sys.executable, "-I", "-S", "-c", MORTAL, parent, *argv]
        if unit.realtime is not None or unit.nice:
            if self._allowed is None:
                self._allowed = allowed()
            argv = [*prefix(unit, self._allowed, DEFAULT_PATH), *argv]
        cores = unit.cores if cores is None else cores
        if cores:
            lacking = sorted(set(cores) - online_cores())
            if lacking:
                raise SpawnFailed(
                    f"cores {lacking} are not on this machine; it has {sorted(online_cores())}"
                )
            taskset = shutil.which("taskset", path=DEFAULT_PATH)
            if taskset is None:
                raise SpawnFailed("cores are named but taskset is missing; install util-linux")
            argv = [taskset, "-c", ",".join(map(str, cores)), *argv]
        return argv

    def _entrance(self, key: Key, unit: Unit) -> List[str]:
        """What puts a unit into a control group of its own, if it needs one and we may make it."""
        if self._groups is None or not unit.memory:
            return []
        try:
            return ["/bin/sh", "-c", ENTER, str(self._groups.make(key, unit.memory))]
        except OSError as error:  # then somebody looks at what it uses
            logger.warning("%s: no control group for it: %s", key, error)
            return []

    def environment(self, key: Key, unit: Unit, restarts: int) -> Dict[str, str]:
        environment = base_environment()
        environment.update(unit.env)
        environment.update(self._secrets.environment(key.deployment, unit))
        environment.update(
            DEPLOY_UNIT=key.unit,
            DEPLOY_CONTROL=str(self.layout.control(*key)),
            NOTIFY_SOCKET=str(self.layout.notify(*key)),
            DEPLOY_RESTARTS=str(restarts),
            DEPLOY_FINGERPRINT=unit.fingerprint,
            DEPLOY_UPDATES=str(self.layout.updates),
            DEPLOY_HOLD=str(self.layout.hold(*key)),
        )
        if unit.reload is not None:
            environment["DEPLOY_RELOAD"] = unit.reload
        if unit.watchdog:
            environment["WATCHDOG_USEC"] = str(max(1, round(unit.watchdog * 1e6)))
        if unit.sockets:
            environment["LISTEN_FDS"] = str(len(unit.sockets))
            environment["LISTEN_FDNAMES"] = ":".join(socket.name for socket in unit.sockets)
        return environment

    def _make_control(self, key: Key) -> None:
        path = self.layout.control(*key)
        private(path.parent)
        remove(path)
        os.mkfifo(str(path), 0o600)

    def reload(self, key: Key, unit: Unit) -> bool:
        """Tells the unit's process what to take over; False when it cannot be told."""
        try:
            if unit.links is not None:
                link_tree(self.layout.store, self.layout.tree(unit.links), Path(unit.cwd))
        except OSError as error:
            logger.error("%s: its folder cannot be changed: %s", key, error)
            return False
        return self.tell(key, f"reload {unit.reload}")

    def tell(self, key: Key, line: str) -> bool:
        """Writes a line to the unit's control pipe; False when nobody listens there."""
        try:
            pipe = os.open(
                str(self.layout.control(*key)), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.ENOENT):
                # the unit's own doing, mostly, as the pipe is its to break
                logger.error("%s cannot be told %r: %s", key, line.partition(" ")[0], error)
            return False
        try:
            os.write(pipe, line.encode() + b"\n")
        except OSError:
            return False  # full of what nobody read, or closed meanwhile
        finally:
            os.close(pipe)
        return True

    def signal(self, pid: int, number: signal.Signals) -> None:
        """To the whole process group. A group that has gone is no error, nor is one that became
        another user's (by `sudo`): nothing can be done about that but to say so."""
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            logger.error("the processes of group %d are another user's, and not ours to end", pid)

    def finish(self, pid: int, start: int) -> Optional[int]:
        """Called when the process has ended: kills what is left of its group and reaps it.

        Returns subprocess's returncode, or None when it was not our child.
        """
        ours = is_child(pid)
        # An unreaped child keeps its number; of another's only a group whose leader's number was
        # not given to a new process meanwhile is surely the old one.
        if ours or start_time(pid) in (None, start):
            self.signal(pid, signal.SIGKILL)
        child = self._children.pop(pid, None)
        if child is not None:
            return child.wait()
        if not ours:
            return None
        try:
            status = os.waitpid(pid, 0)[1]
        except ChildProcessError:
            return None
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def clean(self, key: Key) -> None:
        """Removes the control pipe, the note of a hold and the control group of a unit that has no
        process."""
        if self._groups is not None:
            self._groups.remove(key)
        self._logs.finish(key, time.time())
        for path in (self.layout.control(*key), self.layout.hold(*key)):
            try:
                remove(path)
            except OSError as error:  # it would keep the unit from starting, which will say so
                logger.error("%s: %s stays: %s", key, path, error)

    def forget(self) -> None:
        """Leaves all children to whoever comes next; called right before this process ends."""
        for child in self._children.values():
            child.returncode = 0  # what its destructor would warn of is meant
        self._children.clear()
