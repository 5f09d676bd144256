"""The ways in which a machine can start the supervisor when it boots. Machine only; Python >= 3.8.

They ask for nothing: what needs a password is not possible.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Optional, Protocol, Sequence

from deploy.supervisor import autostart, files
from deploy.supervisor.autostart import CRON, SYSTEM, USER, Job
from deploy.supervisor.environment import DEFAULT_PATH, base_environment
from deploy.supervisor.files import remove
from deploy.supervisor.layout import private

Run = Callable[[Sequence[str], str], "subprocess.CompletedProcess[str]"]

WITHIN = 30.0  # seconds for one command
DAEMONS = ("cron", "crond")
NO_TABLE = ("no crontab", "no such file")  # of cron and cronie, of busybox
DAEMON_PIDS = ("run/crond.pid", "run/cron.pid")


class Impossible(Exception):
    """Why a way cannot be taken on this machine; nothing was changed."""


class Way(Protocol):
    """One way; `enable` and `disable` tell whether they changed something."""

    @property
    def name(self) -> str: ...

    def enabled(self) -> bool:
        """Whether the supervisor is started in this way. Raises OSError."""
        ...

    def check(self) -> None:
        """Raises Impossible, as far as that shows without trying."""
        ...

    def enable(self) -> bool:
        """Raises Impossible or OSError."""
        ...

    def start(self) -> bool:
        """Has the supervisor started now, as it would be at boot; False where this way has nobody
        who could, or they would not."""
        ...

    def disable(self) -> bool:
        """Removes what there is of it. Raises Impossible or OSError."""
        ...


class Systemd:
    """A unit of the system, run as our user: needs root, or sudo that asks for no password.

    Single commands, so that they can be allowed one by one. `systemctl` is how that is called.
    """

    name = SYSTEM

    def __init__(
        self,
        job: Job,
        root: Path,
        run: Run,
        folder: Path,
        *,
        uid: int,
        systemctl: Sequence[str] = ("systemctl",),
    ) -> None:
        self._job = job
        self._run = run
        self._systemctl = list(systemctl)
        self._system = root
        self._sudo = [] if uid == 0 else ["sudo", "-n"]
        self._folder = folder
        self._file = root / "etc/systemd/system" / job.service
        self._wanted = self._file.parent / "multi-user.target.wants" / job.service

    def enabled(self) -> bool:
        return _booted(self._system) and self._file.exists() and self._wanted.is_symlink()

    def check(self) -> None:
        _check_systemd(self._system)
        if self._sudo and not _has("sudo"):
            raise Impossible(f"{self._job.user} is not root, and there is no sudo")
        # whoever may do only what `enable` does may not do this, and need not
        if self._sudo and self._run([*self._sudo, "true"], "").returncode != 0:
            raise Impossible(f"{self._job.user} is not root, and sudo asks for a password")

    def enable(self) -> bool:
        _check_systemd(self._system)
        if self.enabled() and _read(self._file) == autostart.system_unit(self._job):
            return False
        if self._sudo and not _has("sudo"):
            raise Impossible(f"{self._job.user} is not root, and there is no sudo")
        text = self._folder / self._job.service
        files.write(text, autostart.system_unit(self._job).encode())
        try:
            self._do("install", "-D", "-m", "644", str(text), str(self._file))
        finally:
            remove(text)
        _sync(self._file)
        try:
            self._do(*self._systemctl, "enable", self._job.service)
        except Impossible:
            self._do("rm", "-f", str(self._file))
            raise
        return True

    def start(self) -> bool:
        argv = [*self._sudo, *self._systemctl, "start", self._job.service]
        return self.enabled() and self._run(argv, "").returncode == 0

    def disable(self) -> bool:
        if not self._file.exists() and not self._wanted.is_symlink():
            return False
        self._do(*self._systemctl, "disable", self._job.service)
        self._do("rm", "-f", str(self._file))
        return True

    def _do(self, *argv: str) -> None:
        _done(self._run([*self._sudo, *argv], ""), argv)


class UserSystemd:
    """A unit of the user's own systemd, which lingers: it is there without a login."""

    name = USER

    def __init__(self, job: Job, root: Path, run: Run, home: Path) -> None:
        self._job = job
        self._run = run
        self._system = root
        self._file = home / ".config/systemd/user" / job.service
        self._wanted = self._file.parent / "default.target.wants" / job.service
        self._lingers = root / "var/lib/systemd/linger" / job.user

    def enabled(self) -> bool:
        there = self._file.exists() and self._wanted.is_symlink()
        return _booted(self._system) and there and self._lingers.exists()

    def check(self) -> None:
        _check_systemd(self._system)
        if not _has("loginctl"):
            raise Impossible("there is no loginctl, so no user's systemd can linger")

    def enable(self) -> bool:
        if self.enabled() and _read(self._file) == autostart.user_unit(self._job):
            return False
        self.check()
        if not self._lingers.exists():
            argv = ["loginctl", "--no-ask-password", "enable-linger", self._job.user]
            _done(self._run(argv, ""), argv)
        private(self._wanted.parent)
        files.write(self._file, autostart.user_unit(self._job).encode())
        files.link(self._wanted, str(self._file))
        self._reload()
        return True

    def start(self) -> bool:
        argv = ["systemctl", "--user", "start", self._job.service]
        return self.enabled() and self._run(argv, "").returncode == 0

    def disable(self) -> bool:
        """The user goes on to linger: somebody else may rely on that."""
        if not self._file.exists() and not self._wanted.is_symlink():
            return False
        remove(self._wanted)
        remove(self._file)
        files.sync_folder(self._file.parent)
        self._reload()
        return True

    def _reload(self) -> None:
        # Only so that it is told of at once: at boot all is read anew, and none may run now.
        self._run(["systemctl", "--user", "daemon-reload"], "")


