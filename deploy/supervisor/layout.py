"""Where everything lies below a machine's root. Machine only; standard library, Python >= 3.8.

Paths and the rights of folders, nothing else: what is in the files is told by those who write them.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Optional

DEFAULT_ROOT = "~/.local/share/dora"
LONGEST_ROOT = 50  # bytes; sun_path holds 108 and the names below `run` need the rest
AGENT_HASH = re.compile(r"[0-9a-f]{64}\Z")


class UnsafeFolder(Exception):
    """A folder that must be private to us is not ours, or is a link; nothing was written to it."""


class Layout:
    """The paths below one root. Making a Layout touches nothing."""

    def __init__(self, root: str, *, uid: Optional[int] = None) -> None:
        self.root = Path(os.path.abspath(os.path.expanduser(root)))
        encoded = os.fsencode(str(self.root))
        if len(encoded) < LONGEST_ROOT:
            self.run = self.root / "run"
        else:
            digest = hashlib.sha256(encoded).hexdigest()[:8]
            self.run = Path(f"/tmp/dora-{os.getuid() if uid is None else uid}-{digest}")

    def __repr__(self) -> str:
        return f"<Layout {self.root} run={self.run}>"

    # the store (written by deploy.store)
    @property
    def store(self) -> Path:
        return self.root / "store"

    def tree(self, name: str) -> Path:
        return self.store / "trees" / name

    # deployments
    @property
    def deployments(self) -> Path:
        return self.root / "deployments"

    def deployment(self, name: str) -> Path:
        return self.deployments / name

    def generations(self, deployment: str) -> Path:
        return self.deployment(deployment) / "generations"

    def current(self, deployment: str) -> Path:
        return self.deployment(deployment) / "current"

    def booted(self, deployment: str) -> Path:
        """The link to the generation that was confirmed last."""
        return self.deployment(deployment) / "booted"

    def pending(self, deployment: str) -> Path:
        """The note of a generation that is on trial."""
        return self.deployment(deployment) / "pending.json"

    def documents(self, deployment: str) -> Path:
        return self.deployment(deployment) / "documents"

    def secrets(self, deployment: str) -> Path:
        return self.root / "secrets" / deployment

    @property
    def paused(self) -> Path:
        """The note that somebody paused this machine; it survives a reboot."""
        return self.root / "paused.json"

    @property
    def metrics(self) -> Path:
        """Where this machine's figures are served, if anywhere; it survives a reboot."""
        return self.root / "metrics.json"

    # units
    def state(self, deployment: str, unit: str) -> Path:
        return self.root / "state" / deployment / unit

    def logs(self, deployment: str) -> Path:
        return self.root / "logs" / deployment

    def log(self, deployment: str, unit: str) -> Path:
        return self.logs(deployment) / f"{unit}.log"

    def unit_run(self, deployment: str) -> Path:
        return self.run / deployment

    def control(self, deployment: str, unit: str) -> Path:
        """The FIFO on which a unit is asked to leave."""
        return self.unit_run(deployment) / f"{unit}.control"

    def hold(self, deployment: str, unit: str) -> Path:
        """The note of a unit that holds updates up."""
        return self.unit_run(deployment) / f"{unit}.hold"

    @property
    def updates(self) -> Path:
        """The lock between those who switch and those who must not be disturbed."""
        return self.run / "updates.lock"

    @property
    def leases(self) -> Path:
        """When this machine was heard of last, by deployments."""
        return self.run / "leases.json"

    @property
    def notifications(self) -> Path:
        return self.run / ".notify"

    def notify(self, deployment: str, unit: str) -> Path:
        """The socket for a unit's sd_notify messages: hashed, since names may be 63 bytes each."""
        digest = hashlib.sha256(f"{deployment}/{unit}".encode()).hexdigest()[:16]
        return self.notifications / digest

    # the supervisor itself
    @property
    def launcher(self) -> Path:
        """What is run when the machine boots, if anything is; it outlives all agents."""
        return self.root / "start"

    @property
    def agents(self) -> Path:
        return self.root / "agent"

    def agent(self, digest: str) -> Path:
        return self.agents / digest

    @property
    def socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def lock(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def journal(self) -> Path:
        return self.run / "units.json"

    @property
    def supervisor_log(self) -> Path:
        return self.run / "supervisor.log"

    def prepare(self) -> None:
        """Creates root and run. Raises UnsafeFolder when `run` is not private to this user."""
        private(self.root)
        private(self.run)
        check_private(self.run)


def private(path: Path) -> Path:
    """`path` as a folder; those that are missing are made with mode 0700. Raises OSError."""
    missing = []
    folder = path
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir():
                raise
    return path


def check_private(path: Path, *, uid: Optional[int] = None) -> None:
    """Raises UnsafeFolder unless `path` is a folder of ours that nobody else may enter."""
    found = os.lstat(path)
    owner = os.getuid() if uid is None else uid
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{path} is not a folder but a link or a file; remove it")
    if found.st_uid != owner:
        raise UnsafeFolder(f"{path} belongs to user {found.st_uid}, not to {owner}; remove it")
    if found.st_mode & 0o077:
        raise UnsafeFolder(
            f"{path} may be entered by others (mode {stat.S_IMODE(found.st_mode):o}); "
            f"look who made it, then: chmod 700 {path}"
        )
