"""What the status of nodes is called where their machine serves figures of them. Laptop only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Literal

from dora.protocol.traffic import OperatorTraffic

MICROSECONDS = 1e-6


@dataclass(frozen=True)
class Measure:
    """As `deploy.supervisor.measures` has it."""

    name: str
    help: str
    type: Literal["counter", "gauge"]
    path: tuple[str | int, ...]
    scale: float = 1.0


def _operator(
    name: str,
    help: str,
    field: str,
    type: Literal["counter", "gauge"] = "counter",
    scale: float = 1.0,
) -> Measure:
    place = [it.name for it in fields(OperatorTraffic)].index(field)
    return Measure(f"dora_operator_{name}", help, type, ("operators", "*operator", place), scale)


NODES = (
    Measure("dora_node_received_total", "Messages given to it.", "counter", ("received",)),
    Measure("dora_node_sent_total", "Messages it sent.", "counter", ("sent",)),
    Measure("dora_node_dropped_total", "Messages it lost.", "counter", ("dropped",)),
    Measure(
        "dora_input_received_total",
        "Messages of an input that were given to the program.",
        "counter",
        ("inputs", "*input", 0),
    ),
    Measure(
        "dora_input_dropped_total",
        "Messages of an input lost by a full queue or on the way.",
        "counter",
        ("inputs", "*input", 1),
    ),
    Measure("dora_output_sent_total", "Messages of an output.", "counter", ("outputs", "*output")),
    Measure(
        "dora_node_operators",
        "Operators of a runtime by their state.",
        "gauge",
        ("operator_states", "*state"),
    ),
)
OPERATORS = (
    _operator("received_total", "Messages that came.", "received"),
    _operator("runs_total", "Calls.", "runs"),
    _operator("restarts_total", "Restarts.", "restarts"),
    _operator("deadline_misses_total", "Deadlines that were not met.", "misses"),
    _operator("skipped_total", "Messages too late to be called with.", "skipped"),
    _operator("dropped_total", "Messages lost by a full queue.", "dropped"),
    _operator("overruns_total", "Calls longer than its budget.", "overruns"),
    _operator("queue_messages", "Messages that wait.", "depth", "gauge"),
    _operator(
        "lateness_mean_seconds",
        "How late it was, where it missed a deadline, on average.",
        "lateness_mean",
        "gauge",
        MICROSECONDS,
    ),
    _operator(
        "lateness_max_seconds", "How late it was at most.", "lateness_max", "gauge", MICROSECONDS
    ),
    _operator("run_seconds_total", "Time in calls.", "run_time", scale=MICROSECONDS),
    _operator("run_max_seconds", "What a call took at most.", "run_max", "gauge", MICROSECONDS),
)


def document() -> str:
    """The text of the document `metrics.json`."""
    return json.dumps([asdict(measure) for measure in (*NODES, *OPERATORS)], sort_keys=True)
