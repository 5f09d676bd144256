"""Files and machines' answers -> a plan and the closures it needs; changes nothing. Laptop only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.build import Workshop, build
from deploy.deployment import Deployment, Files, PythonEnvironment
from deploy.events import Building, Emit, ignore
from deploy.facts import Facts
from deploy.inventory import Inventory, Machine
from deploy.plan import Plan, plan
from deploy.profile import Profile
from deploy.secret import KEY as REFERENCE_KEY
from deploy.session import Session
from deploy.survey import Survey, survey
from deploy.undertaking import Closures
from deploy.unit import EXCLUSIVE
from dora.compile.compile import Site, compile_dataflow
from dora.compile.dataplane import AUTHORITY, CERTIFICATE, KEY, address_of, choose_ports
from dora.compile.packaging import Closure
from dora.compile.replicas import instances
from dora.compile.rerouted import rerouted, ways_of
from dora.compile.scheduling import not_allowed
from dora.compile.secrets import Told, tell, with_secrets
from dora.compile.wiring import Edge, crossing, edges
from dora.coordinator.attendance import unattended
from dora.coordinator.cache import cache_folder
from dora.coordinator.keys import MachineKeys, create_keys
from dora.coordinator.measured import LOOKS
from dora.coordinator.placing import place_nodes
from dora.coordinator.secrets import read_secrets, reference_key
from dora.dataflow.model import Dataflow, Node
from dora.errors import DoraError
from dora.placement.bars import NO_BARS, Bars
from dora.placement.gain import Gain
from dora.placement.groups import Situation
from dora.placement.model import Placement
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, RouterSummary


@dataclass(frozen=True)
class Prepared:
    """A plan, with all that is needed to carry it out or to show it. `files` are those of the user
    that it was made of, beside the flow file and the inventory."""

    name: str
    dataflow: Dataflow
    placement: Placement
    wiring: tuple[Edge, ...]
    plan: Plan
    profiles: Mapping[str, Profile]
    closures: Closures
    files: frozenset[Path]
    warnings: tuple[str, ...] = ()  # what the machines do not allow, and nodes do without
    surveys: Mapping[str, Survey] = field(default_factory=dict)
    situation: Situation = field(default_factory=lambda: Situation({}, ()))  # of the placement
    gain: Gain | None = None  # of moving what runs
    rerouted: Mapping[tuple[str, str], str] = field(default_factory=dict)  # see `dora.compile`


async def prepare(
    name: str,
    dataflow: Dataflow,
    inventory: Inventory,
    sessions: Mapping[str, Session],
    emit: Emit = ignore,
    *,
    measuring: bool = False,
    moving: bool = False,
    seconds: float = LOOKS,
    bars: Bars = NO_BARS,
    staying: bool = False,
) -> Prepared:
    """Places, compiles, builds and plans for the machines that answered.

    With `measuring`, nodes that are new are placed by what the others are seen to send within
    `seconds`. With `moving`, what runs is placed anew as well, if there is a real `gain`.
    `bars` are machines that nodes have to leave, if they can. Without `staying`, whoever deploys
    does not keep leases afterwards, and is warned where nobody else does.
    Raises PlacementError, DoraError or BuildError for what the files ask for and cannot be had,
    MachineError when a machine stops answering.
    """
    await asyncio.gather(*(_end_trials(session, name) for session in sessions.values()))
    found = await asyncio.gather(*(session.profile(name) for session in sessions.values()))
    current = dict(zip(sessions, found, strict=True))
    summary = newest_summary(name, sessions, current)
    if summary:
        refuse_orphans(name, summary, inventory)
    placed = await place_nodes(
        name,
        dataflow,
        inventory,
        sessions,
        summary,
        measuring=measuring,
        moving=moving,
        seconds=seconds,
        emit=emit,
        bars=bars,
    )
    placement = placed.placement
    hosts = {it.machine for it in instances(dataflow, placement)}
    taking_part = {machine: sessions[machine] for machine in sessions if machine in hosts}
    known = {**summary.routers} if summary else {}
    wiring = edges(dataflow, placement.machines, placement.scattered)
    linked = crossing(wiring, placement.machines, placement.replicas)
    away = {machine: known[machine] for machine in linked - set(sessions) if machine in known}
    here = {machine: taking_part[machine] for machine in taking_part if machine in linked}
    routers, new_keys = await _routers(name, here, current, away)

    workshop = Workshop(cache=cache_folder(), lock=Path(dataflow.file).with_suffix(".lock"))

    def say(what: str) -> None:
        emit(Building(what))

    processes = {it.node.id: it.of for it in instances(dataflow, placement)}
    sites = {
        machine: Site(
            session.machine,
            await asyncio.to_thread(equipped, session.machine, session.facts, workshop, say),
            held_cores(current[machine], processes, summary),
            session.machine.lease if len(inventory.machines) > 1 else 0.0,
        )
        for machine, session in taking_part.items()
    }
    deployment = compile_dataflow(name, dataflow, placement, sites, routers, Closure(), summary)
    told, secret_files = await _secrets(name, dataflow, placement, taking_part)
    deployment = with_secrets(deployment, told)
    built = await asyncio.to_thread(
        build,
        deployment,
        {machine: site.facts for machine, site in sites.items()},
        workshop,
        say,
    )
    profiles = {machine: result.profile for machine, result in built.items()}
    surveys = await survey(taking_part, current, built)
    closures = Closures(
        store=workshop.store,
        manifests={machine: result.manifests for machine, result in built.items()},
        looks={machine: it.look for machine, it in surveys.items() if it.look is not None},
        secrets={
            machine: {
                **secret_files[machine],
                **(key_files(new_keys[machine]) if machine in new_keys else {}),
            }
            for machine in taking_part
        },
    )
    return Prepared(
        name=name,
        dataflow=dataflow,
        placement=placement,
        situation=placed.situation,
        gain=placed.gain,
        rerouted=rerouted(wiring, ways_of(current.values()), ways_of(profiles.values())),
        wiring=wiring,
        plan=plan(name, profiles, current, {machine: it.trees for machine, it in surveys.items()}),
        profiles=profiles,
        closures=closures,
        surveys=surveys,
        files=frozenset(files_of(deployment)),
        warnings=(() if staying else await unattended(name, dataflow, sessions))
        + tuple(
            warning
            for machine, site in sites.items()
            for warning in not_allowed(
                machine,
                site.facts,
                site.machine.cores,
                [it.node for it in instances(dataflow, placement) if it.machine == machine],
            )
        ),
    )


def files_of(deployment: Deployment) -> Iterator[Path]:
    """The files of this laptop that units are made of; wheels and lists of requirements, too."""
    for machine in deployment.machines.values():
        for unit in machine.units:
            for name, source in unit.sources.items():
                if name == "library":
                    continue  # dora's own
                if isinstance(source, Files):
                    yield from (it for it in source.entries.values() if isinstance(it, Path))
                elif isinstance(source, PythonEnvironment):
                    named = (source.base / each for each in source.requirements)
                    yield from (path for path in named if path.is_file())


def key_files(keys: MachineKeys) -> dict[str, bytes]:
    """A machine's keys, as the secrets that its router looks for."""
    texts = {
        KEY: keys.key_pem,
        CERTIFICATE: keys.certificate_pem,
        AUTHORITY: keys.authority_pem,  # last: it tells that the others are there
    }
    return {name: text.encode() for name, text in texts.items()}


