"""Who reads whom in one runtime: edges inside it, and messages from outside. Pure; nodes (>= 3.10).

Several inputs that read the same output (or have the same timer) share one subscription: a thousand
operators that read one camera cost one descriptor, and its images are decoded once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dora.protocol.config import InputConfig, NodeConfig
from dora.protocol.runtime import OperatorConfig, RuntimeConfig

MEMORY = "memory"

Port = tuple[str, str]  # an operator's id, and the name of one of its inputs or outputs


@dataclass(frozen=True)
class Wiring:
    """`outside`: what the process is to the rest of the dataflow; its inputs are the keys of
    `arrivals`, and its outputs those that somebody outside reads."""

    outside: NodeConfig
    arrivals: dict[str, tuple[Port, ...]]
    inside: dict[Port, tuple[Port, ...]]  # output -> inputs of the same runtime
    names: dict[Port, str]  # output -> its name behind `<node>/`
    inputs: dict[Port, InputConfig]

    def follow(self, outside: NodeConfig) -> None:
        """Notes by which ways messages come from outside now. From any thread."""
        for name, readers in self.arrivals.items():
            now = outside.inputs[name]
            for port in readers:
                self.inputs[port] = replace(
                    self.inputs[port], layer=now.layer, cache=now.cache, at=now.at
                )


def wire(node: NodeConfig, runtime: RuntimeConfig) -> Wiring:
    """Raises ValueError when the two do not belong together."""
    names = {
        (operator.id, output): output if runtime.bare_outputs else f"{operator.id}/{output}"
        for operator in runtime.operators
        for output in operator.outputs
    }
    ports = {f"{node.node}/{name}": port for port, name in names.items()}
    inputs = {port: _input(node, *port) for it in runtime.operators for port in _inputs(it)}
    inside: dict[Port, list[Port]] = {}
    shared: dict[tuple[object, ...], list[Port]] = {}
    for port, wired in inputs.items():
        if wired.layer == MEMORY:
            if wired.source not in ports:
                raise ValueError(f"input {'/'.join(port)} reads {wired.source}, which nobody sends")
            inside.setdefault(ports[wired.source], []).append(port)
        else:
            what = wired.source if wired.interval is None else wired.interval
            key = (what, wired.layer, wired.queue_policy, wired.timeout, wired.cache)
            shared.setdefault(key, []).append(port)
    arrivals = {"/".join(readers[0]): tuple(readers) for readers in shared.values()}
    outside = replace(
        node,
        inputs={name: _roomiest(inputs, readers) for name, readers in arrivals.items()},
        outputs={
            name: replace(output, layers=tuple(it for it in output.layers if it != MEMORY))
            for name, output in node.outputs.items()
            if set(output.layers) - {MEMORY}
        },
    )
    return Wiring(
        outside=outside,
        arrivals=arrivals,
        inside={port: tuple(readers) for port, readers in inside.items()},
        names=names,
        inputs=inputs,
    )


def _inputs(operator: OperatorConfig) -> list[Port]:
    return [(operator.id, name) for name in operator.inputs]


def _input(node: NodeConfig, operator: str, name: str) -> InputConfig:
    try:
        return node.inputs[f"{operator}/{name}"]
    except KeyError:
        raise ValueError(f"the node's configuration has no input {operator}/{name}") from None


def _roomiest(inputs: dict[Port, InputConfig], readers: tuple[Port, ...]) -> InputConfig:
    """Of inputs that are equal but for their queues, the one with the largest."""
    return max((inputs[port] for port in readers), key=lambda wired: wired.queue_size)
