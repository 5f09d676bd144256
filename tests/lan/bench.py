"""A LAN of robots for tests: network namespaces, each with a root folder, processes and sshd of
its own. Needs root and Linux; no robot reaches anything but the others and this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.lan.disk import FIRST_PROCESS, INIT, Key, write_disk

REMEDY = "run the tests as root, after: apt-get install openssh-server iproute2 util-linux"
SSHD = "/usr/sbin/sshd"
PATIENCE = 60.0  # seconds; for what a busy machine needs long for, never what is measured


class BenchError(RuntimeError):
    """The test LAN could not be built or changed."""


@dataclass(frozen=True)
class Process:
    """A process of a robot, as the robot sees it."""

    pid: int
    uid: int
    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        return " ".join(self.argv)


@dataclass
class _Robot:
    number: int
    name: str
    address: str
    namespace: str
    link: str  # its port of the bridge, in the hub's namespace
    root: Path
    host_key: Key
    boot: subprocess.Popen[bytes] | None = None  # `unshare`, parent of the robot's first process
    init: int = 0  # pid of its first process, as this machine sees it


class Lan:
    """`n` robots at 10.77.k.1 ... 10.77.k.n; this machine is 10.77.k.254. A context manager.

    Robots are numbered from 1 and named robot1, robot2, ... Their users `root` and `robot` (home
    /home/robot) accept `identity`. Of this machine's files a robot sees /usr alone, read-only and
    without /usr/local, so its only Python is /usr/bin/python3. Its disk outlives `power_off`.

    `home` is a home folder for the laptop's side: set HOME to it, and ~/.ssh there has the key
    and the known_hosts. `sshd` changes lines of the robots' sshd_config, such as MaxSessions.
    """

    def __init__(self, n: int, *, sshd: Mapping[str, str] | None = None) -> None:
        if not 1 <= n <= 250:
            raise ValueError(f"a LAN has 1 to 250 robots, not {n}")
        self._count = n
        self._sshd = dict(sshd or {})
        self._robots: dict[int, _Robot] = {}
        self._claim: socket.socket | None = None

    def __enter__(self) -> Lan:
        _check_requirements()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def __repr__(self) -> str:
        on = [robot.number for robot in self._robots.values() if robot.boot]
        return f"<Lan of {self._count} robots, on: {on}>"

    # What tests ask for

    @property
    def robots(self) -> range:
        return range(1, self._count + 1)

    @property
    def subnet(self) -> str:
        """As `10.77.3`: what all addresses begin with."""
        return f"10.77.{self._k}"

    def name(self, i: int) -> str:
        return self._robots[i].name

    def address(self, i: int) -> str:
        return self._robots[i].address

    def fingerprint(self, i: int) -> str:
        """Of the robot's host key: SHA256:..."""
        return self._robots[i].host_key.fingerprint

    def known_hosts_line(self, i: int) -> str:
        robot = self._robots[i]
        return f"{robot.address} {robot.host_key.public}\n"

    def inventory_text(self, user: str = "robot", **extra: object) -> str:
        """A machines.yml of all robots, with host keys pinned; `extra` goes into each machine."""
        lines = ["machines:"]
        for robot in self._robots.values():
            lines.append(f"  {robot.name}:")
            values = {
                "host": robot.address,
                "user": user,
                "identity": self.identity,
                "host_key": robot.host_key.fingerprint,
                **extra,
            }
            lines += [f"    {key}: {value}" for key, value in values.items()]
        return "\n".join(lines) + "\n"

    def path(self, i: int, path: str) -> Path:
        """Where this machine finds a file of a robot's disk, on or off. (/run, /tmp and /dev/shm
        are not on the disk.)"""
        return self._robots[i].root / path.lstrip("/")

    def inside(self, i: int, path: str) -> Path:
        """Where this machine finds a file as the robot sees it, with what is mounted there; while
        the robot is on."""
        return Path(f"/proc/{self._robots[i].init}/root") / path.lstrip("/")

    def enter(self, i: int, argv: Sequence[str], user: str = "root") -> list[str]:
        """The command line that runs `argv` inside the robot; for a `Popen` of the caller's own."""
        robot = self._robots[i]
        if robot.boot is None:
            raise BenchError(f"{robot.name} is off")
        command = ["nsenter", "-t", str(robot.init), "-m", "-n", "-p", "-u", "-i", "-r", "-w", "--"]
        home = "/root" if user == "root" else f"/home/{user}"
        command += ["env", "-i", "PATH=/usr/sbin:/usr/bin", f"HOME={home}", "LANG=C.UTF-8"]
        if user != "root":
            command += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return [*command, *argv]

    def on_network(self, i: int) -> list[str]:
        """Before a command line of this machine: it keeps this machine's files and processes, but
        has the robot's network. Ends with the caller's care, not with the robot."""
        return ["ip", "netns", "exec", self._robots[i].namespace]

    def traffic(self, i: int) -> tuple[int, int]:
        """Bytes that the robot's link has carried: to the robot, and from it."""
        link = Path("/sys/class/net") / self._robots[i].link / "statistics"
        counters = [str(link / name) for name in ("tx_bytes", "rx_bytes")]
        out = _run("ip", "netns", "exec", self._hub, "cat", *counters).split()
        return int(out[0]), int(out[1])

    def run(
        self,
        i: int,
        argv: Sequence[str],
        *,
        user: str = "root",
        input: str | None = None,
        check: bool = True,
        timeout: float = PATIENCE,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside the robot, not over the network: also while it is cut off."""
        done = subprocess.run(
            self.enter(i, argv, user),
            input=input if input is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise BenchError(f"{self.name(i)}: {list(argv)} gave {done.returncode}: {done.stderr}")
        return done

    def processes(self, i: int) -> list[Process]:
        """All processes of the robot but its first; none when it is off."""
        robot = self._robots[i]
        if robot.boot is None:
            return []
        found = []
        for entry in Path(f"/proc/{robot.init}/root/proc").iterdir():
            if not entry.name.isdigit() or entry.name == "1":
                continue
            try:
                argv = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                uid = entry.stat().st_uid
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended meanwhile
            if argv != [b""]:  # a zombie has none
                words = tuple(os.fsdecode(word) for word in argv)
                found.append(Process(int(entry.name), uid, words))
        return sorted(found, key=lambda process: process.pid)

    def kill(self, i: int, pid: int, number: int = signal.SIGKILL) -> None:
        """Signals a process by the pid that the robot knows it by, unless it has ended already."""
        self.run(i, ["kill", f"-{int(number)}", str(pid)], check=False)

    # What happens to robots

    def cut(self, i: int) -> None:
        """The link falls silent in both directions: no FIN, no RST, no loss of carrier."""
        self._ip("bridge", "link", "set", "dev", self._robots[i].link, "state", "0")

    def heal(self, i: int) -> None:
        self._ip("bridge", "link", "set", "dev", self._robots[i].link, "state", "3")

    def power_off(self, i: int) -> None:
        """Every process is killed at once, and nothing of it is heard on the network."""
        robot = self._robots[i]
        if robot.boot is None:
            return
        self._ip("ip", "link", "del", robot.link)
        _end(robot)
        _run("ip", "netns", "del", robot.namespace)

    def power_on(self, i: int, *, sshd: bool = True) -> None:
        """Boots the robot from the disk that it had. Returns when its sshd answers."""
        robot = self._robots[i]
        if robot.boot is not None:
            return
        self._plug_in(robot)
        boot = ["ip", "netns", "exec", robot.namespace, "unshare", "--pid", "--fork"]
        boot += ["--kill-child", "--mount", "--uts", "--ipc", "sh", "-euc", INIT, "init"]
        log = self.folder / f"{robot.name}.log"
        with log.open("wb") as complaints:
            robot.boot = subprocess.Popen(
                [*boot, str(robot.root), robot.name, FIRST_PROCESS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                start_new_session=True,  # Ctrl-C is for the bench, which ends its robots in order
            )
        assert robot.boot.stdout is not None
        if robot.boot.stdout.readline() != b"ready\n":
            _end(robot)
            raise BenchError(f"{robot.name} did not boot: {log.read_text()}")
        children = Path(f"/proc/{robot.boot.pid}/task/{robot.boot.pid}/children").read_text()
        robot.init = int(children.split()[0])
        if sshd:
            self.start_sshd(i)

    def stop_sshd(self, i: int) -> None:
        """Ends sshd and its sessions, and nothing that was started through them. Returns when
        they are gone: a process that was killed listens on until its exit has come to its files,
        by when it has no command line any more."""
        proc = Path(f"/proc/{self._robots[i].init}/root/proc")
        listed = self.processes(i)  # the listener is the oldest, so no session follows
        for pid in [it.pid for it in listed if it.argv[0].startswith(("sshd:", SSHD))]:
            self.kill(i, pid)
            gone = proc / str(pid)
            wait_until(lambda: not gone.exists(), f"sshd of {self.name(i)} ends")  # noqa: B023

    def start_sshd(self, i: int) -> None:
        """Returns when it answers."""
        robot = self._robots[i]
        argv = [SSHD, "-f", "/etc/ssh/sshd_config", "-E", "/var/log/sshd.log"]
        self.run(i, argv)
        wait_until(lambda: _answers(robot.address), f"sshd of {robot.name} answers")

    def rate(self, i: int, mbit: float | None) -> None:
        """Limits the robot's link in both directions; None lifts the limit."""
        robot = self._robots[i]
        for where, link in ((self._hub, robot.link), (robot.namespace, "eth0")):
            tc = ["ip", "netns", "exec", where, "tc", "qdisc"]
            if mbit is None:
                subprocess.run([*tc, "del", "dev", link, "root"], capture_output=True, check=False)
            else:
                shape = ["tbf", "rate", f"{mbit}mbit", "burst", "64k", "latency", "50ms"]
                _run(*tc, "replace", "dev", link, "root", *shape)

    def lose(self, i: int, percent: int) -> None:
        """Of the packets on the robot's link so many are lost, in both directions, at random."""
        robot = self._robots[i]
        for where, link in ((self._hub, robot.link), (robot.namespace, "eth0")):
            nft = ["ip", "netns", "exec", where, "nft"]
            table = ("netdev", f"loss{i}")
            subprocess.run([*nft, "delete", "table", *table], capture_output=True, check=False)
            if percent:
                hook = f"type filter hook ingress device {link} priority 0;"
                rule = f"numgen random mod 100 < {percent} drop"
                _run(*nft, f"table {' '.join(table)} {{ chain c {{ {hook} {rule}; }}; }}")

    def shut(self, i: int, packets: str | None) -> None:
        """The robot's firewall lets none of these in, as `tcp dport 7447`; None: it lets all in."""
        nft = ["ip", "netns", "exec", self._robots[i].namespace, "nft"]
        table = ("inet", "shut")
        subprocess.run([*nft, "delete", "table", *table], capture_output=True, check=False)
        if packets:
            hook = "type filter hook input priority 0;"
            _run(*nft, f"table {' '.join(table)} {{ chain c {{ {hook} {packets} drop; }}; }}")

    # How it is built and removed

    def _build(self) -> None:
        self._claim, self._k = _claim_subnet()
        self._hub = f"doralan{self._k}"
        _remove_leftovers(self._k)
        self.folder = Path(tempfile.mkdtemp(prefix=f"dora-lan-{self._k}-"))
        self.folder.chmod(0o711)
        self.home = self.folder / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.identity = self.home / ".ssh/id_ed25519"
        self.known_hosts = self.home / ".ssh/known_hosts"
        key = Key.generate()
        key.write(self.identity)
        # The bridge has a namespace of its own, out of reach of this machine's firewall rules.
        _run("ip", "netns", "add", self._hub)
        self._ip("ip", "link", "add", "hub", "type", "bridge", "forward_delay", "0")
        self._ip("ip", "link", "set", "hub", "up")
        self._ip("ip", "link", "add", "laptop", "type", "veth", "peer", self._hub, "netns", "1")
        self._ip("ip", "link", "set", "laptop", "master", "hub", "up")
        _run("ip", "addr", "add", f"{self.subnet}.254/24", "dev", self._hub)
        _run("ip", "link", "set", self._hub, "up")
        for i in self.robots:
            robot = _Robot(
                number=i,
                name=f"robot{i}",
                address=f"{self.subnet}.{i}",
                namespace=f"{self._hub}-{i}",
                link=f"robot{i}",
                root=self.folder / f"robot{i}",
                host_key=Key.generate(),
            )
            write_disk(robot.root, robot.name, robot.host_key, key.public, self._sshd)
            self._robots[i] = robot
            self.power_on(i)
        self.known_hosts.write_text("".join(self.known_hosts_line(i) for i in self.robots))

    def _plug_in(self, robot: _Robot) -> None:
        # The same hardware address at every boot: neighbours remember it.
        mac = f"02:00:0a:4d:{self._k:02x}:{robot.number:02x}"
        namespace = robot.namespace
        _run("ip", "netns", "add", namespace)
        peer = ["peer", "name", "eth0", "address", mac, "netns", namespace]
        self._ip("ip", "link", "add", robot.link, "type", "veth", *peer)
        self._ip("ip", "link", "set", robot.link, "master", "hub", "up")
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        _run("ip", "-n", namespace, "addr", "add", f"{robot.address}/24", "dev", "eth0")
        _run("ip", "-n", namespace, "link", "set", "eth0", "up")

    def _ip(self, *argv: str) -> None:
        """Runs `ip` or `bridge` in the namespace of the bridge."""
        _run(argv[0], "-n", self._hub, *argv[1:])

    def _remove(self) -> None:
        for robot in self._robots.values():
            _end(robot)
        self._robots.clear()
        if self._claim is not None:
            _remove_leftovers(self._k)
            self._claim.close()
            self._claim = None


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Polls until `condition()` is true. Raises AssertionError, naming `what`, if it never is."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.02)


def _check_requirements() -> None:
    tools = ("ip", "bridge", "tc", "unshare", "nsenter", "setpriv", "mount", "pivot_root", SSHD)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [tool for tool in tools if shutil.which(tool, path=path) is None]
    if os.geteuid() != 0:
        missing.insert(0, f"root (this is {pwd.getpwuid(os.geteuid()).pw_name})")
    if missing:
        raise BenchError(f"the test LAN needs {', '.join(missing)}: {REMEDY}")


def _claim_subnet() -> tuple[socket.socket, int]:
    """A k that no other bench of this machine has; the name frees itself if this process dies."""
    for k in range(1, 250):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0dora-lan-{k}")
        except OSError:
            claim.close()
            continue
        return claim, k
    raise BenchError("all test LANs of this machine are taken")


def _remove_leftovers(k: int) -> None:
    """Removes the LAN `k`: ours at the end, or that of a bench that was killed. The processes of
    a killed bench are gone already: each robot ends with the pipe from its bench."""
    listed = _run("ip", "netns", "list").split()
    for name in listed:
        if name == f"doralan{k}" or name.startswith(f"doralan{k}-"):
            _run("ip", "netns", "del", name)
    # The namespace of the bridge may live on a little; this ends both ends of the pair at once.
    if Path(f"/sys/class/net/doralan{k}").exists():
        subprocess.run(["ip", "link", "del", f"doralan{k}"], capture_output=True, check=False)
    for folder in Path(tempfile.gettempdir()).glob(f"dora-lan-{k}-*"):
        shutil.rmtree(folder)


def _end(robot: _Robot) -> None:
    if robot.boot is None:
        return
    # The kernel ends all processes of the robot before its first one is gone, which `unshare`,
    # its parent, waits for. Without a first process, there is only `unshare`.
    if robot.boot.poll() is None:
        os.kill(robot.init or robot.boot.pid, signal.SIGKILL)
    robot.boot.wait(PATIENCE)
    for pipe in (robot.boot.stdin, robot.boot.stdout):
        assert pipe is not None
        pipe.close()
    robot.boot, robot.init = None, 0


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")
    return done.stdout