def held_cores(
    current: Profile | None, processes: Mapping[str, Node], summary: DataflowSummary | None
) -> dict[str, tuple[int, ...]]:
    """The exclusive cores that units have on a machine, as far as the nodes whose `processes` they
    are still ask for the same."""
    file = summary.descriptor if summary else {}
    before = {it.get("id"): it for it in file.get("nodes", ())}
    held = {}
    for unit in current.units if current else ():
        node = processes.get(unit.name)
        if node is not None and unit.pin == EXCLUSIVE:
            own = before.get(node.id, {}).get("deploy")
            asked = own or file.get("deploy") or {}
            if asked.get("core_kind") == node.deploy.core_kind:
                held[unit.name] = unit.cores
    return held


def refuse_orphans(name: str, summary: DataflowSummary, inventory: Inventory) -> None:
    """Raises DoraError when nodes run on a machine that the inventory does not have any more:
    nobody could stop them there, and placed elsewhere they would run twice."""
    orphans: dict[str, list[str]] = {}
    for node, placed in summary.nodes.items():
        if placed.machine not in inventory.machines:
            orphans.setdefault(placed.machine, []).append(node)
    if orphans:
        told = "; ".join(f"{', '.join(nodes)} on {it}" for it, nodes in sorted(orphans.items()))
        raise DoraError(
            f"{inventory.file} lacks machines on which {name} runs: {told}; nothing was changed",
            hint=f"put them back, `dora stop {name}`, then take them out and deploy again",
        )


