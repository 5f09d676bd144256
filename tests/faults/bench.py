"""The bench of the fault table: three robots that talk to all, and what one can ask of them.

Robot 1's store lies on a small filesystem, which can be filled; robot 2 is what most faults befall;
robot 3 has a wall clock of its own.
"""

from __future__ import annotations

import errno
import grp
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.faults import project
from tests.faults.clock import Clock
from tests.faults.follower import Follower, Row
from tests.faults.tapes import Edge, Tapes
from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, wait_until

FULL, VICTIM, CLOCKED = 1, 2, 3
STORE = "/opt/dora"  # of robot 1
DISK = "800m"
PAM = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
PATIENCE = 60.0  # seconds
SETTLED = 1.0  # seconds


class Bench:
    """Ready: everything is deployed and flows. `watch` is a `dora attach` that goes on."""

    def __init__(self, lan: Lan, fleet: Fleet, flow: Path) -> None:
        self.lan = lan
        self.fleet = fleet
        self.flow = flow
        self.clock = Clock(lan, CLOCKED)
        self._small_disk()
        fleet.deploy(flow)
        self.tapes = Tapes({i: lan.path(i, project.TAPES) for i in lan.robots})
        self.watch = Follower(fleet, "attach", project.NAME)

    def _small_disk(self) -> None:
        self.lan.run(FULL, ["mkdir", "-p", STORE])
        self.lan.run(FULL, ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", STORE])
        self.lan.run(FULL, ["chown", "robot:robot", STORE])
        self.lan.run(FULL, ["chmod", "700", STORE])

    # edges

    @property
    def edges(self) -> list[Edge]:
        return self.tapes.edges

    def touching(self, robot: int, kind: str = "") -> list[Edge]:
        return [it for it in self.edges if it.touches(robot) and kind in it.kind]

    def others(self, robot: int) -> list[Edge]:
        """All but those that go over that robot's link."""
        return [it for it in self.edges if not it.touches(robot)]

    def flowing(self, edges: Iterable[Edge] = (), after: float | None = None) -> dict[Edge, float]:
        """When on each edge (of all, unless told) the first message came that was sent `after`
        (now); waits for that."""
        after = time.monotonic() if after is None else after
        left, found = set(edges or self.edges), dict[Edge, float]()

        def all_of_them() -> bool:
            self.tapes.read()
            for edge in list(left):
                at = self.tapes.arrival(edge, after)
                if at is not None:
                    found[edge] = at
                    left.discard(edge)
            return not left

        try:
            wait_until(all_of_them, "messages on all edges", PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {', '.join(sorted(map(str, left)))}") from None
        return found

    def calm(self) -> float:
        """Waits until everything runs and flows, and has lost nothing for a second: routers that
        have just found each other may still change their ways. Since when that is so."""
        wait_until(lambda: len(self.pids()) == 9, "all units run", PATIENCE)
        self.flowing()
        wait_until(self._whole, "nothing is lost for a second", PATIENCE)
        return time.monotonic()

    def _whole(self) -> bool:
        begin = time.monotonic()
        time.sleep(SETTLED)
        end = time.monotonic()
        self.flowing(after=end)
        return 0 == self.tapes.count(self.edges, begin, end).lost

    # machines

    def name(self, robot: int) -> str:
        return self.lan.name(robot)

    def pids(self) -> dict[str, int]:
        """Unit@robot -> pid there, seen past SSH and supervisor; of what leads its session."""
        found = {}
        for i in self.lan.robots:
            proc = self.lan.inside(i, "/proc")
            for process in self.lan.processes(i):
                try:
                    environ = (proc / str(process.pid) / "environ").read_bytes().split(b"\0")
                    stat = (proc / str(process.pid) / "stat").read_text().rpartition(")")[2]
                except (FileNotFoundError, ProcessLookupError):
                    continue  # ended meanwhile
                values = dict(it.decode(errors="replace").partition("=")[::2] for it in environ)
                if "DEPLOY_UNIT" in values and int(stat.split()[3]) == process.pid:
                    found[f"{values['DEPLOY_UNIT']}@{i}"] = process.pid
        return found

    def supervisor(self, robot: int) -> int | None:
        units = {pid for unit, pid in self.pids().items() if unit.endswith(f"@{robot}")}
        found = [
            it.pid
            for it in self.lan.processes(robot)
            if " supervise" in it.command and it.pid not in units
        ]
        return min(found, default=None)

    def kill(self, robot: int, pid: int) -> float:
        """kill -9; just before what time. Without a process of ours in between, which would take
        its time; on a busy machine others may have heard of it before we run again."""
        process = os.open(self.lan.inside(robot, f"/proc/{pid}"), os.O_RDONLY)
        try:
            at = time.monotonic()
            signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)
        return at

    def fill(self) -> None:
        """Robot 1's disk, to its last byte."""
        folder = self.lan.inside(FULL, STORE)
        with (folder / "filler").open("ab") as file:
            while size := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                except OSError as error:  # somebody else was writing, too
                    if error.errno != errno.ENOSPC:
                        raise
                file.seek(0, os.SEEK_END)

    def empty(self) -> None:
        (self.lan.inside(FULL, STORE) / "filler").unlink(missing_ok=True)

    def boots(self, robot: int) -> None:
        """From now on its cron starts what was confirmed."""
        if self.lan.path(robot, "/etc/pam.d").exists():
            return  # its disk has what Debian's cron needs
        gid = grp.getgrnam("crontab").gr_gid
        with self.lan.path(robot, "/etc/group").open("a") as group:
            group.write(f"crontab:x:{gid}:\n")
        self.lan.path(robot, "/etc/pam.d").mkdir()
        self.lan.path(robot, "/etc/pam.d/cron").write_text(PAM)
        self.lan.path(robot, "/var/run").symlink_to("/run")
        spool = self.lan.path(robot, "/var/spool/cron/crontabs")
        os.chown(spool, 0, gid)
        spool.chmod(0o1730)
        self.lan.run(robot, ["/usr/sbin/cron"])
        self.fleet.dora("machines", "boot", "enable", self.name(robot))

    # what is said

    def status(self, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.fleet.json("status", project.NAME, code=code)
        return found

    def ask(self) -> tuple[int, dict[str, Any]]:
        """`dora status`, however it ends."""
        done = subprocess.run(
            self.fleet.command("status", project.NAME, "--json"),
            env=self.fleet.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    def linked(self, robot: int, link: str, since: float) -> float:
        """When the watch said that the robot's link is `up`, or `unknown`; waits for that."""
        wanted = {"machine": self.name(robot), "link": link}
        return self.watch.first(lambda row: wanted.items() <= row.items(), since)

    def unit(self, name: str, robot: int, state: str, since: float) -> float:
        """When the watch said that the unit is in that state; waits for that."""
        wanted = {"machine": self.name(robot), "node": name, "state": state}
        return self.watch.first(lambda row: wanted.items() <= row.items(), since)

    def change(self, name: str, robot: int, pid: int, since: float) -> float:
        """When the watch first said anything of the unit but that the process `pid` runs; waits
        for that."""
        wanted = {"machine": self.name(robot), "node": name}

        def changed(row: Row) -> bool:
            return _states(row, wanted) and (row["state"], row["pid"]) != ("running", pid)

        return self.watch.first(changed, since)

    def event(self, type: str, id: str | None, node: str, since: float) -> float:
        """When the node had that event; waits for that."""

        def found() -> list[float]:
            self.tapes.read()
            return [it.at for it in self.tapes.told(type, id, since) if it.node == node]

        wait_until(found, f"{node} hears {type} {id or ''}", PATIENCE)
        return found()[0]


def states(status: Mapping[str, Any]) -> dict[str, set[str]]:
    """Machine -> the states of what it runs."""
    found: dict[str, set[str]] = {}
    for row in (*status["nodes"], *status["routers"]):
        found.setdefault(row["machine"], set()).add(row["state"])
    return found


def _states(row: Row, wanted: Row) -> bool:
    """Tells of a unit's state, not a line that it printed."""
    return "state" in row and wanted.items() <= row.items()


def is_link(row: Row) -> bool:
    return "link" in row


@contextmanager
def fault_bench(folder: Path, cache: Path, *, hz: float) -> Iterator[Bench]:
    with ExitStack() as stack:
        lan = stack.enter_context(Lan(3))
        inventory = folder / "machines.yml"
        at = f"  {lan.name(FULL)}:\n"
        text = lan.inventory_text(user="robot")
        inventory.write_text(text.replace(at, f"{at}    store: {STORE}\n"))
        flow = project.write(folder, lan.robots, hz)
        bench = Bench(lan, Fleet(lan.home, inventory, cache=cache), flow)
        stack.enter_context(bench.watch)
        bench.watch.first(lambda row: "nodes" in row)
        bench.calm()
        yield bench
