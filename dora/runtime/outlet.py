"""What a C operator can call: outputs, state, log. Node (>= 3.10).

C holds a number, not a pointer: a library that calls after its operator was dropped gets an error
instead of a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from dora.protocol.tracing import CONTEXT
from dora.runtime.base import Context, Send
from dora.runtime.c_abi import SUCCESS, address, ffi, give_bytes, give_error, take_text

_open: dict[int, Outlet] = {}
_numbers = count(1)


class Outlet:
    """One operator's way out. Any thread may send, from the first event on; the rest is for calls
    from within `during`."""

    __slots__ = ("_context", "_number", "_send", "_thread", "raised", "send_output", "services")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._send: Send | None = None
        self._thread = 0
        self.raised: BaseException | None = None  # what C code must not hold up, such as Ctrl-C
        self._number = next(_numbers)
        number = ffi.cast("void *", self._number)
        self.send_output = ffi.new("SendOutput_t *", (number, _call, _unchanged, _unchanged))
        self.services = ffi.new("DoraServices_t *", (number, _save_state, _write, _read, _log))
        _open[self._number] = self

    def close(self) -> None:
        _open.pop(self._number, None)

    def during(self, call: Callable[..., Any], *arguments: Any, send: Send | None = None) -> Any:
        """What `call` returns. Raises what Python raised meanwhile and C cannot be told."""
        self._thread = threading.get_ident()
        if send is not None:
            self._send = send
        try:
            result = call(*arguments)
        finally:
            self._thread = 0
        if self.raised is not None:
            raised, self.raised = self.raised, None
            raise raised
        return result

    def send(self, output: str, value: Any, metadata: Mapping[str, Any] | None) -> None:
        if self._send is None:
            raise RuntimeError("outputs are sent from the first dora_on_event on")
        self._send(output, value, metadata)

    def context(self) -> Context:
        """Raises RuntimeError where C may not ask for it."""
        if self._thread != threading.get_ident():
            raise RuntimeError("services are for the thread that the runtime calls, while it does")
        return self._context


def _answer(number: Any, action: Callable[[Outlet], None]) -> Any:
    """A result for C. Exceptions become its error's text; Ctrl-C and the like wait for its end."""
    outlet = _open.get(address(number))
    if outlet is None:
        return give_error("this operator was dropped")
    try:
        action(outlet)
    except Exception as error:
        return give_error(str(error) or type(error).__name__)
    except BaseException as error:
        outlet.raised = error
        return give_error("the process is told to end")
    return SUCCESS


def _on_send(number: Any, output: Any) -> Any:
    import pyarrow

    # Taken over first, whatever becomes of them: C has given them away.
    name, telemetry = take_text(output.id), take_text(output.metadata.open_telemetry_context)
    try:
        value = pyarrow.Array._import_from_c(
            address(ffi.addressof(output, "array")), address(ffi.addressof(output, "schema"))
        )
    except (pyarrow.ArrowException, ValueError, TypeError, NotImplementedError) as error:
        return give_error(f"output {name!r}: no valid Arrow array: {error}")
    metadata = {CONTEXT: telemetry} if telemetry else None
    return _answer(number, lambda outlet: outlet.send(name, value, metadata))


def _on_count(number: Any) -> None:
    """A number needs no counting of who holds it."""


def _on_save(number: Any, key: Any, value: Any, length: int) -> Any:
    return _answer(number, lambda it: it.context().save_state(_text(key), _bytes(value, length)))


def _on_write(number: Any, key: Any, value: Any, length: int) -> Any:
    return _answer(number, lambda it: it.context().kvs_write(_text(key), _bytes(value, length)))


def _on_read(number: Any, key: Any, value: Any) -> Any:
    value.ptr, value.len, value.cap = ffi.NULL, 0, 0

    def read(outlet: Outlet) -> None:
        found = outlet.context().kvs_read(_text(key))
        if found is not None:
            give_bytes(value, found)

    return _answer(number, read)


def _on_log(number: Any, level: Any, message: Any) -> Any:
    return _answer(number, lambda it: it.context().log(_text(level), _text(message)))


def _text(pointer: Any) -> str:
    return str(ffi.string(pointer).decode(errors="replace"))


def _bytes(pointer: Any, length: int) -> bytes:
    return bytes(ffi.buffer(pointer, length)) if length else b""


# Made once for the process: each costs executable memory.
_call = ffi.callback("DoraResult_t(void *, Output_t)", _on_send)
_unchanged = ffi.callback("void(void *)", _on_count)
_save_state = ffi.callback("DoraResult_t(void *, const char *, const uint8_t *, size_t)", _on_save)
_write = ffi.callback("DoraResult_t(void *, const char *, const uint8_t *, size_t)", _on_write)
_read = ffi.callback("DoraResult_t(void *, const char *, Vec_uint8_t *)", _on_read)
_log = ffi.callback("DoraResult_t(void *, const char *, const char *)", _on_log)
