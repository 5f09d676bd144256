"""What a flow file asks of the places of its nodes, one by one, each with its place in the file.

Pure; laptop only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from dora.dataflow.model import Dataflow, Mark, Node
from dora.placement.hosts import Host

Kind = Literal[
    "machine", "label", "device", "platform", "affinity", "cores", "memory", "near", "apart"
]

AWAY = "is away"


@dataclass(frozen=True)
class Wish:
    """One thing that must hold. `value` is a text for most kinds (a label as `key=value`), a number
    for `cores` and `memory`, core numbers for `affinity`."""

    node: str
    kind: Kind
    text: str = ""
    number: int = 0
    cores: tuple[int, ...] = ()
    mark: Mark | None = field(default=None, compare=False)
    each: bool = False  # of each replica of the node

    @property
    def told(self) -> str:
        """As a sentence without an end."""
        what = {
            "machine": f"is to run on {self.text}",
            "label": f"needs a machine with {self.text}",
            "device": f"needs the device {self.text}",
            "platform": f"has files for {self.text}",
            "affinity": f"is to run on {_listed(self.cores)}",
            "cores": f"takes {counted(self.number, 'exclusive core')}",
            "memory": f"may take {amount(self.number)} of memory",
            "near": f"is to be near {self.text}",
            "apart": f"is to be apart from {self.text}",
        }
        who = f"each replica of {self.node}" if self.each else self.node
        return f"{who} {what[self.kind]}"


def wishes_of(
    dataflow: Dataflow,
    platforms: Mapping[str, str] | None = None,
    packed: Mapping[str, int] | None = None,
) -> tuple[Wish, ...]:
    """In the order of the file. `platforms`: node -> the one architecture that it is for; `packed`:
    node -> how many replicas go together. Of other nodes with replicas the wishes are those of
    each."""
    found: list[Wish] = []
    for node in dataflow.nodes.values():
        found += _of(node, packed or {})
        if platforms and node.id in platforms:
            found.append(
                Wish(node.id, "platform", platforms[node.id], mark=node.path_mark or node.mark)
            )
    return tuple(found)


def _of(node: Node, packed: Mapping[str, int]) -> list[Wish]:
    deploy = node.deploy
    count = packed.get(node.id, 1)
    each = deploy.has_replicas and node.id not in packed

    def at(key: str) -> Mark:
        return deploy.marks.get(key) or deploy.mark or node.mark

    found: list[Wish] = []
    if deploy.machine is not None:
        found.append(Wish(node.id, "machine", deploy.machine, mark=at("machine")))
    for key, value in deploy.labels.items():
        found.append(Wish(node.id, "label", f"{key}={value}", mark=at("labels")))
    for device in deploy.devices:
        found.append(Wish(node.id, "device", device, mark=at("devices")))
    if node.cpu_affinity:
        found.append(Wish(node.id, "affinity", cores=node.cpu_affinity, mark=node.mark))
    if deploy.cores:
        found.append(Wish(node.id, "cores", number=deploy.cores * count, mark=at("cores")))
    if deploy.memory:
        found.append(Wish(node.id, "memory", number=deploy.memory * count, mark=at("memory")))
    if deploy.near is not None:
        found.append(Wish(node.id, "near", deploy.near, mark=at("near")))
    for other in deploy.apart:
        found.append(Wish(node.id, "apart", other, mark=at("apart")))
    return [replace(wish, each=True) for wish in found] if each else found


def matches(wishes: Sequence[Wish], host: Host) -> bool:
    """Whether the inventory says that a host will do; nobody needs to ask the machine for that."""
    return all(
        wish.text == host.id if wish.kind == "machine" else _labelled(wish, host)
        for wish in wishes
        if wish.kind in ("machine", "label")
    )


def lacks(wishes: Sequence[Wish], host: Host) -> list[str]:
    """Why an empty host cannot take nodes with these wishes, as ends of sentences; empty if it can.
    `machine`, `near` and `apart` are not looked at."""
    reasons = []
    for wish in _once(wishes, "label"):
        if not _labelled(wish, host):
            key, _, _ = wish.text.partition("=")
            has = f" (it has {host.labels[key]})" if key in host.labels else ""
            reasons.append(f"lacks the label {wish.text}{has}")
    if not host.answers:
        return [*reasons, AWAY]
    cores = sum(wish.number for wish in wishes if wish.kind == "cores")
    if cores > host.alone:
        reasons.append(f"has {host.alone} of the {counted(cores, 'exclusive core')}")
    named = {core for wish in wishes if wish.kind == "affinity" for core in wish.cores}
    if missing := named - host.cores:
        reasons.append(f"has no {_listed(sorted(missing))} for dataflows")
    memory = sum(wish.number for wish in wishes if wish.kind == "memory")
    if host.found.memory is not None and memory > host.found.memory:
        reasons.append(f"has {amount(host.found.memory)} of the {amount(memory)} of memory")
    devices = host.found.devices
    for wish in _once(wishes, "device"):
        if devices is not None and not any(fnmatchcase(it, wish.text) for it in devices):
            reasons.append(f"has no {wish.text}")
    for wish in _once(wishes, "platform"):
        if host.found.arch not in (None, wish.text):
            reasons.append(f"is {host.found.arch}, and {wish.told}")
    return reasons


def _labelled(wish: Wish, host: Host) -> bool:
    key, _, value = wish.text.partition("=")
    return host.labels.get(key) == value


def _once(wishes: Sequence[Wish], kind: Kind) -> list[Wish]:
    return list({wish.text: wish for wish in wishes if wish.kind == kind}.values())


def amount(size: int) -> str:
    """`512 MiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} B"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(cores: Sequence[int]) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(map(str, cores))}"
