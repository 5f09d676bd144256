"""The functions that a WebAssembly operator can call, and all of the world that it sees.

Node (>= 3.10). Defined once for all instances; `running` says whose call it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from wasmtime import FuncType, Linker, ValType

from dora import arrow
from dora.errors import DoraError
from dora.runtime.base import Context, Send

MODULE = "dora"
FAILED = -1

# What each takes (all are i32) and how many it returns.
IMPORTS = {
    "send_output": (6, 1),
    "save_state": (4, 1),
    "kvs_write": (4, 1),
    "kvs_read": (4, 1),
    "log": (4, 0),
    "fail": (2, 0),
}


class Caller(Protocol):
    """The instance that is running in this thread."""

    context: Context
    send: Send | None
    failure: str | None
    raised: BaseException | None

    def read(self, pointer: int, length: int) -> bytes:
        """Raises ValueError for what lies outside of its memory."""

    def write(self, pointer: int, data: bytes) -> None:
        """Raises ValueError for what lies outside of its memory."""

    def excuse(self, since: int) -> None:
        """The time from tick `since` on was spent in the runtime and does not count."""

    @property
    def tick(self) -> int: ...


class CutOff(Exception):
    """Ends the module's call. Says no more: wasmtime keeps one exception for all threads, so this
    may come out of another call that ends just now."""


running = threading.local()


def define_imports(linker: Linker) -> None:
    for name, (parameters, results) in IMPORTS.items():
        kind = FuncType([ValType.i32()] * parameters, [ValType.i32()] * results)
        linker.define_func(MODULE, name, kind, _guarded(_FUNCTIONS[name], results))


def _guarded(function: Callable[..., Any], results: int) -> Callable[..., Any]:
    def call(*arguments: int) -> Any:
        caller: Caller = running.caller
        since = caller.tick
        try:
            # i32 arrives signed; pointers and lengths are not.
            result = function(caller, *(argument & 0xFFFFFFFF for argument in arguments))
        except BaseException as error:
            caller.raised = error
            raise CutOff from error
        caller.excuse(since)
        return result if results else None

    return call


def _reported(caller: Caller, name: str, action: Callable[[], None]) -> int:
    """0, or -1 for what the runtime refuses; the reason is in the log."""
    try:
        action()
    except (DoraError, OSError, RuntimeError, TypeError, ValueError) as error:
        caller.context.log("error", f"{name}: {error}")
        return FAILED
    return 0


def _send_output(
    caller: Caller, name: int, name_len: int, form: int, form_len: int, data: int, length: int
) -> int:
    output = _text(caller, name, name_len)
    kind = _text(caller, form, form_len) or "uint8"
    payload = caller.read(data, length)

    def send() -> None:
        if caller.send is None:
            raise RuntimeError("outputs are sent from within dora_on_event")
        caller.send(output, arrow.decode(kind, payload), None)

    return _reported(caller, f"send_output {output!r}", send)


def _save_state(caller: Caller, key: int, key_len: int, value: int, length: int) -> int:
    name, data = _text(caller, key, key_len), caller.read(value, length)
    return _reported(caller, "save_state", lambda: caller.context.save_state(name, data))


def _kvs_write(caller: Caller, key: int, key_len: int, value: int, length: int) -> int:
    name, data = _text(caller, key, key_len), caller.read(value, length)
    return _reported(caller, "kvs_write", lambda: caller.context.kvs_write(name, data))


def _kvs_read(caller: Caller, key: int, key_len: int, buffer: int, room: int) -> int:
    """The value's length, -1 if there is none. Written only if there is room for all of it."""
    found = caller.context.kvs_read(_text(caller, key, key_len))
    if found is None:
        return FAILED
    if len(found) <= room:
        caller.write(buffer, found)
    return len(found)


def _log(caller: Caller, level: int, level_len: int, message: int, length: int) -> None:
    caller.context.log(_text(caller, level, level_len), _text(caller, message, length))


def _fail(caller: Caller, message: int, length: int) -> None:
    caller.failure = _text(caller, message, length)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "send_output": _send_output,
    "save_state": _save_state,
    "kvs_write": _kvs_write,
    "kvs_read": _kvs_read,
    "log": _log,
    "fail": _fail,
}


def _text(caller: Caller, pointer: int, length: int) -> str:
    return caller.read(pointer, length).decode(errors="replace")
