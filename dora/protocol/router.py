"""What a machine's router is told, in $DORA_ROUTER_CONFIG. Laptop writes; router, 3.10+."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

ROUTER_CONFIG = "DORA_ROUTER_CONFIG"


@dataclass(frozen=True)
class RouterConfig:
    """`listen` and `connect` are `host:port`; other machines' routers are dialled, not discovered.

    With `key` and `certificate` (paths on the machine) links between machines are QUIC with mutual
    TLS, and `authorities` (PEM text) says whom to trust. Without them no other machine is dialled
    and nothing but the Unix socket is listened on, unless `insecure` asks for plain TCP.
    """

    dataflow: str
    machine: str
    socket: str
    listen: str | None = None
    connect: Mapping[str, str] = field(default_factory=dict)  # machine -> host:port
    key: str | None = None
    certificate: str | None = None
    authorities: str = ""
    insecure: bool = False
    documents: str | None = None  # folder of the deployment's documents on this machine
    door: str | None = None  # `host:port` for TCP: where readers of `link: direct` call

    def to_text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> RouterConfig:
        """Raises ValueError on anything but `to_text`'s output."""
        try:
            return cls(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"${ROUTER_CONFIG} is not a router configuration: {error}") from error
