"""The dataflows that are measured, in dora's language: of dora-rs one operator a runtime. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUNTIME = "chain"  # our node that hosts all operators of a chain

TICK, NOTE = 1000, 50  # ms: when lost messages are replaced; when counts are written down
QUEUE = 1000


def links(length: int, tick: int = TICK) -> list[dict[str, Any]]:
    """source -> `length` operators -> sink -> source; inputs name `<operator>/<output>`."""
    operators: list[dict[str, Any]] = [
        {
            "id": "source",
            "python": str(HERE / "source.py"),
            "inputs": {"more": "sink/more", "tick": f"dora/timer/millis/{tick}"},
            "outputs": ["out"],
        }
    ]
    before = "source"
    for number in range(length):
        link = {
            "id": f"link{number}",
            "python": str(HERE / "forward.py"),
            "inputs": {"in": f"{before}/out"},
            "outputs": ["out"],
        }
        operators.append(link)
        before = f"link{number}"
    sink = {
        "id": "sink",
        "python": str(HERE / "sink.py"),
        "inputs": {"in": f"{before}/out", "tick": f"dora/timer/millis/{NOTE}"},
        "outputs": ["more"],
    }
    return [*operators, sink]


def our_chain(length: int, tick: int = TICK, **environment: str) -> dict[str, Any]:
    """All in one runtime."""
    operators = []
    for operator in links(length, tick):
        inputs = {name: _wide(f"{RUNTIME}/", it) for name, it in operator["inputs"].items()}
        operators.append({**operator, "inputs": inputs})
    return {"nodes": [{"id": RUNTIME, "env": environment, "operators": operators}]}


def peer_chain(length: int, tick: int = TICK, **environment: str) -> dict[str, Any]:
    """Each in a runtime of its own: dora-rs starts no runtime with two."""
    nodes = []
    for operator in links(length, tick):
        inputs = {name: _wide("", it) for name, it in operator["inputs"].items()}
        inner = {key: operator[key] for key in ("python", "outputs")}
        node = {"id": operator["id"], "env": environment, "operator": {**inner, "inputs": inputs}}
        nodes.append(node)
    return {"nodes": nodes}


# Milliseconds: period, work, deadline. A control loop beside slow perception, 36 % of one core.
# No call is interrupted: EDF lets the control loop wait for one call, FIFO for twelve of 4 ms.
ROBOT: dict[str, tuple[float, float, float]] = {
    "control": (20, 2, 20),
    "arm": (50, 4, 50),
    "drive": (100, 6, 100),
    **{f"camera{number}": (400, 4, 400) for number in range(12)},
}


def periodic(scheduler: str, load: dict[str, tuple[float, float, float]], notes: Path) -> Any:
    """Operators on timers, with deadlines, in one runtime."""
    told = {name: [work / 1e3, due / 1e3] for name, (_, work, due) in load.items()}
    operators = [
        {
            "id": name,
            "python": str(HERE / "periodic.py"),
            "inputs": {name: {"source": f"dora/timer/millis/{period:g}", "queue_size": 10}},
            "deadline": f"{due:g}ms",
        }
        for name, (period, _, due) in load.items()
    ]
    environment = {"BENCH_LOAD": json.dumps(told), "BENCH_NOTES": str(notes)}
    node = {"id": "robot", "env": environment, "scheduler": scheduler, "operators": operators}
    return {"nodes": [node]}


def demand(load: dict[str, tuple[float, float, float]]) -> float:
    """The share of one core that it needs."""
    return sum(work / period for period, work, _ in load.values())


def _wide(prefix: str, source: str) -> Any:
    """An input whose queue holds all that is under way."""
    if source.startswith("dora/timer/"):
        return source
    return {"source": prefix + source, "queue_size": QUEUE}
