"""What units say of themselves, as figures: which parts of their status are, and what they are
called. Pure. Machine only; Python >= 3.8.

A deployment's document `metrics.json` is a list of these: {name, help, type, path, scale?}. A
status is JSON. `path` leads to a number in it: texts and numbers are keys and places, a text such
as `*input` stands for every key there is and makes it the value of the label `input`.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple, Union

DOCUMENT = "metrics.json"
MOST = 200  # measures of a deployment
LARGEST = sys.float_info.max

Labels = Tuple[Tuple[str, str], ...]
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


class Measure(NamedTuple):
    """`scale` makes base units of the numbers in a status: seconds, bytes."""

    name: str
    help: str
    type: str  # counter | gauge
    path: Tuple[Union[str, int], ...]
    scale: float = 1.0

    def find(self, status: Any) -> Iterator[Tuple[Labels, float]]:
        """Every number of it in a status; what is not there, or no number, is passed over."""
        for labels, value in _find(status, self.path, ()):
            if _finite(value * self.scale):
                yield labels, value * self.scale


def parse(document: str) -> List[Measure]:
    """Raises ValueError for what is no list of measures."""
    try:
        data = json.loads(document)
        found = [Measure(**{**it, "path": tuple(it["path"])}) for it in data[:MOST]]
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a list of measures: {error}") from error
    for measure in found:
        labels = [it[1:] for it in measure.path if isinstance(it, str) and it.startswith("*")]
        if not all(isinstance(it, str) and _NAME.match(it) for it in (measure.name, *labels)):
            raise ValueError(f"not a name of a figure, or of a label: {measure!r}")
        if measure.type not in ("counter", "gauge") or not isinstance(measure.help, str):
            raise ValueError(f"a figure is a counter or a gauge, and is explained: {measure!r}")
        if not all(type(it) in (str, int) for it in measure.path) or not _finite(measure.scale):
            raise ValueError(f"not a way into a status: {measure!r}")
    return found


def read(status: str) -> Dict[str, Any]:
    """The object that a status is; {} for any other."""
    try:
        data = json.loads(status)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _find(
    value: Any, path: Tuple[Union[str, int], ...], labels: Labels
) -> Iterator[Tuple[Labels, float]]:
    if not path:
        if _finite(value):
            yield labels, float(value)
        return
    step, rest = path[0], path[1:]
    if isinstance(step, str) and step.startswith("*"):
        for key in value if isinstance(value, dict) else ():
            yield from _find(value[key], rest, (*labels, (step[1:], key)))
        return
    if isinstance(step, str):
        there = isinstance(value, dict) and step in value
    else:
        there = isinstance(value, list) and 0 <= step < len(value)
    if there:
        yield from _find(value[step], rest, labels)


def _finite(value: Any) -> bool:
    """JSON may have whole numbers that no float can be."""
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST
