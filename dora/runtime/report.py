"""What a runtime tells of its operators, as part of its node's traffic. Node (>= 3.10).

Called from the reporter's thread while the operators run: counts that belong together may be a call
apart.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from dora.protocol.traffic import InputTraffic, OperatorTraffic, Traffic
from dora.runtime.crew import Crew
from dora.runtime.operator import Operator
from dora.runtime.wiring import Wiring

MOST = 60  # operators; more would not fit into what a node may say


def reporting(crew: Crew, wiring: Wiring) -> Callable[[Traffic], Traffic]:
    """What adds the operators to what the node knows itself. Of very many operators those are told
    of that have most to tell: failures, misses, overruns, losses."""

    def tell(traffic: Traffic) -> Traffic:
        operators = list(crew)
        lost = sum(queue.dropped for it in operators for queue in it.task.queues.values())
        return replace(
            traffic,
            sent=sum(way.sent for it in operators for way in it.sender.ways.values()),
            dropped=traffic.dropped + lost,
            inputs=_inputs(traffic, crew, wiring),
            outputs={
                wiring.names[it.config.id, output]: way.sent
                for it in operators[:MOST]
                for output, way in it.sender.ways.items()
            },
            operators={it.config.id: _operator(it) for it in _most_interesting(operators)},
            operator_states=Counter(it.state.value for it in operators),
        )

    return tell


def _inputs(traffic: Traffic, crew: Crew, wiring: Wiring) -> dict[str, InputTraffic]:
    """Those that are fed from outside; what inputs share counts for each."""
    found: dict[str, InputTraffic] = {}
    for name, shared in traffic.inputs.items():
        for operator, input in wiring.arrivals[name][: MOST - len(found)]:
            lost = crew.operators[operator].task.queues[input].dropped
            found[f"{operator}/{input}"] = InputTraffic(shared.received, shared.dropped + lost)
    return found


def _most_interesting(operators: list[Operator]) -> list[Operator]:
    return operators if len(operators) <= MOST else heapq.nlargest(MOST, operators, key=_interest)


def _interest(operator: Operator) -> tuple[int, int, int, int]:
    task = operator.task
    dropped = sum(queue.dropped for queue in task.queues.values())
    return (operator.restarts + operator.state.over, task.misses, task.overruns, dropped)


def _operator(operator: Operator) -> OperatorTraffic:
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
        run_time=_micros(found.run_time),
        run_max=_micros(found.run_max),
    )


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
