"""Pure: the ports, addresses and router units of a deployment's data plane. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.facts import Facts
from deploy.inventory import Machine
from deploy.profile import Profile
from dora.errors import DoraError
from dora.protocol.router import ROUTER_CONFIG, RouterConfig

ROUTER = "dora-router"  # the router's unit; no node may have this name

# Below `secrets/<deployment>/` on each machine.
AUTHORITY, CERTIFICATE, KEY = "authority.pem", "certificate.pem", "key.pem"


@dataclass(frozen=True)
class Endpoint:
    """Where a machine's router is reached, and the authority that signed its certificate."""

    host: str
    port: int
    authority: str = ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(machine: Machine) -> str:
    return "127.0.0.1" if machine.embedded else machine.address or machine.host


def choose_ports(
    machines: Mapping[str, Machine],
    facts: Mapping[str, Facts],
    current: Mapping[str, Profile | None],
) -> dict[str, int]:
    """A port for each machine's router: the one it has, else the first free one there.

    Machines that share an address (embedded ones) get different ports. Raises DoraError when a
    machine has no port left.
    """
    ports: dict[str, int] = {}
    taken: set[tuple[str, int]] = set()
    for name in facts:
        if port := _current_port(current.get(name)):
            ports[name] = port
            taken.add((address_of(machines[name]), port))
    for name, found in facts.items():
        if name in ports:
            continue
        address = address_of(machines[name])
        free = [port for port in found.free_ports if (address, port) not in taken]
        if not free:
            raise DoraError(
                f"machine {name!r} has no free port for the data plane",
                hint=f"see what listens there: dora machines check; tried {found.free_ports}",
            )
        ports[name] = free[0]
        taken.add((address, free[0]))
    return ports


def _current_port(profile: Profile | None) -> int | None:
    if profile is None:
        return None
    for unit in profile.units:
        if unit.name == ROUTER and (text := unit.env.get(ROUTER_CONFIG)):
            listen = RouterConfig.from_text(text).listen
            return int(listen.rsplit(":", 1)[1]) if listen else None
    return None


def router_config(
    dataflow: str, machine: Machine, facts: Facts, endpoints: Mapping[str, Endpoint]
) -> RouterConfig:
    """What the router of `machine` is told. With no other machine it opens no port at all."""
    others = {name: end for name, end in endpoints.items() if name != machine.id}
    secrets = f"{facts.root}/secrets/{dataflow}"
    common = RouterConfig(
        dataflow=dataflow,
        machine=machine.id,
        socket=router_socket(dataflow, facts),
        documents=f"{facts.root}/deployments/{dataflow}/documents",
    )
    if not others:
        return common
    own = endpoints[machine.id]
    return RouterConfig(
        dataflow=common.dataflow,
        machine=common.machine,
        socket=common.socket,
        documents=common.documents,
        listen=f"{'127.0.0.1' if machine.embedded else '0.0.0.0'}:{own.port}",
        connect={name: str(end) for name, end in sorted(others.items())},
        key=f"{secrets}/{KEY}",
        certificate=f"{secrets}/{CERTIFICATE}",
        authorities="".join(endpoints[name].authority for name in sorted(endpoints)),
    )


def router_socket(dataflow: str, facts: Facts) -> str:
    return f"{facts.run}/{dataflow}/router.sock"
