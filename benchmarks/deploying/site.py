"""What is deployed, and where to: the files on this machine, four hosts of the test LAN."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from tests.lan.bench import Lan

HOSTS = 4
FILES = 60
CHANGED = 2000  # bytes of the file that changes
USER = "robot"
NODES = Path(__file__).parents[1] / "nodes"
PATIENCE = 120.0  # seconds until a process that was started must have said so

SSH_CONFIG = """\
Host *
  User {user}
  IdentityFile {identity}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
"""


class SiteError(Exception):
    """A deployer did not do what it was to do."""


class Site:
    """`app`, in `project`, holds the 60 files, about 250 kB; `version` is what the processes are to
    say. `folder` is for what the deployers need beside that."""

    def __init__(self, lan: Lan, folder: Path) -> None:
        self.lan = lan
        self.folder = folder
        self.project = folder / "project"
        self.app = self.project / "app"
        self.ssh_config = folder / "ssh_config"
        self.version = ""
        self._random = random.Random(0)
        (self.app / "data").mkdir(parents=True)
        text = SSH_CONFIG.format(user=USER, identity=lan.identity, known_hosts=lan.known_hosts)
        self.ssh_config.write_text(text)

    @property
    def hosts(self) -> list[str]:
        return [self.lan.address(i) for i in self.lan.robots]

    def renew(self) -> None:
        """All files have another content than ever before."""
        for name in ("deployed.py", "restart.sh"):
            text = (NODES / name).read_text()
            (self.app / name).write_text(f"{text}# {self._random.random()}\n")
        for number in range(FILES - 3):
            size = self._random.choice((500, 2000, 4000, 6000, 9000))
            (self.app / "data" / f"{number}.bin").write_bytes(self._random.randbytes(size))
        self.change()

    def change(self) -> None:
        """One file changes, as an editor saves it: whole."""
        self.version = f"{self._random.getrandbits(64):016x}"
        filler = self._random.randbytes(CHANGED).hex()
        self._save(f"{self.version}\n{filler}"[:CHANGED])

    def save_again(self) -> None:
        """The same file is saved with the content and the time that it has."""
        settings = self.app / "settings.txt"
        before = settings.stat()
        self._save(settings.read_text())
        os.utime(settings, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _save(self, text: str) -> None:
        fresh = self.folder / "settings.new"
        fresh.write_text(text)
        fresh.replace(self.app / "settings.txt")

    def runs(self) -> float:
        """When the last of the processes that read the newest settings said so (epoch).
        Raises SiteError."""
        return max(self._said(i) for i in self.lan.robots)

    def start_alone(self) -> float:
        """Seconds from starting the program on all hosts until it runs there, with nobody
        deploying it: the least that any deployer can take for a restart."""
        self.renew()
        for i in self.lan.robots:
            target = self.lan.path(i, f"/home/{USER}/alone")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(self.app, target)
        programs = [f"/home/{USER}/alone/deployed.py"]
        began = time.time()
        started = [
            subprocess.Popen(self.lan.enter(i, ["python3", *programs], USER))
            for i in self.lan.robots
        ]
        took = self.runs() - began
        for process in started:
            process.kill()
            process.wait()
        return took

    def _said(self, i: int) -> float:
        mark = self.lan.path(i, f"/home/{USER}/mark")
        end = time.monotonic() + PATIENCE
        while True:
            words = mark.read_text().split() if mark.exists() else []
            if words[:1] == [self.version]:
                return float(words[1])
            if time.monotonic() > end:
                raise SiteError(f"{self.lan.name(i)} does not run the new version")
            time.sleep(0.02)

    def forget(self, name: str) -> None:
        """Ends what a peer started in `~/name` on the hosts, and removes it."""
        for i in self.lan.robots:
            home = self.lan.path(i, f"/home/{USER}/{name}")
            if (home / "pid").exists():
                self.lan.kill(i, int((home / "pid").read_text()))
            shutil.rmtree(home, ignore_errors=True)
