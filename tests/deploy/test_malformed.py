"""Files that are damaged: whatever is in them, decoding raises what its callers expect."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.generation import Failure, Generation
from deploy.profile import Profile
from deploy.supervisor.confirmation import Pending
from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot
from deploy.unit import HealthCommand, Realtime, Socket, Unit

UNIT = Unit(
    name="a",
    argv=("a",),
    cwd="/",
    env={"A": "b"},
    cores=(1,),
    pin="exclusive",
    realtime=Realtime("fifo", 1),
    closure=("x",),
    sockets=(Socket("s", "s"),),
    health=(HealthCommand(("look",), "look"),),
)
PROFILE = Profile("d", "m", (UNIT,), {"doc": "text"})
FAILURE = Failure("why", 1.0, {"a": {"state": "failed"}})
EXAMPLES = [
    PROFILE,
    Generation(1, PROFILE, 1.0, "me", failure=FAILURE),
    Pending(2, 1, "boot", 1.0, 2.0),
    Slot(Key("d", "a"), since=1.0, actual=UNIT, exit=Exit(code=1), last_lines=("x",)),
]
JUNK = [None, True, -1, float("inf"), "x", [], ["x"], {}, {"x": 1}]


def damaged(data: Any) -> Iterator[Any]:
    """`data` with one of its parts, or all of it, replaced by something else."""
    yield from JUNK
    for place in data if isinstance(data, dict) else range(len(data)):
        whole = copy.deepcopy(data)
        del whole[place]
        yield whole
        parts = damaged(data[place]) if isinstance(data[place], dict | list) else JUNK
        for part in parts:
            whole = copy.deepcopy(data)
            whole[place] = part
            yield whole


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda it: type(it).__name__)
def test_damage_is_an_error_of_the_kinds_that_are_expected(example: Any) -> None:
    """KeyError, TypeError or ValueError, or a value after all."""
    decode = type(example).from_json
    data = json.loads(json.dumps(example.to_json()))
    assert example == decode(data)
    refused = 0
    for broken in damaged(data):
        try:
            decode(broken)
        except (KeyError, TypeError, ValueError):
            refused += 1
    assert refused > 20
