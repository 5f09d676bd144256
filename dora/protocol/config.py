"""What a node is told about itself, in $DORA_NODE_CONFIG. Laptop writes, node reads (>= 3.10).

Only what must restart the node when it changes belongs here; what the rest of the dataflow looks
like is in the documents beside the generation (`documents`), which may change under a running node.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

NODE_CONFIG = "DORA_NODE_CONFIG"  # environment variable: the text itself, or @ and its file's path
REPLICA = "DORA_REPLICA"  # environment variable: which of the node's replicas this is
IN_FILE = "@"
LONGEST_IN_ENVIRONMENT = 64_000  # bytes; Linux takes 128 KiB for one variable

# How urgent an output's messages are between machines, from the most to the least.
REALTIME, HIGH, NORMAL, BULK = "realtime", "high", "normal", "bulk"
PRIORITIES = (REALTIME, HIGH, NORMAL, BULK)


NETWORK = ("zenoh", "direct")  # the layers between machines


@dataclass(frozen=True, slots=True)
class InputConfig:
    """`source` is `node/output` (with the operator in between for runtimes) or a timer.

    `layer` names the communication layer that brings it: `zenoh`, `direct`, `shm`, `memory`, or
    `timer`.
    `joined`: the source is a node with replicas, however many. `share`: replicas of the node that
    this is an input of get each message once among them, with equal values of the parameter `key`
    in order; empty: each gets all.
    """

    source: str
    layer: str
    queue_size: int = 10
    queue_policy: str = "drop_oldest"
    interval: int | None = None  # of a timer, nanoseconds
    timeout: float | None = None  # seconds without a message until INPUT_CLOSED
    cache: int = 0  # of the output, if it is reliable
    joined: bool = False
    share: str = ""  # `<node>/<input>`
    key: str = ""
    at: str = ""  # of layer `direct`: `host:port` of the router of the source's machine


def source_of(wired: InputConfig) -> str:
    """The node that an input reads."""
    return wired.source.split("/", 1)[0]


def replica_name(node: str, replica: int) -> str:
    """What a replica of a node is called: its unit, its log, its folder."""
    return f"{node}.{replica}"


@dataclass(frozen=True, slots=True)
class OutputConfig:
    """`layers`: over which layers somebody may listen.

    With a `cache` the output is reliable between machines: so many messages are kept for readers
    that missed them. `shared`: some readers are replicas that share it. `callers`: the inputs
    (`node/input`) that read it directly, from other machines.
    """

    layers: tuple[str, ...] = ("zenoh",)
    cache: int = 0
    priority: str = NORMAL
    shared: bool = False
    callers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Links:
    """By what a node shows those of other machines who it is, and knows them: paths on its machine,
    PEM text. `insecure`: over plain TCP, without any of it."""

    key: str = ""
    certificate: str = ""
    authorities: str = ""
    insecure: bool = False


@dataclass(frozen=True)
class NodeConfig:
    dataflow: str  # the deployment's name: the first segment of every route
    dataflow_id: str  # UUID text
    node: str
    inputs: Mapping[str, InputConfig] = field(default_factory=dict)
    outputs: Mapping[str, OutputConfig] = field(default_factory=dict)
    zenoh: str | None = None  # Unix socket of the machine's router
    shm: str | None = None  # folder for the sockets of the deployment's nodes on this machine
    documents: str | None = None  # folder of the deployment's documents on this machine
    state: str | None = None  # folder for what the deployment's nodes keep on this machine
    barrier: float = 10.0  # seconds to wait for those who read our outputs
    links: Links | None = None  # for layer `direct`
    replica: int = 0  # which of the replicas of a node this is, from 1; 0: it has none

    def to_text(self) -> str:
        data = asdict(self)
        del data["replica"]  # all replicas have the same text
        if self.links is None:
            del data["links"]
        for edge in (*data["inputs"].values(), *data["outputs"].values()):
            for key, default in _LATER.items():
                if key in edge and edge[key] == default:
                    del edge[key]
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> NodeConfig | None:
        """None outside of a dataflow. Raises ValueError as `from_text`, or for a missing file."""
        text = environ.get(NODE_CONFIG)
        if not text:
            return None
        if text.startswith(IN_FILE):
            try:
                text = Path(text.removeprefix(IN_FILE)).read_text()
            except OSError as error:
                raise ValueError(f"${NODE_CONFIG} names a file that cannot be read: {error}") from (
                    error
                )
        config = cls.from_text(text)
        replica = environ.get(REPLICA, "")
        return config.of(int(replica)) if replica.isascii() and replica.isdigit() else config

    @property
    def base(self) -> str:
        """The node that this is a replica of; empty if it is none."""
        return self.node.rpartition(".")[0] if self.replica else ""

    def of(self, replica: int) -> NodeConfig:
        """For one replica of the node."""
        return replace(self, node=replica_name(self.node, replica), replica=replica)

    @classmethod
    def from_text(cls, text: str) -> NodeConfig:
        """Raises ValueError, with what is wrong, on anything but `to_text`'s output."""
        try:
            data: dict[str, Any] = json.loads(text)
            data["inputs"] = {k: InputConfig(**v) for k, v in data.get("inputs", {}).items()}
            data["outputs"] = {
                name: OutputConfig(**{**output, **tuples(output)})
                for name, output in data.get("outputs", {}).items()
            }
            if data.get("links") is not None:
                data["links"] = Links(**data["links"])
            return cls(**data)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"${NODE_CONFIG} is not a node configuration: {error}") from error


def tuples(output: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Those values of an output, read from JSON, that are no lists."""
    return {key: tuple(output.get(key, ())) for key in ("layers", "callers")}


# Keys that came later: left out while they say nothing, so that the text of a configuration that
# does not use them, and thereby the node's process, stays what it was.
_LATER = {
    "cache": 0,
    "priority": NORMAL,
    "joined": False,
    "share": "",
    "key": "",
    "shared": False,
    "at": "",
    "callers": (),
}
