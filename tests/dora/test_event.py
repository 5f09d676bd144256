"""Events are dicts, however somebody looks at them, and decode nothing before."""

from __future__ import annotations

import copy
import json
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from dora.communication.base import Kind, Message
from dora.event import Event, input_event, tick_event


class Value:
    """A value that counts how often it was decoded."""

    def __init__(self) -> None:
        self.decoded = 0

    def __call__(self) -> list[int]:
        self.decoded += 1
        return [1]


PLAIN = {"type": "INPUT", "id": "i", "kind": "dora", "metadata": {"timestamp": 5}, "value": [1]}


def make(value: Callable[[], Any]) -> Event:
    return input_event("i", Message(Kind.DATA, 0, {"timestamp": 5}, value))


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda e: e["value"], [1]),
        (lambda e: e.get("value"), [1]),
        (lambda e: e.pop("value"), [1]),
        (lambda e: e.setdefault("value", 2), [1]),
        (dict, PLAIN),
        (lambda e: {**e}, PLAIN),
        (lambda e: {} | e, PLAIN),
        (lambda e: e | {}, PLAIN),
        (lambda e: dict(e.items()), PLAIN),
        (lambda e: set(e.keys()), set(PLAIN)),
        (lambda e: set(e), set(PLAIN)),
        (lambda e: list(e.values())[-1], [1]),
        (lambda e: json.loads(json.dumps(e)), PLAIN),
        (lambda e: pickle.loads(pickle.dumps(e)), PLAIN),
        (copy.copy, PLAIN),
        (copy.deepcopy, PLAIN),
        (lambda e: e.copy(), PLAIN),
        (repr, repr(PLAIN)),
        (lambda e: e == PLAIN, True),
        (lambda e: e != PLAIN, False),
        (lambda e: PLAIN == e, True),
        (lambda e: e == make(Value()), True),
    ],
)
def test_every_way_to_look_shows_the_value(look: Callable[[Event], Any], expected: Any) -> None:
    """And decodes it once."""
    value = Value()
    event = make(value)
    assert expected == look(event)
    assert 1 == value.decoded
    event.get("value")
    assert 1 == value.decoded


def test_looking_elsewhere_decodes_nothing() -> None:
    """Type, id, metadata, length and membership need no value."""
    value = Value()
    event = make(value)
    assert ("INPUT", "i", None) == (event["type"], event.get("id"), event.get("error"))
    assert (5, True, True, False) == (len(event), "value" in event, "id" in event, "x" in event)
    with pytest.raises(KeyError):
        event["error"]
    assert 0 == value.decoded


def test_a_value_can_be_replaced_undecoded() -> None:
    """As with any dict."""
    value = Value()
    event = make(value)
    event["value"] = "mine"
    assert ("mine", 0, 5) == (event["value"], value.decoded, len(event))


def test_a_replaced_value_is_let_go() -> None:
    """Shared memory behind it is given back at once."""
    value = Value()
    gone = weakref.ref(value)
    event = make(value)
    del value
    event["value"] = "mine"
    assert (None, "mine", {"timestamp": 5}) == (gone(), event["value"], event["metadata"])


def test_a_tick_has_an_empty_value_and_its_time() -> None:
    """A NullArray of length 0, and only `timestamp` in the metadata."""
    event = tick_event("t", 1_000_000_000)
    assert (0, "null") == (len(event["value"]), str(event["value"].type))
    assert ["1970-01-01T00:00:01+00:00"] == [t.isoformat() for t in event["metadata"].values()]
