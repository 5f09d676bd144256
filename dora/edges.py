"""What a node's inputs and outputs are connected to, and how that changes while it runs (>= 3.10).

Where other nodes run decides which layer serves an edge. When one of them moves, the edge changes
its way: an input is subscribed anew, an output is offered elsewhere. Edges whose way stays are not
touched: their subscriptions and publishers stay the same objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dora.communication.base import Publisher, Subscription
from dora.communication.layers import Layers
from dora.communication.shm.shortcut import Shortcut
from dora.protocol.config import NETWORK, InputConfig, NodeConfig, OutputConfig

Publishers = tuple[tuple[str, Publisher], ...]  # with the layer's name


class Edges:
    """Subscribed once constructed; `announce` follows. Raises DoraError if a layer cannot be
    opened.

    `approach` and `tidy` are for one thread, beside those that send. `short`: whether outputs that
    one layer alone carries may take its short way.
    """

    def __init__(self, config: NodeConfig, *, returns: int, short: bool) -> None:
        self.config = config
        self.layers = Layers(config, returns=returns)
        self.presence: Any = None
        self.shortcuts: dict[str, Shortcut] = {}
        self.publishers: dict[str, tuple[Publisher, ...]] = {}
        self._by_layer: dict[str, Publishers] = {}
        self._short = short
        self._returns = returns
        self._finished: dict[str, str | None] = {}  # output -> the error that it ended with
        self._taken: Counter[str] = Counter()  # by short ways that are no more
        try:
            self.subscriptions: dict[str, Subscription] = {
                name: self._subscribe(name, wired)
                for name, wired in config.inputs.items()
                if wired.interval is None
            }
            for name, output in config.outputs.items():
                self._offer(name, None, output)
        except BaseException:
            self.layers.close()
            raise

    def __repr__(self) -> str:
        return f"<Edges of {self.config.node}: {self.layers!r}>"

    def announce(self) -> None:
        """Through zenoh, if the node uses it."""
        if self.presence is None and _uses_zenoh(self.config):
            from dora.communication.presence import Presence

            layer: Any = self.layers.get("zenoh")
            config = self.config
            self.presence = Presence(layer.session, config.dataflow, config.node, self._returns)
            self.presence.announce()

    def approach(self, wanted: NodeConfig, feed: Callable[[str, Subscription], None]) -> None:
        """Changes the ways of all edges whose layers can be had at once; to be called again until
        `config` is as wanted. `feed` gets the new subscriptions of inputs, and has to close those
        that they had. Raises DoraError for a layer that cannot be opened."""
        self.layers.follow(wanted)
        inputs, outputs = dict(self.config.inputs), dict(self.config.outputs)
        self.config = replace(wanted, inputs=inputs, outputs=outputs)
        for name, wired in wanted.inputs.items():
            if wired != inputs[name] and self.layers.ready(wired.layer):
                feed(name, self._subscribe(name, wired))
                inputs[name] = wired
        for name, output in wanted.outputs.items():
            if output != outputs[name] and all(self.layers.ready(it) for it in output.layers):
                self._offer(name, outputs[name], output)
                outputs[name] = output
        if _uses_zenoh(self.config) and self.layers.ready("zenoh"):
            self.announce()

    def tidy(self) -> None:
        """Leaves layers through which no edge goes any more. The subscriptions that inputs had
        there are closed."""
        used = {wired.layer for wired in self.config.inputs.values()}
        used |= {layer for output in self.config.outputs.values() for layer in output.layers}
        if _uses_zenoh(self.config):
            used.add("zenoh")  # where the node is announced
        elif self.presence is not None:
            from dora.communication.presence import Left

            presence, self.presence = self.presence, None
            presence.leave(Left.STOPPED)  # it goes on here, and its readers here know
        self.layers.keep(used)

    def finish(self, output: str, error: str | None = None) -> None:
        """Raises KeyError."""
        for publisher in self.publishers[output]:
            publisher.finish(error)
        self._finished[output] = error

    def taken(self, output: str) -> int:
        """How many messages have gone the short way. From any thread."""
        publishers = self.publishers[output]
        return self._taken[output] + sum(getattr(it, "taken", 0) for it in publishers)

    def route(self, output: str) -> str:
        return f"{self.config.dataflow}/{self.config.node}/{output}"

    def uncalled(self) -> set[str]:
        """The inputs (`node/input`) that read outputs directly and have not called yet."""
        missing: set[str] = set()
        for name, output in self.config.outputs.items():
            if output.callers and self.layers.direct is not None:
                missing.update(
                    set(output.callers) - set(self.layers.direct.readers(self.route(name)))
                )
        return missing

    def _subscribe(self, name: str, wired: InputConfig) -> Subscription:
        return self.layers.subscribe(f"{self.config.dataflow}/{wired.source}", name, wired)

    def _offer(self, name: str, before: OutputConfig | None, output: OutputConfig) -> None:
        """What both have in common stays the same publisher. Who sends meanwhile, in another
        thread, sends to those from before or to those from now on."""
        had = dict(self._by_layer.get(name, ()))
        publishers: Publishers = tuple(
            (layer, had[layer])
            if layer in had and before is not None and _same(layer, before, output)
            else (layer, self.layers.publish(layer, self.route(name), output))
            for layer in output.layers
        )
        kept = {id(it) for _, it in publishers}
        if name in self._finished:
            for layer, publisher in publishers:
                if publisher is not had.get(layer):
                    publisher.finish(self._finished[name])
        self.shortcuts.pop(name, None)  # before others come: it leads to one alone
        self._by_layer[name] = publishers
        self.publishers[name] = tuple(it for _, it in publishers)
        way = getattr(publishers[0][1], "shortcut", None) if len(publishers) == 1 else None
        if way is not None and self._short:
            self.shortcuts[name] = way
        for gone in had.values():
            if id(gone) not in kept:
                gone.close()
                self._taken[name] += getattr(gone, "taken", 0)


def _same(layer: str, before: OutputConfig, after: OutputConfig) -> bool:
    """Whether a publisher of this layer does for both; within a machine the rest says nothing."""
    if layer == "direct":
        return before.cache == after.cache
    return layer != "zenoh" or _apart(before) == _apart(after)


def _apart(output: OutputConfig) -> OutputConfig:
    return replace(output, layers=(), callers=())


def _uses_zenoh(config: NodeConfig) -> bool:
    inputs: Mapping[str, InputConfig] = config.inputs
    outputs: Iterable[OutputConfig] = config.outputs.values()
    used = {it.layer for it in inputs.values()}.union(*[it.layers for it in outputs])
    return not used.isdisjoint(NETWORK)  # who reads directly is announced there, too
