"""What doctor has seen: data only, from `gather`, for the checks. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.errors import MachineError
from deploy.facts import Facts
from deploy.inventory import Inventory, Machine
from dora.coordinator.onlooker import UDP, Clock, Reached


@dataclass(frozen=True)
class Query:
    """What `machine_query.facts` told; sizes in bytes, None for what could not be found out."""

    environment: str | None  # the virtual environment that its Python belongs to
    missing_modules: tuple[str, ...]
    writable: bool  # the store's folder, or where it will be
    noexec: bool
    inodes_free: int | None
    shm_free: int | None  # None: there is no /dev/shm
    shm_writable: bool
    memfd: bool
    cgroups: int  # version; 0: the memory controller is not there
    cgroups_ours: bool
    open_files: int
    sshd: Mapping[str, str] = field(default_factory=dict)  # options, as far as they may be read

    @classmethod
    def from_json(cls, machine: str, data: Mapping[str, Any]) -> Query:
        """Raises MachineError when the machine answered something else."""
        try:
            shm = data["shm"]
            return cls(
                environment=data["environment"],
                missing_modules=tuple(map(str, data["missing_modules"])),
                writable=bool(data["writable"]),
                noexec=bool(data["noexec"]),
                inodes_free=None if data["inodes_free"] is None else int(data["inodes_free"]),
                shm_free=None if shm is None else int(shm["free"]),
                shm_writable=shm is not None and bool(shm["writable"]),
                memfd=bool(data["memfd"]),
                cgroups=int(data["cgroups"]["version"]),
                cgroups_ours=bool(data["cgroups"]["ours"]),
                open_files=int(data["open_files"]),
                sshd={str(name): str(value) for name, value in data["sshd"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MachineError(
                machine, f"what was seen there makes no sense ({type(error).__name__}: {error})"
            ) from error


@dataclass(frozen=True)
class Look:
    """One machine that answered. `now` is the laptop's time, in seconds since the epoch."""

    machine: Machine
    facts: Facts
    query: Query
    clock: Clock
    now: float
    ours: bool  # its supervisor is of this version
    boot: str | None = None  # what starts its supervisor at boot
    holds: tuple[Mapping[str, Any], ...] = ()
    locks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # deployment -> who, since
    shortfalls: Mapping[str, str] = field(default_factory=dict)  # unit -> how it runs otherwise
    routers: Mapping[str, int] = field(default_factory=dict)  # deployment -> port of its router
    port: int | None = None  # on which it listened by UDP while the others asked
    doors: frozenset[str] = frozenset()  # deployments whose router takes calls by TCP
    # Deployment -> machine -> the inputs for which nodes here call it; None: nobody knows.
    calls: Mapping[str, Mapping[str, tuple[str, ...]] | None] = field(default_factory=dict)
    door: int | None = None  # on which it listened by TCP, for the flow that was asked about
    no_door: tuple[int, ...] = ()  # on which it could not, for that flow


@dataclass(frozen=True)
class Link:
    """Whether one machine reaches another's data plane; `deployment` if a router answers there.
    `inputs`: by TCP, those that need it, as far as that is known."""

    source: str
    target: str
    host: str
    port: int
    deployment: str | None = None
    reached: Reached = field(default_factory=Reached)
    protocol: str = UDP
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Supply:
    """Python packages that nodes need on one machine: where they would come from (see
    `deploy.build.available`), or why they cannot be had. `no_index`: nobody could be asked."""

    nodes: tuple[str, ...]
    origin: str | None = None
    problem: str = ""
    hint: str | None = None
    no_index: bool = False


@dataclass(frozen=True)
class Evidence:
    """All of it. `failed` are machines that answered and could not be looked at."""

    inventory: Inventory
    machines: tuple[Machine, ...]
    looks: Mapping[str, Look] = field(default_factory=dict)
    unreachable: Mapping[str, MachineError] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    supplies: Mapping[str, tuple[Supply, ...]] = field(default_factory=dict)  # by machine
