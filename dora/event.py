"""The events that a node gets: dicts, as existing programs expect them. Node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from dora.communication.base import Kind, Message
from dora.metadata import PRECIOUS, Metadata, copied, utc

TIMEOUT = "Timeout event stream error: Receiver timed out"

_LATER = ("metadata", "value")


class Event(dict[str, Any]):
    """A dict whose `value` and `metadata` are made when somebody first looks at them, then kept.

    Programs that only count messages, or that only look at some of them, pay for no decoding.
    Raises ValueError, where the value is first used, if a faulty peer sent something undecodable.
    """

    __slots__ = ()

    # What the missing keys among `value` and `metadata` are made of; None if none is missing.
    _message: Message | None = None

    def __missing__(self, key: str) -> Any:
        # Indexing other keys stays at a plain dict's speed: only an absent key comes here.
        message = self._message
        if message is None:
            if dict.__contains__(self, key):  # another thread has made it meanwhile
                return dict.get(self, key)
            raise KeyError(key)
        if key == "value":
            value, other = message.value(), "metadata"
        elif key == "metadata":
            value, other = _stamped(message), "value"
        else:
            raise KeyError(key)
        dict.__setitem__(self, key, value)
        if dict.__contains__(self, other):
            self._message = None
        return value

    def _materialise(self) -> Event:
        if self._message is not None:
            for key in _LATER:
                if not dict.__contains__(self, key):
                    self.__missing__(key)
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key == "value" and self._message is not None:
            self._materialise()  # lets go of the message: the memory behind it may be used again

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (self._message is not None and key in _LATER)

    def __len__(self) -> int:
        if self._message is None:
            return super().__len__()
        return super().__len__() + sum(not dict.__contains__(self, key) for key in _LATER)

    def get(self, key: str, default: Any = None) -> Any:
        if self._message is not None and key in _LATER:
            return self[key]
        return super().get(key, default)

    def __reduce__(self) -> Any:
        return (dict, (dict(self),))

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self._materialise(), _plain(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as dict


def _plain(other: object) -> object:
    return other._materialise() if isinstance(other, Event) else other


def _complete_first(name: str) -> Callable[..., Any]:
    """The dict method `name` on an event whose value is in its place."""
    method = getattr(dict, name)

    def complete(self: Event, *args: Any, **kwargs: Any) -> Any:
        return method(self._materialise(), *args, **kwargs)

    complete.__name__ = name
    complete.__doc__ = method.__doc__
    return complete


# Overriding __iter__ also makes dict(event) and {**event} ask keys() and [] instead of reading the
# dict's own table, where the value may still be missing.
for _name in ("__iter__", "__reversed__", "__or__", "__ror__", "__ior__", "__delitem__", "keys"):
    setattr(Event, _name, _complete_first(_name))
for _name in ("items", "values", "pop", "popitem", "setdefault", "update", "clear"):
    setattr(Event, _name, _complete_first(_name))


class InputEvent(Event):
    """An event with a message. Made for every message: so without an `__init__` in Python."""

    __slots__ = ("_message",)


def input_event(name: str, message: Message) -> Event:
    """A message, with the sender's `timestamp` unless its metadata brought another."""
    event = InputEvent({"type": "INPUT", "id": name, "kind": "dora"})
    event._message = message
    return event


def tick_event(name: str, timestamp: int) -> Event:
    """A timer's tick: no value to speak of, an empty Arrow array."""
    return input_event(name, Message(Kind.DATA, timestamp, {}, _nothing))


def addressed(event: Event, name: str) -> Event:
    """The same event for the input `name`."""
    dict.__setitem__(event, "id", name)
    return event


def copies(event: Event, names: Sequence[str]) -> list[Event]:
    """An undelivered message or tick once for each of several inputs: all get the same value, which
    is decoded once, and metadata of their own."""
    message = event._message
    assert message is not None, "it was looked at"
    value = cache(message.value)
    return [
        input_event(name, Message(message.kind, message.timestamp, copied(message.metadata), value))
        for name in names
    ]


def sent_at(event: Event) -> int:
    """The timestamp (ns) of an undelivered message."""
    assert event._message is not None, "it was looked at"
    return event._message.timestamp


def is_precious(event: Event) -> bool:
    """Whether an undelivered event is thrown away last when a queue is full."""
    if type(event) is dict:  # from within the runtime
        return not PRECIOUS.isdisjoint(event["metadata"])
    return event._message is None or not PRECIOUS.isdisjoint(event._message.metadata)


def late_event(event: Event, lateness: float) -> Event:
    """A message whose deadline has passed, for those who want to be told."""
    event["type"] = "DEADLINE_MISSED"
    event["lateness"] = lateness
    return event


def input_closed_event(name: str) -> Event:
    return Event({"type": "INPUT_CLOSED", "id": name, "kind": "dora"})


def input_recovered_event(name: str) -> Event:
    return Event({"type": "INPUT_RECOVERED", "id": name, "kind": "dora"})


def node_restarted_event(node: str) -> Event:
    """`node` has died, and comes back."""
    return Event({"type": "NODE_RESTARTED", "id": node, "kind": "dora"})


def node_failed_event(node: str, error: str, inputs: Sequence[str]) -> Event:
    """`node`, which `inputs` read, has died for good."""
    value = {"source_node_id": node, "error": error, "affected_input_ids": list(inputs)}
    return Event({"type": "NODE_FAILED", "id": node, "kind": "dora", "value": value})


def stop_event(cause: str) -> Event:
    """`cause` is MANUAL or ALL_INPUTS_CLOSED."""
    return Event({"type": "STOP", "id": cause, "kind": "dora"})


def error_event(text: str) -> Event:
    return Event({"type": "ERROR", "error": text, "kind": "dora"})


def _stamped(message: Message) -> Metadata:
    metadata = message.metadata
    metadata.setdefault("timestamp", utc(message.timestamp))
    return metadata


def _nothing() -> Any:
    import pyarrow

    return pyarrow.nulls(0)
