"""Pure: the ports, addresses and router units of a deployment's data plane. Laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from deploy.facts import Facts
from deploy.inventory import Machine
from deploy.profile import Profile
from dora.errors import DoraError
from dora.protocol.config import Links
from dora.protocol.dataflow import RouterSummary
from dora.protocol.router import ROUTER_CONFIG, RouterConfig

ROUTER = "dora-router"  # the router's unit; no node may have this name

LONGEST_SOCKET = 100  # bytes; zenoh adds `.lock` to it, and sun_path holds 107

# Below `secrets/<deployment>/` on each machine.
AUTHORITY, CERTIFICATE, KEY = "authority.pem", "certificate.pem", "key.pem"


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
        if port := router_port(current.get(name)):
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


def router_port(profile: Profile | None) -> int | None:
    """Where the profile's router listens; None if it has none, or it listens to nobody."""
    config = router_told(profile)
    return int(config.listen.rsplit(":", 1)[1]) if config and config.listen else None


def router_told(profile: Profile | None) -> RouterConfig | None:
    """What the profile's router was told; None if it has none."""
    for unit in profile.units if profile is not None else ():
        if unit.name == ROUTER and (text := unit.env.get(ROUTER_CONFIG)):
            return RouterConfig.from_text(text)
    return None


def router_config(
    dataflow: str,
    machine: Machine,
    facts: Facts,
    routers: Mapping[str, RouterSummary],
    *,
    direct: bool = False,
) -> RouterConfig:
    """What the router of `machine` is told. Where no edge leaves the machine (it is not among
    `routers`, or alone there) it opens no port at all. `direct`: whether some nodes read others
    directly; then it takes their calls at the same number, by TCP."""
    config = RouterConfig(
        dataflow=dataflow,
        machine=machine.id,
        socket=router_socket(dataflow, facts),
        documents=f"{facts.root}/deployments/{dataflow}/documents",
    )
    others = {name: router for name, router in routers.items() if name != machine.id}
    if not others or machine.id not in routers:
        return config
    secrets = f"{facts.root}/secrets/{dataflow}"
    listen = f"{_any_address(machine)}:{routers[machine.id].port}"
    return replace(
        config,
        listen=listen,
        door=listen if direct else None,
        connect={
            name: host_port(router)
            for name, router in sorted(others.items())
            if dials(machine.id, name)
        },
        key=f"{secrets}/{KEY}",
        certificate=f"{secrets}/{CERTIFICATE}",
        authorities="".join(routers[name].authority for name in sorted(routers)),
    )


def dials(machine: str, other: str) -> bool:
    """Which of two routers calls the other one.

    Never both: a router that still takes an old link for alive would count the call of the other
    one, for whom that link is dead, as a second link of the same transport. They would go on with
    different ideas of what the short numbers of routes mean, and messages come out on routes of
    others (seen with zenoh 1.10 and packet loss). A second call from the same side is refused.
    """
    return machine < other


def links(own: RouterConfig, others: Iterable[RouterSummary]) -> Links | None:
    """What a node needs to speak with nodes of these machines itself; None if it does not."""
    authorities = "".join(sorted({it.authority for it in others}))
    return Links(str(own.key), str(own.certificate), authorities) if authorities else None


def _any_address(machine: Machine) -> str:
    """What a router listens on: everything, of the family that others reach it by."""
    if machine.embedded:
        return "127.0.0.1"
    return "[::]" if ":" in address_of(machine) else "0.0.0.0"


def host_port(router: RouterSummary) -> str:
    host = f"[{router.host}]" if ":" in router.host else router.host
    return f"{host}:{router.port}"


def router_socket(dataflow: str, facts: Facts) -> str:
    """Raises DoraError when the path is longer than a socket's may be."""
    path = f"{facts.run}/{dataflow}/router.sock"
    length = len(path.encode())
    if length > LONGEST_SOCKET:
        raise DoraError(
            f"the name {dataflow!r} is too long for machine {facts.machine!r}: "
            f"its router's socket would be {path}, {length} bytes of at most {LONGEST_SOCKET}",
            hint="give the deployment a shorter name: --name NAME",
        )
    return path
