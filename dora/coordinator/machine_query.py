"""Looks at a machine for `dora doctor` and `dora why`; sent as text to its own Python (>= 3.8).

Reads a JSON request a line from stdin, answers each with a JSON line, and ends with stdin. Standard
library alone: nothing of this package is there. Nothing on the machine is changed.

    facts   root                      what `facts` returns
    clock                             {"time": seconds since the epoch}
    listen  ports, protocols          {"port": the first that is free by all of these, or null}; it
                                      answers until the end: by UDP it sends back what comes
    halted  pids                      {"pids": those that are stopped, by a signal or a debugger}
    reach   targets                   {"targets": [{"ms": ...} or {"error": word, "text": ...}]}

A target is [host, port, protocol]; a protocol is `udp` or `tcp`.
"""

import json
import os
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

UDP, TCP = "udp", "tcp"
# Seconds until a target counts as silent. By UDP it is asked again meanwhile; by TCP the kernel
# does so, after one second and after three.
PATIENCE = {UDP: 1.5, TCP: 3.5}
AGAIN = 0.4
PATH = os.defpath + ":/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
SSHD_OPTIONS = ("maxsessions", "maxstartups", "allowstreamlocalforwarding")


def facts(root: str) -> Dict[str, Any]:
    """What the agent does not tell. Sizes in bytes; what cannot be found out is None."""
    return {
        "environment": environment(Path(sys.executable)),
        "missing_modules": [name for name in ("sqlite3", "ssl", "ctypes") if not importable(name)],
        "writable": os.access(str(nearest(Path(root))), os.W_OK | os.X_OK),
        "noexec": bool(os.statvfs(str(nearest(Path(root)))).f_flag & os.ST_NOEXEC),
        "inodes_free": inodes_free(nearest(Path(root))),
        "shm": shm(),
        "memfd": memfd(),
        "cgroups": cgroups(),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "sshd": sshd(),
    }


def environment(python: Path) -> Optional[str]:
    """The virtual environment that a Python belongs to, if it does."""
    for folder in (python.parent, python.parent.parent):
        if (folder / "pyvenv.cfg").exists():
            return str(folder)
    return None


