"""By which ways a machine's nodes send and receive: document `ways.json` of each generation.

It is what depends on where other nodes run, and so it may change under a running node, which then
changes its ways and keeps its process. Laptop writes, nodes read (Python >= 3.10).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dora.protocol.config import NORMAL, InputConfig, Links, NodeConfig, OutputConfig, tuples

DOCUMENT = "ways.json"

MEMORY = "memory"  # within a process: the same wherever other nodes run


@dataclass(frozen=True, slots=True)
class InputWay:
    """The fields of an `InputConfig` that depend on where the source runs."""

    layer: str
    cache: int = 0
    at: str = ""


@dataclass(frozen=True, slots=True)
class OutputWay:
    """The fields of an `OutputConfig` that depend on where readers run; of `layers` those that
    leave the process."""

    layers: tuple[str, ...] = ()
    cache: int = 0
    priority: str = NORMAL
    shared: bool = False
    callers: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeWays:
    """Those of one node; its replicas on one machine have the same. Timers and what stays in the
    process have none."""

    inputs: Mapping[str, InputWay] = field(default_factory=dict)
    outputs: Mapping[str, OutputWay] = field(default_factory=dict)
    zenoh: str | None = None  # these three as in `NodeConfig`
    shm: str | None = None
    links: Links | None = None

    @classmethod
    def of(cls, config: NodeConfig) -> NodeWays:
        """Those that a whole configuration has."""
        return cls(
            inputs={
                name: InputWay(it.layer, it.cache, it.at)
                for name, it in config.inputs.items()
                if _leaves(it)
            },
            outputs={
                name: OutputWay(_outer(it.layers), it.cache, it.priority, it.shared, it.callers)
                for name, it in config.outputs.items()
                if _outer(it.layers)
            },
            zenoh=config.zenoh,
            shm=config.shm,
            links=config.links,
        )

    def laid(self, config: NodeConfig) -> NodeConfig:
        """The configuration with these ways in place of those that it has."""
        inputs, outputs = {}, {}
        for name, wired in config.inputs.items():
            way = self.inputs.get(name, InputWay(""))
            inputs[name] = (
                replace(wired, layer=way.layer, cache=way.cache, at=way.at)
                if _leaves(wired)
                else wired
            )
        for name, output in config.outputs.items():
            to = self.outputs.get(name, OutputWay())
            inner = tuple(it for it in output.layers if it == MEMORY)
            layers = inner + to.layers
            outputs[name] = OutputConfig(layers, to.cache, to.priority, to.shared, to.callers)
        return replace(
            config,
            inputs=inputs,
            outputs=outputs,
            zenoh=self.zenoh,
            shm=self.shm,
            links=self.links,
        )


def without_ways(config: NodeConfig) -> NodeConfig:
    """What is the same wherever other nodes run: a process need not be restarted as long as this
    stays what it is."""
    return NodeWays().laid(config)


def to_text(ways: Mapping[str, NodeWays]) -> str:
    """Of all nodes of a machine, by their ids."""
    return json.dumps({name: _to_json(it) for name, it in ways.items()}, sort_keys=True, indent=1)


def from_text(text: str) -> dict[str, NodeWays]:
    """Raises ValueError on anything but `to_text`'s output."""
    try:
        return {name: _from_json(it) for name, it in json.loads(text).items()}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not the ways of nodes: {error}") from error


def _leaves(wired: InputConfig) -> bool:
    """Whether an input is fed from outside its process."""
    return wired.interval is None and wired.layer != MEMORY


def _outer(layers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(it for it in layers if it != MEMORY)


_PLAIN = {"cache": 0, "at": "", "priority": NORMAL, "shared": False, "callers": ()}


def _to_json(ways: NodeWays) -> dict[str, Any]:
    data = {key: value for key, value in asdict(ways).items() if value}
    for edge in (*data.get("inputs", {}).values(), *data.get("outputs", {}).values()):
        for key in [key for key, value in edge.items() if _PLAIN.get(key, ...) == value]:
            del edge[key]
    return data


def _from_json(data: Mapping[str, Any]) -> NodeWays:
    values = dict(data)
    values["inputs"] = {name: InputWay(**it) for name, it in data.get("inputs", {}).items()}
    values["outputs"] = {
        name: OutputWay(**{**it, **tuples(it)}) for name, it in data.get("outputs", {}).items()
    }
    if data.get("links") is not None:
        values["links"] = Links(**data["links"])
    return NodeWays(**values)
