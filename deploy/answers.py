"""What a supervisor's answers have to look like, so that no machine surprises whoever asks. Pure;
laptop only.

A machine may be broken, or somebody else's by now. What is checked here is what is used without
asking; fields that are not known pass, as a later supervisor may have more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from deploy.errors import MachineError
from deploy.malformed import SURPRISES

Check = Callable[[Any], bool]

# Operation -> what is in its answer for sure.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "status": ("units",),
    "lease": ("mark",),
    "activate": ("number",),
    "generations": ("generations",),
    "deployments": ("deployments",),
    "holds": ("holds",),
    "prune": ("removed", "closure"),
    "stop": ("stopped",),
}
# The same, where it may be null.
NULLABLE: Mapping[str, tuple[str, ...]] = {
    "lease": ("lease", "holder"),
    "revert": ("number",),
    "generation": ("generation",),
    "generations": ("current",),
}


def parse(machine: str, line: bytes, who: str = "its supervisor") -> dict[str, Any]:
    """The object that a line is. Raises MachineError."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise MachineError(machine, f"{who} spoke nonsense: {line[:200]!r}")
    return answer


@contextmanager
def reading(machine: str, who: str) -> Iterator[None]:
    """For what takes an answer apart, and nothing else: what cannot be done with it is nonsense.
    Raises MachineError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, *SURPRISES) as error:
        raise MachineError(
            machine, f"{who} spoke nonsense ({type(error).__name__}: {error})"
        ) from error


def check(machine: str, op: str, answer: Mapping[str, Any]) -> None:
    """Raises MachineError unless this can be an answer to `op`, or a refusal."""
    refused = answer.get("ok") is False
    lacking = [name for name in NEEDED.get(op, ()) if answer.get(name) is None]
    lacking += [name for name in NULLABLE.get(op, ()) if name not in answer]
    fields = REFUSED if refused else FIELDS
    wrong = [name for name, fits in fields.items() if name in answer and not fits(answer[name])]
    if wrong or (lacking and not refused):
        what = f"with a {wrong[0]!r} that cannot be" if wrong else f"without {lacking[0]!r}"
        raise MachineError(
            machine,
            f"its supervisor's answer to {op!r} makes no sense: it came {what}",
            hint=f"is {machine} what you take it for? the supervisor there may be of another dora",
        )


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return type(value) is int


def _number(value: Any) -> bool:
    return type(value) in (int, float) and -1e15 < value < 1e15 and not math.isnan(value)


def _moment(value: Any) -> bool:
    """Seconds since the epoch that a calendar has a day for."""
    return _number(value) and -1e9 < value < 1e11


def _length(value: Any) -> bool:
    """Of a time that goes by."""
    return _number(value) and value > 0


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _maybe(fits: Check) -> Check:
    return lambda value: value is None or fits(value)


def _list(fits: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _with(**fields: Check) -> Check:
    """An object whose fields fit, as far as they are there."""
    return lambda value: (
        isinstance(value, dict)
        and all(fits(value[name]) for name, fits in fields.items() if name in value)
    )


_lock = _maybe(_with(owner=_text, since=_moment))
_optional_number = _maybe(_number)
_record = _with(
    deployment=_text,
    name=_text,
    state=_text,
    pid=_maybe(_whole),
    since=_maybe(_moment),
    restarts_at=_maybe(_moment),
    restarts=_whole,
    exit=_maybe(_object),
    error=_maybe(_text),
    last_lines=_list(_text),
    status=_maybe(_text),
    before=_maybe(lambda value: _with(text=_text, seconds=_length)(value) and len(value) >= 2),
    cores=_list(_whole),
    scheduling=_maybe(_object),
    shortfall=_maybe(_text),
    rss=_optional_number,
    memory_peak=_optional_number,
    memory_limit=_optional_number,
    cpu=_optional_number,
    health=_maybe(
        lambda value: (
            _with(state=_text, error=_maybe(_text), last_lines=_list(_text))(value)
            and "state" in value
        )
    ),
    generation=_maybe(_whole),
)

_holds = _list(
    _with(
        since=_moment,
        reason=_text,
        owner=_maybe(_text),
        unit=_maybe(_text),
        deployment=_maybe(_text),
    )
)


_generation = _with(
    number=_whole,
    created=_moment,
    creator=_text,
    revision=_text,
    note=_text,
    units=_list(_text),
    failure=_maybe(lambda value: _with(reason=_text)(value) and "reason" in value),
)


def _unit(value: Any) -> bool:
    return _record(value) and {"name", "state"} <= value.keys()


def _past(value: Any) -> bool:
    return _generation(value) and {"number", "created", "creator", "units"} <= value.keys()


FIELDS: Mapping[str, Check] = {
    "units": _list(_unit),
    "missing": _list(_text),
    "mark": _text,
    "lease": _maybe(_length),
    "holder": _lock,
    "broken": _lock,
    "number": _maybe(_whole),
    "previous": _maybe(_whole),
    "current": _maybe(_whole),
    "booted": _maybe(_whole),
    "pending": _maybe(_with(number=_whole, previous=_maybe(_whole), wall=_moment)),
    "started": _list(_text),
    "restarted": _list(_text),
    "stopped": _list(_text),
    "kept": _list(_text),
    "numbers": _list(_whole),
    "generation": _maybe(_object),
    "generations": _list(_past),
    "deployments": lambda value: _object(value) and all(map(_with(lock=_lock), value.values())),
    "removed": _object,
    "closure": _list(_text),
    "holds": _holds,
    "pause": _maybe(_object),
    "unit": _text,
    "line": _text,
    "time": _number,
    "level": _text,
}
REFUSED: Mapping[str, Check] = {"since": _moment, "holds": _holds}
