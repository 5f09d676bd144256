"""Checks of a dataflow as a whole, beyond what each key says. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.document import shown, suggest
from deploy.errors import Issue
from dora.dataflow.graph import cycles_within, unreached, vertices
from dora.dataflow.model import Dataflow, Mark, Node, OutputSource
from dora.dataflow.replication import check_replicas


@dataclass(frozen=True)
class Found:
    """With `errors` the dataflow must not run."""

    errors: tuple[Issue, ...]
    warnings: tuple[Issue, ...]


def validate(dataflow: Dataflow) -> Found:
    """Everything that is wrong or doubtful about the graph."""
    cycle_errors, cycle_warnings = _starvation(dataflow)
    errors = [*cycle_errors, *_near(dataflow), *_apart(dataflow), *check_replicas(dataflow)]
    warnings = [*cycle_warnings, *_unread(dataflow), *_undeclared(dataflow), *_silent(dataflow)]
    warnings += _unscheduled(dataflow)
    return Found(tuple(sorted(errors)), tuple(sorted(warnings)))


def _starvation(dataflow: Dataflow) -> tuple[list[Issue], list[Issue]]:
    starved = unreached(dataflow)
    errors: list[Issue] = []
    warnings: list[Issue] = []
    marks = _vertex_marks(dataflow)
    to_blame: set[str] = set()
    names: list[str] = []
    for cycle in cycles_within(dataflow, starved):
        to_blame.update(cycle)
        way = " -> ".join([*cycle, cycle[0]])
        names.append(way)
        if len(cycle) == 1:  # a node may well send itself the first message
            message = f"{cycle[0]} hears only itself: it must send the first message unasked"
            warnings.append(marks[cycle[0]].issue(message))
            continue
        message = f"nothing starts the cycle {way}: each of them waits for another"
        hint = "give one of them a timer or an input from outside, such as dora/timer/millis/100"
        errors.append(marks[cycle[0]].issue(message, hint))
    for vertex in starved - to_blame:
        message = f"{vertex} gets no message before something starts {' and '.join(names)}"
        warnings.append(marks[vertex].issue(message))
    return errors, warnings


def _near(dataflow: Dataflow) -> Iterator[Issue]:
    for node in dataflow.nodes.values():
        near, mark = node.deploy.near, node.deploy.mark
        if near is None or mark is None:
            continue
        if near not in dataflow.nodes:
            hint = suggest(near, dataflow.nodes)
            yield mark.issue(f"{node.id} is to be near {shown(near)}, which is no node", hint)
        elif near == node.id:
            yield mark.issue(f"{node.id} is to be near itself", "name another node")


def _apart(dataflow: Dataflow) -> Iterator[Issue]:
    for node in dataflow.nodes.values():
        mark = node.deploy.marks.get("apart", node.mark)
        for other in node.deploy.apart:
            if other not in dataflow.nodes:
                hint = suggest(other, dataflow.nodes)
                message = f"{node.id} is to be apart from {shown(other)}, which is no node"
                yield mark.issue(message, hint)
            elif other == node.id:
                yield mark.issue(f"{node.id} is to be apart from itself", "name another node")


def _unread(dataflow: Dataflow) -> Iterator[Issue]:
    read = {
        (wired.source.node, wired.source.operator, wired.source.output)
        for node in dataflow.nodes.values()
        for wired in node.all_inputs.values()
        if isinstance(wired.source, OutputSource)
    }
    for node in dataflow.nodes.values():
        for owner, outputs, mark, operator in _senders(node):
            idle = [output for output in outputs if (node.id, operator, output) not in read]
            if idle:
                plural = "outputs" if len(idle) > 1 else "output"
                listed = ", ".join(idle)
                yield mark.issue(f"nobody reads the {plural} {listed} of {owner}")


def _senders(node: Node) -> Iterator[tuple[str, tuple[str, ...], Mark, str | None]]:
    if not node.operators:
        yield node.id, node.outputs, node.mark, None
    for operator in node.operators:
        if node.single_operator:
            yield node.id, operator.outputs, node.mark, None
        else:
            yield f"{node.id}/{operator.id}", operator.outputs, operator.mark, operator.id


def _undeclared(dataflow: Dataflow) -> Iterator[Issue]:
    """Names of outputs that stand elsewhere than in `outputs:`."""
    for node in dataflow.nodes.values():
        for key, name in (
            ("send_stdout_as", node.send_stdout_as),
            ("send_logs_as", node.send_logs_as),
        ):
            if name is not None and not node.operators and name not in node.outputs:
                yield _undeclared_issue(node.id, node.mark, key, name, node.outputs)
        for operator in node.operators:
            name = operator.send_stdout_as
            if name is not None and name not in operator.outputs:
                owner = node.id if node.single_operator else f"{node.id}/{operator.id}"
                yield _undeclared_issue(
                    owner, operator.mark, "send_stdout_as", name, operator.outputs
                )
        for name in node.output_rates:
            if name not in node.all_outputs:
                yield _undeclared_issue(node.id, node.mark, "output_rates", name, node.all_outputs)


def _undeclared_issue(
    owner: str, mark: Mark, key: str, name: str, outputs: tuple[str, ...]
) -> Issue:
    message = f"{key} of {owner} names {shown(name)}, which is not among its outputs"
    return mark.issue(message, suggest(name, outputs))


def _silent(dataflow: Dataflow) -> Iterator[Issue]:
    """Operators act on events alone, so one without inputs never acts."""
    for node in dataflow.nodes.values():
        if node.operators:
            for (vertex, wired), operator in zip(vertices(node), node.operators, strict=True):
                if not wired:
                    message = f"the operator {vertex} has no inputs: it never gets to run"
                    yield operator.mark.issue(message, "give it an input, such as a timer")


def _unscheduled(dataflow: Dataflow) -> Iterator[Issue]:
    """What operators ask of their scheduler, and nothing comes of."""
    for node in dataflow.nodes.values():
        for operator in node.operators:
            if operator.priority and node.scheduler == "fifo":
                yield operator.mark.issue(
                    f"the priority of the operator {operator.id} has no effect: {node.id} calls "
                    "its operators in turns",
                    "write `scheduler: priority` or `scheduler: edf` in the node",
                )
            timed = operator.deadline or any(it.deadline for it in operator.inputs.values())
            if operator.on_deadline_miss != "run" and not timed:
                yield operator.mark.issue(
                    f"the operator {operator.id} says what to do on_deadline_miss, and has no "
                    "deadline",
                    "give it one, such as `deadline: 20ms`",
                )


def _vertex_marks(dataflow: Dataflow) -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    for node in dataflow.nodes.values():
        places = [operator.mark for operator in node.operators] or [node.mark]
        for (vertex, _), mark in zip(vertices(node), places, strict=True):
            marks[vertex] = mark
    return marks
