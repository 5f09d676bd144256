"""What the coordinator wants to know of a machine before it plans. Machine only; Python >= 3.8."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from deploy.supervisor.client import ask
from deploy.supervisor.deployments import Deployments, Unreadable
from deploy.supervisor.environment import DEFAULT_PATH
from deploy.supervisor.holds import read_pause
from deploy.supervisor.layout import Layout, check_private
from deploy.supervisor.metrics_place import read_place
from deploy.supervisor.proc import boot_id
from deploy.supervisor.scheduling import allowed
from deploy.supervisor.secrets import Secrets
from deploy.supervisor.topology import topology
from deploy.unit import SHARED

FIRST_PORT = 7447
PORTS = 8
MOST_DEVICES = 1000
_EVERYWHERE = re.compile(
    r"(tty\d*|vcs.*|loop.*|ram\d*|pts|shm|mqueue|hugepages|fd|std(in|out|err)|core|log|console"
    r"|null|zero|full|random|urandom|ptmx|block|char|disk|bus|mapper)$"
)


def facts(
    layout: Layout,
    deployment: Optional[str] = None,
    supervisor: Optional[Dict[str, Optional[Any]]] = None,
) -> Dict[str, Any]:
    """One JSON object; nothing on the machine is changed but that `run` may be created.

    `memory` and `disk_free` are bytes; `deployments` is read from the disk, supervisor or not.
    With `deployment`, `seen` has its current generation and certificates, for who will ask next.
    `supervisor` is what the supervisor says of itself, when it is the one who calls this.
    """
    uname = os.uname()
    pause, metrics = read_pause(layout), read_place(layout)
    return {
        **({} if deployment is None else {"seen": seen(layout, deployment)}),
        "arch": uname.machine,
        "system": uname.sysname,
        "kernel": uname.release,
        "libc": libc(),
        "python": {"executable": sys.executable, "version": sys.version.split()[0]},
        "cores": sorted(os.sched_getaffinity(0)),
        "topology": topology(),
        "pinned": pinned(layout),
        "scheduling": allowed()._asdict(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk_free": disk_free(layout.root),
        "hostname": socket.gethostname(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "boot_id": boot_id(),
        "time": time.time(),
        "root": str(layout.root),
        "run": str(layout.run),
        "taskset": shutil.which("taskset", path=DEFAULT_PATH) is not None,
        "supervisor": supervisor or supervisor_facts(layout),
        "deployments": Deployments(layout).summary(),
        "devices": devices(Path("/dev")),
        "pause": None if pause is None else pause.to_json(),
        "metrics": None if metrics is None else metrics._asdict(),
        "free_ports": free_ports(),
    }


def pinned(layout: Layout) -> Dict[str, Dict[str, Any]]:
    """The units of all deployments that have cores of their own: deployment -> unit -> {cores,
    pin}."""
    deployments = Deployments(layout)
    found = {
        name: {
            unit.name: {"cores": list(unit.cores), "pin": unit.pin}
            for unit in deployments.units(name)
            if unit.pin != SHARED
        }
        for name in deployments.names()
    }
    return {name: units for name, units in found.items() if units}


def supervisor_facts(layout: Layout) -> Dict[str, Optional[Any]]:
    """Whether one runs, for the probe.

    Raises UnsafeFolder where anybody may have put the socket: who answers there may be anybody, and
    is about to be given keys.
    """
    try:
        check_private(layout.run)
    except FileNotFoundError:
        pass  # nothing ran since the machine was started, or ever
    hello = ask(layout.socket, "hello", timeout=2.0) or {}
    return {
        "running": bool(hello),
        "agent": hello.get("agent"),
        "pid": hello.get("pid"),
        "socket": str(layout.socket),
    }


def seen(layout: Layout, name: str) -> Dict[str, Any]:
    """The current generation of a deployment (None: nothing runs), and the certificates that it has
    here. What cannot be read is left out."""
    found: Dict[str, Any] = {"deployment": name}
    try:
        generation = Deployments(layout).generation(name)
        found["generation"] = None if generation is None else generation.to_json()
    except Unreadable:
        pass  # whoever needs it reads it once more, and says what is wrong with it
    secrets = Secrets(layout)
    names = [secret for secret in secrets.names(name) if secret.endswith(".pem")]
    texts = {secret: secrets.read_public(name, secret) for secret in names}
    found["certificates"] = {
        secret: data.decode(errors="replace") for secret, data in texts.items() if data is not None
    }
    return found


def libc() -> Dict[str, str]:
    """Name and version of the C library that this Python runs on, as wheels name them."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return {"name": name, "version": version}
    except (ValueError, OSError):
        pass  # not glibc
    version = musl_version(Path("/lib"))
    return {"name": "musl" if version else "unknown", "version": version or "0.0"}


def musl_version(folder: Path) -> str:
    """What the loader in `folder` says of itself; "" where there is none."""
    for loader in sorted(folder.glob("ld-musl-*.so.1")):
        try:
            done = subprocess.run([str(loader)], stderr=subprocess.PIPE, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            continue
        for line in done.stderr.decode(errors="replace").splitlines():
            word, _, version = line.partition(" ")
            if word == "Version" and version[:1].isdigit():
                return version.strip()
    return ""


def disk_free(path: Path) -> int:
    """Bytes that we may still write where `path` is, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(str(path)).free


def devices(folder: Path) -> List[str]:
    """Paths of the devices below `folder` that one machine has and another has not, sorted. Folders
    are followed one deep, two for names such as /dev/serial/by-id/...; consoles, disks of loops and
    memory, and the memory that programs share are left out."""
    found: List[str] = []
    for pattern in ("*", "*/*", "*/by-*/*"):
        for path in folder.glob(pattern):
            top = path.relative_to(folder).parts[0]
            if _EVERYWHERE.match(top) or path.name.startswith(".") or path.is_dir():
                continue
            found.append(str(path))
    return sorted(found)[:MOST_DEVICES]


def free_ports(first: int = FIRST_PORT, count: int = PORTS) -> List[int]:
    """The first `count` ports from `first` on which nobody listens, neither by TCP nor by UDP."""
    found: List[int] = []
    for port in range(first, min(first + 1000, 65536)):
        if len(found) == count:
            break
        if all(_free(port, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            found.append(port)
    return found


def _free(port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:  # connections that have ended keep nobody out
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
