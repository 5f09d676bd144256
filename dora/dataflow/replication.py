"""Checks of what a dataflow says about replicas. Pure; laptop only."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.errors import Issue
from dora.dataflow.graph import DYNAMIC
from dora.dataflow.model import Dataflow, Input, Mark, Node, OutputSource


def check_replicas(dataflow: Dataflow) -> Iterator[Issue]:
    for node in dataflow.nodes.values():
        replicated = node.deploy.has_replicas
        for wired in node.inputs.values():
            yield from _input(node.id, wired, replicated, "add `replicas:` to its `deploy:`")
        for operator in node.operators:
            name = f"{node.id}/{operator.id}"
            its = operator.has_replicas
            for wired in operator.inputs.values():
                yield from _input(name, wired, its, "add `replicas:` to the operator")
            for other in node.operators if its else ():
                yield from _name(operator.id, other.id, other.mark)
        for wired in node.all_inputs.values():
            if wired.direct:
                yield from _direct(dataflow, node, wired)
        if node.deploy.spread and not replicated:
            mark = node.deploy.marks.get("spread", node.mark)
            yield mark.issue(f"`spread` is for replicas, and {node.id} has none", "add `replicas:`")
        if replicated:
            yield from _node(dataflow, node)


def _node(dataflow: Dataflow, node: Node) -> Iterator[Issue]:
    mark = node.deploy.marks.get("replicas", node.deploy.marks.get("autoscale", node.mark))
    if node.operators:
        yield mark.issue(
            f"{node.id} hosts operators; it cannot have replicas as a whole",
            "say `replicas:` of its operators",
        )
    if node.path == DYNAMIC:
        yield mark.issue(f"{node.id} is started by somebody else, as often as they like")
    for other in dataflow.nodes.values():
        yield from _name(node.id, other.id, other.mark)


def _name(id: str, other: str, mark: Mark) -> Iterator[Issue]:
    if re.fullmatch(re.escape(id) + r"\.[0-9]+", other):
        yield mark.issue(f"{other} is what a replica of {id} is called", "choose another id")


def _direct(dataflow: Dataflow, node: Node, wired: Input) -> Iterator[Issue]:
    source = wired.source.node if isinstance(wired.source, OutputSource) else ""
    for name in (node.id, source):
        if name and dataflow.nodes[name].deploy.has_replicas:
            yield wired.mark.issue(
                f"`link: direct` of input {wired.name!r} of {node.id} is between two processes, "
                f"and {name} has replicas",
                "remove `link`",
            )
    if not source:
        yield wired.mark.issue(
            f"`link` of input {wired.name!r} of {node.id} is for data from another machine, and a "
            "timer ticks in the node",
            "remove `link`",
        )


def _input(owner: str, wired: Input, replicated: bool, hint: str) -> Iterator[Issue]:
    """`owner`: the node or operator; `hint`: how it gets replicas."""
    for key, value in (("distribution", wired.distribution), ("key", wired.key)):
        if value is None:
            continue
        if not replicated:
            yield wired.mark.issue(
                f"`{key}` of input {wired.name!r} is for replicas, and {owner} has none",
                hint,
            )
        elif not isinstance(wired.source, OutputSource) and value != "broadcast":
            yield wired.mark.issue(
                f"input {wired.name!r} of {owner} is a timer, which every replica gets",
                f"remove `{key}`",
            )
    if wired.distribution == "broadcast" and wired.key is not None:
        yield wired.mark.issue(
            f"every replica gets all of input {wired.name!r} of {owner}: there is nothing "
            "to keep together by a `key`",
            "remove one of `key` and `distribution: broadcast`",
        )
