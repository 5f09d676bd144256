"""Which unit is told which secret: references to contents, never contents. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deploy.deployment import Deployment, MachineSpec
from deploy.secret import Secret, reference
from dora.dataflow.model import Node

Contents = Mapping[str, bytes]  # a node's variable -> what it is told


@dataclass(frozen=True)
class Told:
    """`secrets` are a node's; `files` (reference -> content) what its machine must have for them,
    with which nothing may happen but to be handed over."""

    secrets: tuple[Secret, ...]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def tell(node: Node, contents: Contents, key: bytes) -> Told:
    """`contents` has all secrets of the node. `key` is its machine's."""
    secrets = []
    files = {}
    for source in node.secrets:
        content = contents[source.variable]
        name = reference(key, node.id, source.variable, content)
        files[name] = content
        secrets.append(Secret(source.variable, name, source.path))
    return Told(tuple(secrets), files)


def with_secrets(deployment: Deployment, told: Mapping[str, Told]) -> Deployment:
    """The deployment with each node's secrets in its unit. `told` is by node."""

    def machine(spec: MachineSpec) -> MachineSpec:
        units = tuple(
            replace(it, unit=replace(it.unit, secrets=told[it.unit.name].secrets))
            if it.unit.name in told
            else it
            for it in spec.units
        )
        return replace(spec, units=units)

    machines = {name: machine(spec) for name, spec in deployment.machines.items()}
    return replace(deployment, machines=machines)