class Cron:
    """A line of the user's table."""

    name = CRON

    def __init__(self, job: Job, root: Path, run: Run) -> None:
        self._job = job
        self._run = run
        self._system = root

    def enabled(self) -> bool:
        try:
            table = self._table()
        except Impossible:
            return False
        there = autostart.crontab_without(table, self._job) != table
        return there and _runs(self._system, DAEMONS, DAEMON_PIDS)

    def check(self) -> None:
        if not _has("crontab"):
            raise Impossible("there is no crontab")
        if not _runs(self._system, DAEMONS, DAEMON_PIDS):
            raise Impossible("no cron runs")

    def enable(self) -> bool:
        self.check()
        table = self._table()
        return self._write(table, autostart.crontab_with(table, self._job))

    def start(self) -> bool:
        return False

    def disable(self) -> bool:
        if not _has("crontab"):
            return False
        table = self._table()
        return self._write(table, autostart.crontab_without(table, self._job))

    def _table(self) -> str:
        """ "" where there is none. Raises Impossible where it cannot be read: what is written
        replaces all of it, and the user's own lines are not ours to lose."""
        if not _has("crontab"):
            return ""
        done = self._run(["crontab", "-l"], "")
        if done.returncode != 0 and not any(it in done.stderr.lower() for it in NO_TABLE):
            _done(done, ["crontab"])
        return done.stdout if done.returncode == 0 else ""

    def _write(self, before: str, after: str) -> bool:
        if after == before:
            return False
        argv = ["crontab", "-"] if after else ["crontab", "-r"]
        _done(self._run(argv, after), argv)
        return True


def run(argv: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
    """Where there is no such program, or it takes too long, that is its stderr; status 127."""
    environment = {**base_environment(), "PATH": DEFAULT_PATH, "LC_ALL": "C"}
    environment["XDG_RUNTIME_DIR"] = f"/run/user/{os.getuid()}"
    try:
        return subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(list(argv), 127, "", str(error))


def _booted(root: Path) -> bool:
    """Whether systemd did."""
    return (root / "run/systemd/system").is_dir()


def _check_systemd(root: Path) -> None:
    if not _booted(root):
        raise Impossible("this machine was not booted by systemd")


def _done(result: subprocess.CompletedProcess[str], argv: Sequence[str]) -> None:
    if result.returncode != 0:
        said = (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]
        words = [it for it in argv if it[0] != "-" and it.replace("-", "").isalpha()]
        raise Impossible(f"`{' '.join(words[:2])}` failed: {said}")


def _has(program: str) -> bool:
    return shutil.which(program, path=DEFAULT_PATH) is not None


def _runs(root: Path, names: Sequence[str], pids: Sequence[str]) -> bool:
    """Whether such a daemon does; where others' processes are hidden, its note counts."""
    if any((root / path).exists() for path in pids):
        return True
    for path in (root / "proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() in names:
                return True
        except OSError:
            continue  # it ended meanwhile
    return False


def _read(path: Path) -> Optional[str]:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _sync(path: Path) -> None:
    descriptor = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
