"""The events that a node gets: dicts, as existing programs expect them. Node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dora.metadata import Metadata, utc

TIMEOUT = "Timeout event stream error: Receiver timed out"


class Event(dict[str, Any]):
    """A dict whose `value` is decoded when somebody first looks at it, and is then kept.

    Programs that only count messages, or that only look at some of them, pay for no decoding.
    Raises ValueError, where the value is first used, if a faulty peer sent something undecodable.
    """

    __slots__ = ("_pending",)

    def __init__(self, items: dict[str, Any], value: Callable[[], Any] | None = None) -> None:
        super().__init__(items)
        self._pending = value

    def __missing__(self, key: str) -> Any:
        # Indexing other keys stays at a plain dict's speed: only an absent key comes here.
        if key == "value" and self._pending is not None:
            return self._materialise()["value"]
        raise KeyError(key)

    def _materialise(self) -> Event:
        if self._pending is not None:
            dict.__setitem__(self, "value", self._pending())
            self._pending = None
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "value":
            self._pending = None
        super().__setitem__(key, value)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (key == "value" and self._pending is not None)

    def __len__(self) -> int:
        return super().__len__() + (self._pending is not None)

    def get(self, key: str, default: Any = None) -> Any:
        if key == "value":
            self._materialise()
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


def input_event(name: str, timestamp: int, metadata: Metadata, value: Callable[[], Any]) -> Event:
    """A message, with the sender's `timestamp` (ns) unless its metadata brought another."""
    metadata.setdefault("timestamp", utc(timestamp))
    return Event({"type": "INPUT", "id": name, "kind": "dora", "metadata": metadata}, value)


def tick_event(name: str, timestamp: int) -> Event:
    """A timer's tick: no value to speak of, an empty Arrow array."""
    return input_event(name, timestamp, {}, _nothing)


def input_closed_event(name: str) -> Event:
    return Event({"type": "INPUT_CLOSED", "id": name, "kind": "dora"})


def input_recovered_event(name: str) -> Event:
    return Event({"type": "INPUT_RECOVERED", "id": name, "kind": "dora"})


def stop_event(cause: str) -> Event:
    """`cause` is MANUAL or ALL_INPUTS_CLOSED."""
    return Event({"type": "STOP", "id": cause, "kind": "dora"})


def error_event(text: str) -> Event:
    return Event({"type": "ERROR", "error": text, "kind": "dora"})


def _nothing() -> Any:
    import pyarrow

    return pyarrow.nulls(0)
