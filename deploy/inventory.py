"""machines.yml -> Inventory of Machines, and the selection of some of them. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Machine:
    """A host. None means: not said in the inventory, left to ssh_config or the default."""

    id: str
    host: str
    port: int | None = None
    user: str | None = None
    identity: str | None = None
    jump: str | None = None
    host_key: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    cores: tuple[int, ...] | None = None
    address: str | None = None
    python: str | None = None
    store: str | None = None
    optional: bool = False

    @property
    def embedded(self) -> bool:
        """Whether the machine is this laptop, behind an SSH server that dora starts itself."""
        return self.host == EMBEDDED


@dataclass(frozen=True)
class Inventory:
    file: str
    machines: Mapping[str, Machine]
