"""A control group for each unit whose memory is limited. Machine only; Python >= 3.8.

Where we may make one: version 2, or version 1 where the kernel has the memory controller there.
Root makes its groups below the hierarchy's root; others below their own group, if it was delegated
to them (a systemd service with `Delegate=yes`). Everywhere else there are none, and
`deploy.supervisor.usage` looks at the processes instead.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Dict, Mapping, Optional, Set, Tuple

from deploy.supervisor.key import Key
from deploy.supervisor.usage import oom_kills

log = logging.getLogger(__name__)

# Put before a unit's command: enters the group named first. Without it the unit runs all the same.
ENTER = '{ echo $$ > "$0"; } 2>/dev/null; exec "$@"'

Counters = Mapping[str, int]


class Groups:
    """The groups below `base`, a folder of the hierarchy that is made when it is needed. `version`
    is 1 or 2. `aside` is a group to which we go first, so that `base`'s parent has no processes.
    """

    def __init__(self, base: Path, version: int, *, aside: Optional[Path] = None) -> None:
        self.base = base
        self.version = version
        self._aside = aside
        self._before: Dict[Key, Counters] = {}
        self._left: Set[Path] = set()  # could not be removed yet

    def __repr__(self) -> str:
        return f"<Groups {self.base} v{self.version}>"

    def path(self, key: Key) -> Path:
        return self.base / hashlib.sha256(str(key).encode()).hexdigest()[:16]

    def make(self, key: Key, limit: int) -> Path:
        """A group with that limit in bytes; the file to which a process that enters it writes its
        pid. Raises OSError."""
        path = self.path(key)
        self._prepare()
        path.mkdir(exist_ok=True)
        self._left.discard(path)
        if self.version == 2:
            _write(path / "memory.max", str(limit))
            _write_if_there(path / "memory.swap.max", "0")
            _write_if_there(path / "memory.oom.group", "1")
        else:
            # a limit with swap may never be below the one without
            _write_if_there(path / "memory.memsw.limit_in_bytes", "-1")
            _write(path / "memory.limit_in_bytes", str(limit))
            _write_if_there(path / "memory.memsw.limit_in_bytes", str(limit))
            _write_if_there(path / "memory.max_usage_in_bytes", "0")
        self._before[key] = self._counters(key)
        return path / "cgroup.procs"

    def has(self, key: Key, pid: int) -> bool:
        """Whether the process is in the unit's group, so that the kernel keeps its limit."""
        try:
            return str(pid) in (self.path(key) / "cgroup.procs").read_text().split()
        except OSError:
            return False

    def known(self, key: Key) -> bool:
        """Whether the unit has a group."""
        return self.path(key).is_dir()

    def peak(self, key: Key) -> Optional[int]:
        """The most bytes that were in use at once; None if the kernel does not tell."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        try:
            return int((self.path(key) / name).read_text())
        except (OSError, ValueError):
            return None

    def killed(self, key: Key) -> Optional[str]:
        """Whether the kernel has killed a process of the group since it was made: `memory` for the
        group's own limit, `oom` because there was none left elsewhere. Where only the kills of the
        whole machine are counted, one of those will do."""
        counters = self._counters(key)
        before = self._before.setdefault(key, counters)  # of one that another supervisor made
        grown = {name for name, count in counters.items() if count > before.get(name, 0)}
        if "oom_kill" not in grown:
            return None
        return "memory" if "reached" in grown else "oom"

    def remove(self, key: Key) -> None:
        """The unit has no process any more. What cannot be removed yet is tried again."""
        self._before.pop(key, None)
        self._left.add(self.path(key))
        self.sweep()

    def sweep(self) -> None:
        """Removes groups whose last process has gone meanwhile."""
        self._left = {path for path in self._left if not _removed(path)}

    def close(self) -> None:
        """Removes the folder of all groups if none is left."""
        self.sweep()
        _removed(self.base)

    def _prepare(self) -> None:
        if self._aside is not None:
            self._aside.mkdir(exist_ok=True)
            _write(self._aside / "cgroup.procs", str(os.getpid()))
        if self.version == 2 and "memory" not in _words(self._share):
            _write(self._share, "+memory")
        self.base.mkdir(exist_ok=True)
        if self.version == 2:
            _write(self.base / "cgroup.subtree_control", "+memory")

    @property
    def _share(self) -> Path:
        """Which controllers the groups beside `base` have."""
        return self.base.parent / "cgroup.subtree_control"

    def _counters(self, key: Key) -> Counters:
        path = self.path(key)
        if self.version == 2:
            events = _numbers(path / "memory.events")
            return {"reached": events.get("oom", 0), "oom_kill": events.get("oom_kill", 0)}
        # counters of failures are not kept by every kernel, the highest use and the limit are
        limit = _number(path / "memory.limit_in_bytes")
        reached = int(0 < limit <= _number(path / "memory.max_usage_in_bytes"))
        kills = _numbers(path / "memory.oom_control").get("oom_kill")  # not of every kernel
        return {"reached": reached, "oom_kill": oom_kills() if kills is None else kills}


def find(root: Path, *, uid: Optional[int] = None) -> Optional[Groups]:
    """The groups of the supervisor of `root`; None where we may make none."""
    name = "dora-" + hashlib.sha256(os.fsencode(str(root))).hexdigest()[:8]
    is_root = (os.getuid() if uid is None else uid) == 0
    try:
        mount, version = hierarchy(Path("/proc/mounts").read_text())
        own = Path("/proc/self/cgroup").read_text()
    except OSError as error:
        log.info("no control groups: %s", error)
        return None
    if mount is None:
        return None
    if is_root:
        return Groups(mount / name, version)
    return delegated(mount, own, name) if version == 2 else None


def hierarchy(mounts: str) -> Tuple[Optional[Path], int]:
    """Where the memory controller's groups are, and the version of control groups."""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        where, kind, options = Path(fields[1]), fields[2], fields[3].split(",")
        if kind == "cgroup" and "memory" in options:
            return where, 1
        if kind == "cgroup2" and "memory" in _words(where / "cgroup.controllers"):
            return where, 2
    return None, 0


def delegated(mount: Path, own: str, name: str) -> Optional[Groups]:
    """Below our own group, if it is ours to divide; `own` is /proc/self/cgroup."""
    paths = [line[len("0::/") :] for line in own.splitlines() if line.startswith("0::/")]
    if not paths:
        return None
    group = mount / paths[0]
    if group.name == "supervisor":  # we have gone aside before
        group = group.parent
    if not os.access(str(group / "cgroup.subtree_control"), os.W_OK):
        return None
    if "memory" not in _words(group / "cgroup.controllers"):
        return None
    return Groups(group / name, 2, aside=group / "supervisor")


def _words(path: Path) -> Set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


def _numbers(path: Path) -> Dict[str, int]:
    """The lines `name number` of a file; {} if it is not there."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = [line.split() for line in lines]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(path: Path) -> int:
    """0 if the file is not there."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)


def _write_if_there(path: Path, text: str) -> None:
    """For what not every kernel has, or not every one lets us set."""
    if path.exists():
        try:
            _write(path, text)
        except OSError as error:
            log.debug("%s stays as it is: %s", path, error)


def _removed(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # there are processes in it
    return True
