"""Figures of units in Prometheus' text format (0.0.4). Pure. Machine only; Python >= 3.8."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from deploy.supervisor.measures import Labels, Measure, read
from deploy.supervisor.slot import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Samples = List[Tuple[Labels, float]]

# Field of a unit's record -> what it is called, what it is, and its type.
FIELDS = (
    ("ready", "dora_unit_ready", "Whether the unit is ready.", "gauge"),
    ("since", "dora_unit_state_timestamp_seconds", "When it came to be in its state.", "gauge"),
    ("restarts", "dora_unit_restarts_total", "Restarts since this unit came.", "counter"),
    ("cpu_seconds", "dora_unit_cpu_seconds_total", "CPU time of its processes.", "counter"),
    ("rss", "dora_unit_resident_memory_bytes", "Memory of its processes.", "gauge"),
    ("memory_peak", "dora_unit_memory_peak_bytes", "The most that was seen.", "gauge"),
    ("memory_limit", "dora_unit_memory_limit_bytes", "The most that it may use.", "gauge"),
    ("generation", "dora_unit_generation", "The generation that it is of.", "gauge"),
)


def render(
    states: Sequence[Mapping[str, Any]],
    measures: Mapping[str, Sequence[Measure]],
    facts: Mapping[str, str],
) -> str:
    """`states` are units' records, `measures` those of each deployment, `facts` the labels of the
    supervisor itself."""
    families: Dict[str, Tuple[str, str, Samples]] = {}

    def add(name: str, help: str, type: str, samples: Iterable[Tuple[Labels, float]]) -> None:
        families.setdefault(name, (help, type, []))[2].extend(samples)

    add("dora_supervisor_info", "The supervisor.", "gauge", [(tuple(facts.items()), 1)])
    for state in states:
        unit = (("deployment", state["deployment"]), ("unit", state["name"]))
        rows = [((*unit, ("state", it.value)), float(it.value == state["state"])) for it in State]
        add("dora_unit_state", "1 for the state that the unit is in.", "gauge", rows)
        for field, name, help, type in FIELDS:
            value: Optional[float] = state.get(field)
            add(name, help, type, [] if value is None else [(unit, float(value))])
        add("dora_unit_cores", "Cores it may use.", "gauge", [(unit, len(state["cores"]))])
        status = read(state.get("status") or "")
        for measure in measures.get(state["deployment"], ()):
            samples = [((*unit, *labels), value) for labels, value in measure.find(status)]
            add(measure.name, measure.help, measure.type, samples)
    return "".join(_family(name, *family) for name, family in families.items())


def _family(name: str, help: str, type: str, samples: Samples) -> str:
    if not samples:
        return ""
    lines = [f"# HELP {name} {_escaped(help)}", f"# TYPE {name} {type}"]
    lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels)
    return f"{{{pairs}}}"


def _quoted(value: str) -> str:
    return _escaped(value).replace('"', '\\"')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