async def _end_trials(session: Session, deployment: str) -> None:
    """Nobody keeps the time of a trial where the supervisor died: the next one may go back."""
    installed = session.facts.deployments.get(deployment)
    trial = installed is not None and installed.pending is not None
    if trial and not session.facts.supervisor.get("running"):
        await session.start_supervisor()
        await session.look(deployment)


def newest_summary(
    name: str, sessions: Mapping[str, Session], current: Mapping[str, Profile | None]
) -> DataflowSummary | None:
    """What the machine with the youngest generation knows of the whole dataflow.

    Each age is told by that machine's own clock, so that it does not matter how it is set. Raises
    DoraError for one that this version cannot read.
    """
    summaries = []
    for machine, profile in current.items():
        if profile is not None and DOCUMENT in profile.documents:
            facts = sessions[machine].facts
            age = facts.time - (facts.deployments[name].created or 0.0)
            summaries.append((age, machine, profile.documents[DOCUMENT]))
    if not summaries:
        return None
    _, machine, text = min(summaries)
    try:
        return DataflowSummary.from_text(text)
    except ValueError as error:
        raise DoraError(
            f"{machine}: {name!r} was deployed there by another version of dora ({error}); "
            "nothing was changed",
            hint=f"use that version, or end it first: dora stop {name}",
        ) from error


def equipped(
    machine: Machine, facts: Facts, workshop: Workshop, say: Callable[[str], None]
) -> Facts:
    """The machine as units will find it: with the Python that the inventory gives it. Raises
    BuildError for an archive that does not run there."""
    archive = machine.python_archive
    if archive is None:
        return facts
    from deploy.build.interpreter import interpreter_tree, with_interpreter  # rarely needed

    return with_interpreter(facts, interpreter_tree(archive, facts, workshop, say))


async def _secrets(
    name: str, dataflow: Dataflow, placement: Placement, sessions: Mapping[str, Session]
) -> tuple[dict[str, Told], dict[str, dict[str, bytes]]]:
    """What each node is told, and the files that its machine must have for that."""
    here = [it for it in instances(dataflow, placement) if it.machine in sessions]
    machines = {it.node.id: it.machine for it in here}
    nodes = list(dict.fromkeys(it.of.id for it in here))
    contents = await asyncio.to_thread(read_secrets, dataflow, nodes)
    needing = [
        machine
        for machine in sessions
        if machine in {it.machine for it in here if it.of.id in contents}
    ]
    asked = (reference_key(sessions[machine], name) for machine in needing)
    keys = dict(zip(needing, await asyncio.gather(*asked), strict=True))
    told = {
        it.node.id: tell(it.of, contents[it.of.id], keys[it.machine][0])
        for it in here
        if it.of.id in contents
    }
    files: dict[str, dict[str, bytes]] = {machine: {} for machine in sessions}
    for node, it in told.items():
        files[machines[node]].update(it.files)
    for machine, (key, new) in keys.items():
        if new:
            files[machine][REFERENCE_KEY] = key
    return told, files


async def _routers(
    name: str,
    sessions: Mapping[str, Session],
    current: Mapping[str, Profile | None],
    away: Mapping[str, RouterSummary],
) -> tuple[dict[str, RouterSummary], dict[str, MachineKeys]]:
    """How every machine's router is reached and trusted; keys for machines that have none."""
    if len(sessions) + len(away) < 2:
        return {}, {}
    ports = choose_ports(
        {machine: session.machine for machine, session in sessions.items()},
        {machine: session.facts for machine, session in sessions.items()},
        {machine: current[machine] for machine in sessions},
    )

    asked = (session.certificate(name, AUTHORITY) for session in sessions.values())
    found = await asyncio.gather(*asked)
    routers, new_keys = dict(away), {}
    for (machine, session), authority in zip(sessions.items(), found, strict=True):
        address = address_of(session.machine)
        if authority is None:
            new_keys[machine] = create_keys(machine, address)
            authority = new_keys[machine].authority_pem
        routers[machine] = RouterSummary(address, ports[machine], authority)
    return dict(sorted(routers.items())), new_keys
