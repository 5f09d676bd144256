"""Which machines call which others by TCP, for inputs with `link: direct`. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.inventory import Machine
from deploy.profile import Profile
from dora.compile.dataplane import host_port
from dora.coordinator.doctor.supply import may_run
from dora.dataflow.model import Dataflow, Node, OutputSource
from dora.protocol import ways
from dora.protocol.dataflow import DOCUMENT, DataflowSummary


def calls(profile: Profile) -> Mapping[str, tuple[str, ...]] | None:
    """Whom the nodes of a machine's profile call: machine -> the inputs (`node/input`) for which
    they do. None: it is of another version of dora, and nobody knows."""
    try:
        summary = DataflowSummary.from_text(profile.documents.get(DOCUMENT, ""))
        told = ways.from_text(profile.documents.get(ways.DOCUMENT, "{}"))
    except ValueError:
        return None
    machines = {host_port(router): name for name, router in summary.routers.items()}
    found: dict[str, list[str]] = {}
    for node, its in told.items():
        for name, way in its.inputs.items():
            if way.layer == "direct" and way.at in machines:
                found.setdefault(machines[way.at], []).append(f"{node}/{name}")
    return {machine: tuple(sorted(inputs)) for machine, inputs in found.items()}


def may_call(dataflow: Dataflow, source: Machine, target: Machine) -> tuple[str, ...]:
    """The inputs for which a node on `source` would call one on `target`, if both are placed where
    the flow file lets them be."""
    return tuple(
        f"{reader.id}/{name}"
        for reader, name, sender in _direct_inputs(dataflow)
        if may_run(reader, source) and may_run(sender, target)
    )


def may_be_called(dataflow: Dataflow, machine: Machine) -> bool:
    return any(may_run(sender, machine) for _, _, sender in _direct_inputs(dataflow))


def _direct_inputs(dataflow: Dataflow) -> Iterator[tuple[Node, str, Node]]:
    """The reader, its input, and the sender of those with `link: direct`."""
    for reader in dataflow.nodes.values():
        for name, wired in reader.all_inputs.items():
            source = wired.source
            if wired.direct and isinstance(source, OutputSource) and source.node != reader.id:
                yield reader, name, dataflow.nodes[source.node]