def importable(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def nearest(path: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def inodes_free(path: Path) -> Optional[int]:
    """None for a file system that makes them as it needs them."""
    found = os.statvfs(str(path))
    return found.f_favail if found.f_files else None


def shm() -> Optional[Dict[str, Any]]:
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError:
        return None
    return {"free": usage.free, "writable": os.access("/dev/shm", os.W_OK | os.X_OK)}


def memfd() -> bool:
    """Whether memory can be shared that has no name."""
    try:
        os.close(os.memfd_create("dora"))
    except (AttributeError, OSError):
        return False
    return True


def cgroups() -> Dict[str, Any]:
    """The version whose memory controller is there (0: none), and whether we may make groups."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        own = Path("/proc/self/cgroup").read_text()
    except OSError:
        return {"version": 0, "ours": False}
    for _, where, kind, options, *_ in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            return {"version": 1, "ours": os.access(where, os.W_OK)}
        if kind == "cgroup2" and "memory" in words(Path(where, "cgroup.controllers")):
            if os.getuid() == 0:
                return {"version": 2, "ours": os.access(where, os.W_OK)}
            paths = [line[len("0::/") :] for line in own.splitlines() if line.startswith("0::/")]
            group = Path(where, *paths[:1])
            ours = os.access(str(group / "cgroup.subtree_control"), os.W_OK)
            return {"version": 2, "ours": ours and "memory" in words(group / "cgroup.controllers")}
    return {"version": 0, "ours": False}


def words(path: Path) -> List[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def sshd() -> Dict[str, str]:
    """The options of sshd that limit us, as far as we may read them: what is not said is left out.

    Of its files the first word on an option counts, and what stands below `Match` is another's.
    """
    program = shutil.which("sshd", path=PATH)
    if program is not None and os.getuid() == 0:
        try:
            done = subprocess.run(
                [program, "-T"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=10,
                check=False,
            )
            if done.returncode == 0:
                return options(done.stdout.decode(errors="replace"))
        except (OSError, subprocess.SubprocessError):
            pass  # the files say almost the same
    found: Dict[str, str] = {}
    folder = Path("/etc/ssh/sshd_config.d")
    for path in [*sorted(folder.glob("*.conf")), Path("/etc/ssh/sshd_config")]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        found = {**options(text), **found}
    return found


def options(text: str) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for line in text.splitlines():
        pair = re.split(r"[\s=]+", line.strip(), maxsplit=1)
        if pair[0].lower() == "match":
            break
        if pair[0].lower() in SSHD_OPTIONS and len(pair) == 2:
            found.setdefault(pair[0].lower(), pair[1].strip())
    return found


def halted(pids: List[int]) -> List[int]:
    return [pid for pid in pids if process_state(pid) in ("T", "t")]


def process_state(pid: int) -> str:
    """The kernel's letter for it; "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def listen(ports: List[int], protocols: List[str]) -> Optional[int]:
    for port in ports:
        for family in (socket.AF_INET6, socket.AF_INET):
            try:
                sockets = [bound(family, protocol, port) for protocol in protocols]
            except OSError:
                continue  # it is taken, or there is no such family here
            for it in sockets:
                if it.type == socket.SOCK_DGRAM:
                    threading.Thread(target=echo, args=(it,), daemon=True).start()
                else:
                    LISTENERS.append(it)
            return port
    return None


LISTENERS: List[socket.socket] = []  # The kernel takes the calls of who wants to know no more.


def bound(family: int, protocol: str, port: int) -> socket.socket:
    """To everything that the machine is reached by. Raises OSError."""
    made = socket.socket(family, KINDS[protocol])
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("", port))
        if protocol == TCP:
            made.listen(128)
    except OSError:
        made.close()
        raise
    return made


KINDS = {UDP: socket.SOCK_DGRAM, TCP: socket.SOCK_STREAM}


def echo(listener: socket.socket) -> None:
    while True:
        try:
            data, sender = listener.recvfrom(2048)
            if is_ours(data):
                listener.sendto(data, sender)
        except OSError:
            time.sleep(0.01)  # somebody's earlier datagram could not be sent


def datagram(mark: bytes) -> bytes:
    """A datagram that our listener sends back, and that every QUIC server answers, without knowing
    us: a first packet of a version that is reserved for asking which versions there are."""
    head = b"\xc0" + VERSION + bytes([len(mark)]) + mark + bytes([len(mark)]) + mark
    return head.ljust(1200, b"\0")


VERSION = b"\x0a\x1a\x2a\x3a"


def is_ours(data: bytes) -> bool:
    """Whoever else comes to the port is not answered."""
    return len(data) == 1200 and data[1:5] == VERSION


class Question:
    """Asked of one target; `answer` as `reach` returns it, once it is known."""

    def __init__(self, host: str, port: int, protocol: str) -> None:
        self.protocol = protocol
        self.answer: Optional[Dict[str, Any]] = None
        self.mark = os.urandom(8)
        self.socket: Optional[socket.socket] = None
        try:
            family, kind, number, _, address = socket.getaddrinfo(host, port, type=KINDS[protocol])[
                0
            ]
            self.socket = socket.socket(family, kind, number)
            self.socket.setblocking(False)
            self.socket.connect(address)
        except BlockingIOError:
            pass  # by TCP: it is under way
        except OSError as error:
            self.end(failed(error))

    def ask(self) -> None:
        """Again, where nobody else does."""
        if self.socket is not None and self.protocol == UDP:
            try:
                self.socket.send(datagram(self.mark))
            except BlockingIOError:
                pass
            except OSError as error:
                self.end(failed(error))

    def hear(self, spent: float) -> None:
        """Takes what came; to be called when there is something. `spent`: seconds so far."""
        if self.socket is None:
            return
        try:
            if self.protocol == TCP:
                number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    raise OSError(number, os.strerror(number))
            elif self.mark not in self.socket.recv(2048):
                return  # an answer to somebody else
            self.end({"ms": round(spent * 1e3, 2)})
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(failed(error))

    def end(self, answer: Dict[str, Any]) -> None:
        self.answer = answer
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def reach(targets: List[Tuple[str, int, str]]) -> List[Dict[str, Any]]:
    """Asks all of them at once; answers in their order."""
    questions = [Question(*target) for target in targets]
    began, rounds = time.monotonic(), 0
    while True:
        spent = time.monotonic() - began
        for it in questions:
            if it.answer is None and spent >= PATIENCE[it.protocol]:
                it.end({"error": "timeout", "text": "nothing came back"})
        if spent >= rounds * AGAIN:
            rounds += 1
            for it in questions:
                it.ask()
        waiting = {it.socket: it for it in questions if it.socket is not None}
        if not waiting:
            return [it.answer or {} for it in questions]
        by = {kind: [fd for fd, it in waiting.items() if it.protocol == kind] for kind in KINDS}
        ready = select.select(by[UDP], by[TCP], [], AGAIN / 4)
        for fd in ready[0] + ready[1]:
            waiting[fd].hear(time.monotonic() - began)


def failed(error: OSError) -> Dict[str, Any]:
    if isinstance(error, socket.gaierror):
        word = "dns"
    elif isinstance(error, ConnectionRefusedError):
        word = "refused"
    else:
        word = "no_route"
    return {"error": word, "text": error.strerror or str(error)}


def answer(request: Dict[str, Any]) -> Dict[str, Any]:
    what = request["what"]
    if what == "facts":
        return facts(request["root"])
    if what == "clock":
        return {"time": time.time()}
    if what == "listen":
        return {"port": listen(request["ports"], request["protocols"])}
    if what == "halted":
        return {"pids": halted(request["pids"])}
    if what == "reach":
        return {"targets": reach([tuple(it) for it in request["targets"]])}
    raise ValueError(f"no such request: {what!r}")


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
