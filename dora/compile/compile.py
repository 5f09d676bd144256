"""Dataflow + Placement -> Deployment: a unit for each node, routers where edges leave. Laptop only.

Pure but for the reading of the users' files that it packages.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from deploy.build.files import label
from deploy.deployment import Deployment, Files, MachineSpec, Source, UnitSpec
from deploy.facts import Facts
from deploy.inventory import Machine
from deploy.supervisor.measures import DOCUMENT as MEASURES
from deploy.unit import HealthCommand, Realtime, RestartPolicy, Socket, StopPolicy, Unit, escape
from dora.compile import cores, dataplane, measures
from dora.compile.cores import Cores
from dora.compile.packaging import Package, Packaging
from dora.compile.replicas import Instance, instances, operator_counts
from dora.compile.wiring import Edge, connected, edges, inputs, is_read, layers_of, outputs
from dora.dataflow.graph import ranks
from dora.dataflow.model import Dataflow, Node
from dora.errors import DoraError
from dora.placement.model import Placement
from dora.protocol.config import (
    IN_FILE,
    LONGEST_IN_ENVIRONMENT,
    NODE_CONFIG,
    REPLICA,
    NodeConfig,
)
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary, RouterSummary
from dora.protocol.router import ROUTER_CONFIG, RouterConfig
from dora.protocol.ways import DOCUMENT as WAYS
from dora.protocol.ways import NodeWays, to_text, without_ways

DEFAULT_START_TIMEOUT = 60.0  # seconds for a node to be ready; first starts compile their imports

STOP_REPLICA = 25.0  # seconds; longer than a replica takes for its queue (`dora.stream.DRAIN`)

NODE_PYTHON = (3, 10)


@dataclass(frozen=True)
class Site:
    """A machine that answered, and what was read off it. `held` are the exclusive cores that nodes
    have there now, and may keep; `lease` is that of nodes that may move (see `deploy.unit`)."""

    machine: Machine
    facts: Facts
    held: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lease: float = 0.0


def compile_dataflow(
    name: str,
    dataflow: Dataflow,
    placement: Placement,
    sites: Mapping[str, Site],
    routers: Mapping[str, RouterSummary],
    packaging: Packaging,
    running: DataflowSummary | None = None,
) -> Deployment:
    """What each machine of `sites` is to run; nodes placed on other machines are left out.
    Operators that scale themselves keep the number of replicas that they have in `running`.

    `routers` holds every machine that some edge enters or leaves, also those that are away.
    Raises DoraError or BuildError for what cannot run; `dora.dataflow.unsupported` has let it pass.
    """
    for node in dataflow.nodes.values():
        if node.id == dataplane.ROUTER:
            raise DoraError(
                f"{node.mark.file}:{node.mark.line}: {node.id!r} is the name of dora's own router",
                hint="choose another id",
            )
    for site in sites.values():
        if site.facts.python_version[:2] < NODE_PYTHON:
            found = ".".join(map(str, site.facts.python_version))
            raise DoraError(
                f"machine {site.machine.id!r} has Python {found}, and nodes need 3.10 or newer",
                hint="install one there and name it in the inventory: python: /usr/bin/python3.11",
            )
    wiring = edges(dataflow, placement.machines, placement.scattered)
    summary = summarise(name, dataflow, placement, routers, running)
    machines = {}
    for machine, site in sites.items():
        nodes = [it for it in instances(dataflow, placement) if it.machine == machine]
        if nodes:
            machines[machine] = _machine(
                name,
                dataflow,
                nodes,
                site,
                {node: routers[at] for node, at in placement.machines.items() if at in routers},
                dataplane.router_config(
                    name,
                    site.machine,
                    site.facts,
                    routers,
                    direct=any(edge.direct for edge in wiring),
                ),
                wiring,
                packaging,
                summary.to_text(),
            )
    return Deployment(name=name, machines=machines)


def _machine(
    name: str,
    dataflow: Dataflow,
    nodes: list[Instance],
    site: Site,
    router_of: Mapping[str, RouterSummary],
    router: RouterConfig,
    wiring: Sequence[Edge],
    packaging: Packaging,
    summary: str,
) -> MachineSpec:
    pinned = cores.assign_cores(
        site.machine.id,
        [it.node for it in nodes],
        site.facts.topology,
        site.facts.cores,
        limit=site.machine.cores,
        others=[it for it in site.facts.pinned if it.deployment != name],
        current=site.held,
    )
    units = []
    ways: dict[str, NodeWays] = {}  # of nodes, replicas of which have the same
    reached = {node: dataplane.host_port(it) for node, it in router_of.items()}
    routed = any("zenoh" in layers_of(it.of.id, wiring) for it in nodes)
    if routed:
        units.append(
            _unit(
                dataplane.ROUTER,
                packaging.router(dataflow, site.machine, site.facts),
                env={ROUTER_CONFIG: escape(router.to_text())},
                cores=_all_cores(site),
                restart=RestartPolicy(when="always", delay=0.1, max_delay=2.0, window=10.0),
            )
        )
    # Consumers before producers; numbered for this machine alone, so that less of it ever changes.
    there = ranks(dataflow)
    levels = sorted({there[it.of.id] for it in nodes})
    rank = {it.of.id: levels.index(there[it.of.id]) for it in nodes}
    for instance in nodes:
        node = instance.of
        layers = layers_of(node.id, wiring)
        config = NodeConfig(
            dataflow=name,
            dataflow_id=dataflow_id(name),
            node=node.id,
            inputs=inputs(node, wiring, reached),
            outputs=outputs(node, wiring),
            # Operators may end the whole dataflow: their runtime must reach the other machines.
            zenoh=router.socket if "zenoh" in layers or (node.operators and routed) else None,
            shm=f"{site.facts.run}/{name}" if "shm" in layers else None,
            documents=router.documents,
            state=f"{site.facts.root}/state/{name}",
            links=dataplane.links(router, [router_of[it] for it in connected(node.id, wiring)]),
        )
        ways[node.id] = NodeWays.of(config)
        health, checks = packaging.health(dataflow, node, site.facts)
        told, further = _told(without_ways(config))
        package = packaging.node(dataflow, node, site.machine, site.facts)
        units.append(
            _unit(
                instance.node.id,
                replace(package, sources={**package.sources, **further}),
                env={NODE_CONFIG: told, **_which(instance)},
                cores=pinned[instance.node.id],
                restart=RestartPolicy(
                    when=node.restart.policy,
                    max_restarts=node.restart.max_restarts,
                    delay=node.restart.delay,
                    max_delay=node.restart.max_delay,
                    window=node.restart.window,
                ),
                start_timeout=node.startup_timeout or DEFAULT_START_TIMEOUT,
                order=1,
                rank=rank[node.id],
                # Held by the supervisor, so that readers may come before their producer, and find
                # it again after it was killed; also where there are none on this machine, yet.
                sockets=(Socket("shm", f"{instance.node.id}.shm", "seqpacket"),)
                if dataflow.layer != "zenoh" and is_read(node.id, wiring)
                else (),
                # A replica that is to go first works off what it was given.
                stop=StopPolicy(term_after=STOP_REPLICA) if instance.replica else None,
                realtime=_realtime(node),
                nice=node.deploy.nice,
                memory=node.deploy.memory or 0,
                watchdog=node.health_check_timeout or 0.0,
                log_size=node.max_log_size or 0,
                log_files=1 if node.max_rotated_files is None else node.max_rotated_files,
                health=health,
                checks=checks,
                lease=site.lease if node.deploy.moves else 0.0,
            )
        )
    documents = {DOCUMENT: summary, WAYS: to_text(ways)}
    if site.machine.metrics is not None:
        documents[MEASURES] = measures.document()
    return MachineSpec(machine=site.machine.id, units=tuple(units), documents=documents)


def _told(config: NodeConfig) -> tuple[str, dict[str, Source]]:
    """The template of $DORA_NODE_CONFIG, and the file that it names if it would be too long."""
    text = config.to_text()
    if len(text) <= LONGEST_IN_ENVIRONMENT:
        return escape(text), {}
    files = Files(label(f"{config.node}-config"), {"node.json": text.encode()})
    return f"{IN_FILE}${{config}}/node.json", {"config": files}


def _unit(
    name: str,
    package: Package,
    *,
    env: Mapping[str, str],
    cores: Cores,
    restart: RestartPolicy,
    start_timeout: float = DEFAULT_START_TIMEOUT,
    order: int = 0,
    rank: int = 0,
    sockets: tuple[Socket, ...] = (),
    stop: StopPolicy | None = None,
    realtime: Realtime | None = None,
    nice: int = 0,
    memory: int = 0,
    watchdog: float = 0.0,
    log_size: int = 0,
    log_files: int = 1,
    health: tuple[HealthCommand, ...] = (),
    lease: float = 0.0,
    checks: Mapping[str, Source] | None = None,
) -> UnitSpec:
    unit = Unit(
        name=name,
        argv=package.argv,
        cwd=package.cwd,
        env={**package.env, **env},
        cores=cores.numbers,
        pin=cores.pin,
        realtime=realtime,
        nice=nice,
        links=f"${{{package.links}}}" if package.links else None,
        reload=package.reload,
        readiness="notify",
        start_timeout=start_timeout,
        restart=restart,
        order=order,
        rank=rank,
        sockets=sockets,
        stop=stop or StopPolicy(),
        memory=memory,
        watchdog=watchdog,
        log_size=log_size,
        log_files=log_files,
        health=health,
        lease=lease,
    )
    return UnitSpec(unit=unit, sources={**package.sources, **(checks or {})})


def _which(instance: Instance) -> dict[str, str]:
    return {REPLICA: str(instance.replica)} if instance.replica else {}


def _all_cores(site: Site) -> Cores:
    """Those of the inventory, as far as they are there; for whoever has no wishes."""
    if site.machine.cores is None:
        return Cores(())
    return Cores(cores.usable(site.facts.topology, site.facts.cores, site.machine.cores))


def _realtime(node: Node) -> Realtime | None:
    wanted = node.deploy.realtime
    return None if wanted is None else Realtime(wanted.policy, wanted.priority)


def summarise(
    name: str,
    dataflow: Dataflow,
    placement: Placement,
    routers: Mapping[str, RouterSummary],
    running: DataflowSummary | None = None,
) -> DataflowSummary:
    before = running.nodes if running else {}
    return DataflowSummary(
        name=name,
        nodes={
            it.node.id: NodeSummary(
                machine=it.machine,
                reason=(placement.of_unit(it.node.id) or placement[it.of.id]).reason,
                inputs={key: str(wired.source) for key, wired in it.of.all_inputs.items()},
                outputs=it.of.all_outputs,
                restart=it.of.restart.policy,
                replica_of=it.of.id if it.replica else "",
                operators=operator_counts(it.of, before.get(it.node.id)),
                moved=placement.assignments[it.of.id].moved,
            )
            for it in instances(dataflow, placement)
        },
        routers=routers,
        descriptor=dataflow.descriptor,
    )


def dataflow_id(name: str) -> str:
    """The same for ever for one deployment, so that it restarts nothing."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"dora:{name}"))
