"""One robot of the interruption test: what its disk and its processes say, and what befalls it.

Runs on the test's machine and looks at the robot past SSH, so that it sees what is, not what is
told. The robot's store lies on a small filesystem of its own, which can be filled.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.generation import Generation
from deploy.store.collect import closures
from deploy.store.durable import PREFIX
from deploy.store.local import LocalStore
from deploy.supervisor.deployments import Deployments
from deploy.supervisor.layout import Layout
from deploy.supervisor.storekeeper import COMM
from tests.lan.bench import Lan
from tests.lan.disk import ROBOT_UID

DISK = "800m"
FILLER = "filler"


@dataclass(frozen=True)
class Task:
    """A process of the robot. `unit` and `fingerprint` are its supervisor's words for it."""

    pid: int
    leads: bool  # its session
    name: str
    command: str
    unit: str
    fingerprint: str

    @property
    def is_supervisor(self) -> bool:
        return " supervise" in self.command and not self.unit and self.name != COMM

    @property
    def serves_a_store(self) -> bool:
        return " store session" in self.command or self.name == COMM

    @property
    def serves_ssh(self) -> bool:
        return self.command.startswith("sshd: robot@")

    @property
    def is_sshd(self) -> bool:
        return self.command.startswith(("sshd:", "/usr/sbin/sshd"))


@dataclass(frozen=True)
class Disk:
    """What the disk says of the deployment at one moment."""

    current: int | None
    booted: int | None
    pending: int | None
    newest: int
    generations: int
    trees: int
    scratch: bool  # something is being put into the store, or taken out


class Robot:
    """`root` is the store's root, as the robot names it."""

    def __init__(
        self, lan: Lan, number: int, name: str, root: str, deployment: str, disk: Path | None
    ) -> None:
        """`disk` is a block device of the test's machine; None: a filesystem in memory."""
        self._lan = lan
        self._number = number
        self.name = name
        self.root = root
        self.deployment = deployment
        lan.run(number, ["mkdir", "-p", root], user="robot")
        if disk is None:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", root]
        else:
            device = disk.stat().st_rdev
            numbers = [str(os.major(device)), str(os.minor(device))]
            lan.run(number, ["mknod", "/dev/disk", "b", *numbers])
            mount = ["mount", "/dev/disk", root]
        lan.run(number, mount)
        lan.run(number, ["chown", "robot:robot", root])
        lan.run(number, ["chmod", "700", root])
        self.here = lan.inside(number, root)
        self.deployments = Deployments(Layout(str(self.here)))
        self.store = LocalStore(str(self.here))

    def __repr__(self) -> str:
        return f"<Robot {self.name}>"

    # the disk

    def disk(self) -> Disk:
        pending = self.deployments.pending(self.deployment)
        numbers = self.deployments.numbers(self.deployment)
        trees, objects = (self._names(f"store/{it}") for it in ("trees", "objects"))
        return Disk(
            current=self.deployments.current(self.deployment),
            booted=self.deployments.booted(self.deployment),
            pending=None if pending is None else pending.number,
            newest=max(numbers, default=0),
            generations=len(numbers),
            trees=sum(not name.endswith(".json") for name in trees),
            scratch=any(name.startswith(PREFIX) for name in (*trees, *objects)),
        )

    def generation(self) -> Generation | None:
        """The current one, whole. Raises Unreadable."""
        return self.deployments.generation(self.deployment)

    def store_lacks(self, trees: Iterable[str]) -> list[str]:
        return self.store.missing_trees(trees)

    def lines(self, unit: str) -> list[str]:
        """What the unit said lately."""
        log = self.here / "logs" / self.deployment / f"{unit}.log"
        return log.read_text(errors="replace").splitlines()[-200:] if log.exists() else []

    def supervisor_log(self) -> str:
        run = Layout(self.root, uid=ROBOT_UID).run
        log = self._lan.inside(self._number, str(run / "supervisor.log"))
        return "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else ""

    def leftovers(self) -> list[str]:
        """What lies below the root and is needed by nobody, after a collection."""
        needed = closures(str(self.here))
        trees = set(self.store.trees())
        found = [f"store/trees/{name}" for name in trees - needed]
        used = {digest for name in trees for digest in self.store.manifest(name).objects}
        found += [f"store/objects/{digest}" for digest in set(self.store.objects()) - used]
        manifests = {name for name in self._names("store/trees") if name.endswith(".json")}
        found += [f"store/trees/{name}" for name in manifests - {f"{it}.json" for it in trees}]
        agents = [name for name in self._names("agent") if not name.startswith(".")]
        found += [f"agent/{name}" for name in agents[1:]]
        return sorted([*found, *self._temporary()])

    def _temporary(self) -> Iterator[str]:
        for folder, folders, names in os.walk(self.here):
            for name in (*folders, *names):
                if name.startswith(PREFIX) or (name.startswith(".") and name.endswith(".tmp")):
                    yield str((Path(folder) / name).relative_to(self.here))

    def _names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self.here / folder)
        except FileNotFoundError:
            return []

    # processes

    def tasks(self) -> list[Task]:
        """All but the first process and the listening sshd's."""
        found = []
        proc = self._lan.inside(self._number, "/proc")
        for process in self._lan.processes(self._number):
            try:
                environ = (proc / str(process.pid) / "environ").read_bytes().split(b"\0")
                before, _, rest = (proc / str(process.pid) / "stat").read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended meanwhile
            values = dict(it.decode(errors="replace").partition("=")[::2] for it in environ)
            found.append(
                Task(
                    pid=process.pid,
                    leads=int(rest.split()[3]) == process.pid,
                    name=before.partition("(")[2],
                    command=process.command,
                    unit=values.get("DEPLOY_UNIT", ""),
                    fingerprint=values.get("DEPLOY_FINGERPRINT", ""),
                )
            )
        return found

    def units(self) -> dict[str, list[Task]]:
        """Unit -> its processes, one if all is well (what they started is left out)."""
        found: dict[str, list[Task]] = {}
        for task in self.tasks():
            if task.unit and task.leads:
                found.setdefault(task.unit, []).append(task)
        return found

    @property
    def supervised(self) -> bool:
        return any(task.is_supervisor for task in self.tasks())

    # what befalls it

    def kill(self, task: Task) -> None:
        """SIGKILL, within microseconds; nothing happens if it has ended."""
        try:
            folder = os.open(self._lan.inside(self._number, f"/proc/{task.pid}"), os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            signal.pidfd_send_signal(folder, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(folder)

    def fill(self, left: int) -> None:
        """Leaves `left` bytes of free space, or what there is if that is less."""
        room = os.statvfs(self.here)
        size = room.f_bavail * room.f_frsize - left
        with (self.here / FILLER).open("ab") as file:
            if size <= 0:
                return
            try:
                os.posix_fallocate(file.fileno(), file.tell(), size)
            except OSError as error:  # somebody else was writing, too
                if error.errno != errno.ENOSPC:
                    raise

    def empty(self) -> None:
        (self.here / FILLER).unlink(missing_ok=True)
