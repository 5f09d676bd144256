"""The dataflow as its running parts see it: document `dataflow.json` of each generation.

Laptop writes, nodes, routers and the command line read (Python >= 3.10). Changing it restarts
nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

DOCUMENT = "dataflow.json"


@dataclass(frozen=True)
class NodeSummary:
    """Where a node runs and whom it listens to (`inputs`: input -> `node/output` or timer)."""

    machine: str
    reason: str  # of its placement
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    restart: str = "never"
    replica_of: str = ""  # the node, if this is one of its replicas
    operators: Mapping[str, int] = field(default_factory=dict)  # with replicas -> how many
    moved: str = ""  # from where it had to go, when, and why


@dataclass(frozen=True)
class RouterSummary:
    """Where a machine's router is reached, and the certificate (PEM) of who signed its own.

    Remembered on every machine, so that one that is away today is still known tomorrow.
    """

    host: str
    port: int
    authority: str


@dataclass(frozen=True)
class DataflowSummary:
    name: str
    nodes: Mapping[str, NodeSummary]
    routers: Mapping[str, RouterSummary] = field(default_factory=dict)  # machine -> router
    descriptor: Mapping[str, Any] = field(default_factory=dict)

    def source(self, node: str) -> str:
        """As inputs name it: a replica goes by the name of its node."""
        summary = self.nodes.get(node)
        return (summary.replica_of if summary else "") or node

    def replicas(self, node: str) -> tuple[str, ...]:
        """The names of the replicas that a node has, by their index; none if it has no replicas."""
        found = (name for name, it in self.nodes.items() if it.replica_of == node)
        return tuple(sorted(found, key=lambda name: int(name.rpartition(".")[2])))

    def consumers(self, node: str) -> frozenset[str]:
        """The nodes that read an output of `node`."""
        node = self.source(node)
        return frozenset(
            name
            for name, summary in self.nodes.items()
            if any(source.split("/")[0] == node for source in summary.inputs.values())
        )

    def listeners(
        self, node: str, outputs: Collection[str], others: Collection[tuple[str, str]] = ()
    ) -> Counter[tuple[str, str]]:
        """How many inputs of each other node on the machine of `node` read each of these outputs:
        (reader, output). A runtime listens once, for however many of its operators. Inputs that
        are among `others` (node, input) read in another way."""
        found: Counter[tuple[str, str]] = Counter()
        source_node = self.source(node)
        for name, summary in self.nodes.items():
            if name == node or summary.machine != self.nodes[node].machine:
                continue
            for wired, source in summary.inputs.items():
                producer, _, output = source.partition("/")
                if producer != source_node or output not in outputs:
                    continue
                if (self.source(name), wired) in others:
                    continue
                if "/" in wired:
                    found[name, output] = 1
                else:
                    found[name, output] += 1
        return found

    def to_text(self) -> str:
        data = asdict(self)
        for node in data["nodes"].values():
            for name in ("replica_of", "operators", "moved"):
                if not node[name]:
                    del node[name]
        return json.dumps(data, sort_keys=True, indent=1)

    @classmethod
    def from_text(cls, text: str) -> DataflowSummary:
        """Raises ValueError on anything but `to_text`'s output."""
        try:
            data = json.loads(text)
            nodes = {
                name: NodeSummary(**{**node, "outputs": tuple(node["outputs"])})
                for name, node in data["nodes"].items()
            }
            routers = {name: RouterSummary(**it) for name, it in data.get("routers", {}).items()}
            descriptor = data.get("descriptor", {})
            return cls(name=data["name"], nodes=nodes, routers=routers, descriptor=descriptor)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a dataflow summary: {error}") from error
