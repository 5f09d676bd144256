"""What a runtime tells of its operators, as part of its node's traffic. Node (>= 3.10).

Called from the reporter's thread while the operators run: counts that belong together may be a call
apart.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from dora.protocol.traffic import InputTraffic, OperatorTraffic, Traffic
from dora.runtime.crew import Crew
from dora.runtime.group import Group
from dora.runtime.operator import Operator
from dora.runtime.wiring import Wiring

MOST = 60  # operators; more would not fit into what a node may say


def reporting(
    crew: Crew, wiring: Wiring, clock: Callable[[], float] = time.monotonic
) -> Callable[[Traffic], Traffic]:
    """What adds the operators to what the node knows itself. Of very many operators those are told
    of that have most to tell: failures, misses, overruns, losses; of replicas at least the first.
    `clock`: the scheduler's."""

    def tell(traffic: Traffic) -> Traffic:
        operators = list(crew)
        tasks = [it.task for it in operators] + [it.task for it in crew.groups.values()]
        lost = sum(queue.dropped for task in tasks for queue in task.queues.values())
        return replace(
            traffic,
            sent=sum(way.sent for it in operators for way in it.sender.ways.values()),
            dropped=traffic.dropped + lost,
            inputs=_inputs(traffic, crew, wiring),
            outputs=_outputs(operators[:MOST], wiring),
            operators={id: _group(group) for id, group in list(crew.groups.items())[:MOST]}
            | {it.config.id: _operator(it, clock()) for it in _most_interesting(operators)},
            operator_states=Counter(it.state.value for it in operators),
        )

    return tell


def _outputs(operators: list[Operator], wiring: Wiring) -> dict[str, int]:
    """What replicas send is one output."""
    found: Counter[str] = Counter()
    for operator in operators:
        for output, way in operator.sender.ways.items():
            found[wiring.names[operator.base, output]] += way.sent
    return dict(found)


def _inputs(traffic: Traffic, crew: Crew, wiring: Wiring) -> dict[str, InputTraffic]:
    """Those that are fed from outside; what inputs share counts for each."""
    found: dict[str, InputTraffic] = {}
    for name, shared in traffic.inputs.items():
        for operator, input in wiring.arrivals[name][: MOST - len(found)]:
            group = crew.groups.get(operator)
            task = crew.operators[operator].task if group is None else group.task
            lost = task.queues[input].dropped if input in task.queues else 0
            found[f"{operator}/{input}"] = InputTraffic(shared.received, shared.dropped + lost)
    return found


def _most_interesting(operators: list[Operator]) -> list[Operator]:
    """The first are the first replicas: whoever scales them has to know of one, which stands for
    those of which there is no room to tell."""
    if len(operators) <= MOST:
        return sorted(operators, key=lambda it: it.replica != 1)
    return heapq.nlargest(MOST, operators, key=_interest)


def _interest(operator: Operator) -> tuple[int, int, int, int, int]:
    task = operator.task
    dropped = sum(queue.dropped for queue in task.queues.values())
    failures = operator.restarts + operator.state.over
    return (operator.replica == 1, failures, task.misses, task.overruns, dropped)


def _operator(operator: Operator, now: float) -> OperatorTraffic:
    found = operator.task.statistics()
    return OperatorTraffic(
        state=operator.state.value,
        restarts=operator.restarts,
        received=found.runs + found.skipped + found.dropped + found.depth,
        runs=found.runs,
        misses=found.misses,
        skipped=found.skipped,
        dropped=found.dropped,
        overruns=found.overruns,
        depth=found.depth,
        lateness_mean=_micros(found.lateness_mean),
        lateness_max=_micros(found.lateness_max),
        run_time=_micros(operator.task.in_calls(now)),
        run_max=_micros(found.run_max),
    )


def _group(group: Group) -> OperatorTraffic:
    """What replicas share: what no one of them has been given yet, and what was lost of that."""
    found = group.task.statistics()
    return OperatorTraffic(
        state=group.state.value,
        restarts=0,
        received=found.depth + found.dropped,
        runs=0,
        misses=0,
        skipped=0,
        dropped=found.dropped,
        overruns=0,
        depth=found.depth,
        lateness_mean=0,
        lateness_max=0,
        run_time=0,
        run_max=0,
    )


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
