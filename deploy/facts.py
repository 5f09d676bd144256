"""What was read off a machine by the agent's `probe`, checked. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.errors import MachineError
from deploy.malformed import SURPRISES
from deploy.topology import Core, Pinned, flat


@dataclass(frozen=True)
class Installed:
    """A deployment as a machine knows it; `current` and `hash` are None while it is stopped."""

    current: int | None
    hash: str | None
    created: float | None = None
    creator: str | None = None
    revision: str = ""
    pending: int | None = None  # the generation that is on trial


@dataclass(frozen=True)
class Facts:
    """`root` and `run` are absolute paths on the machine; memory and disk are in bytes.

    `cores` are those that processes of our user may run on; `topology` has all that are on.
    `pinned` are the units of all deployments that have cores of their own. `realtime` is the
    highest real-time priority that units may have (0: none), `nice` the lowest nice value.
    `free_ports` were free for UDP and TCP a moment ago.
    """

    machine: str
    arch: str
    libc: str  # glibc | musl
    libc_version: tuple[int, int]
    python: str
    python_version: tuple[int, int, int]
    cores: tuple[int, ...]
    memory: int
    disk_free: int
    hostname: str
    user: str
    root: str
    run: str
    boot_id: str
    time: float
    taskset: bool
    free_ports: tuple[int, ...]
    supervisor: Mapping[str, Any]
    deployments: Mapping[str, Installed]
    topology: tuple[Core, ...] = ()
    pinned: tuple[Pinned, ...] = ()
    realtime: int = 0
    nice: int = 0
    metrics: tuple[str, int] | None = None  # where the supervisor serves figures: address, port
    devices: tuple[str, ...] | None = None  # paths below /dev; None: an older agent, nobody knows
    pause: Mapping[str, Any] | None = None  # {owner, reason, since, ...} while somebody paused it

    @classmethod
    def from_json(cls, machine: str, data: Mapping[str, Any]) -> Facts:
        """Raises MachineError when the machine answered something else than facts."""
        try:
            libc = data["libc"]
            deployments = {
                str(name): Installed(
                    current=entry.get("current"),
                    hash=entry.get("hash"),
                    created=entry.get("created"),
                    creator=entry.get("creator"),
                    revision=entry.get("revision") or "",
                    pending=(entry.get("pending") or {}).get("number"),
                )
                for name, entry in data["deployments"].items()
            }
            cores = tuple(int(core) for core in data["cores"])
            scheduling = data.get("scheduling", {})
            return cls(
                machine=machine,
                arch=str(data["arch"]),
                libc=str(libc["name"]),
                libc_version=_two(libc["version"]),
                python=str(data["python"]["executable"]),
                python_version=_three(data["python"]["version"]),
                cores=cores,
                memory=int(data["memory"]),
                disk_free=int(data["disk_free"]),
                hostname=str(data["hostname"]),
                user=str(data["user"]),
                root=str(data["root"]),
                run=str(data["run"]),
                boot_id=str(data["boot_id"]),
                time=float(data["time"]),
                taskset=bool(data["taskset"]),
                free_ports=tuple(int(port) for port in data["free_ports"]),
                supervisor=dict(data["supervisor"]),
                deployments=deployments,
                topology=tuple(Core.from_json(it) for it in data.get("topology", ()))
                or flat(cores),
                pinned=tuple(
                    Pinned(str(name), str(unit), frozenset(map(int, it["cores"])), str(it["pin"]))
                    for name, units in data.get("pinned", {}).items()
                    for unit, it in units.items()
                ),
                realtime=int(scheduling.get("realtime", 0)),
                nice=int(scheduling.get("nice", 0)),
                metrics=_place(data.get("metrics")),
                devices=None if data.get("devices") is None else tuple(map(str, data["devices"])),
                pause=None if data.get("pause") is None else dict(data["pause"]),
            )
        except (KeyError, TypeError, ValueError, *SURPRISES) as error:
            raise MachineError(
                machine, f"its facts make no sense ({type(error).__name__}: {error})"
            ) from error


def _place(data: Mapping[str, Any] | None) -> tuple[str, int] | None:
    return None if data is None else (str(data["bind"]), int(data["port"]))


def _three(version: str) -> tuple[int, int, int]:
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    return major, minor, patch


def _two(version: str) -> tuple[int, int]:
    major, minor = (int(part) for part in version.split(".")[:2])
    return major, minor
