"""Operators in shared libraries, with dora's C interface. Node (>= 3.10), where cffi is.

C can do anything to its process. What it returns is checked; what it overwrites is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dora.protocol.runtime import OperatorConfig
from dora.protocol.tracing import CONTEXT
from dora.runtime.base import Context, Send
from dora.runtime.c_abi import (
    address,
    clear,
    ffi,
    lend_nothing,
    lend_text,
    line_buffer_stdout,
    take_error,
)
from dora.runtime.elf import foreign
from dora.runtime.errors import OperatorError
from dora.runtime.outlet import Outlet
from dora.status import DoraStatus

_REQUIRED = ("dora_init_operator", "dora_on_event", "dora_drop_operator")
_BUILD = 'build it with: cc -shared -fPIC -I"$(python -m dora.runtime.include)"'


class SharedLibraryLoader:
    """Opens each library once and never closes it: values that it sent may point into it."""

    def __init__(self) -> None:
        self._libraries: dict[str, Any] = {}

    def load(self, operator: OperatorConfig, context: Context) -> SharedLibraryOperator:
        file = str(Path(operator.code).resolve())
        if not self._libraries:
            line_buffer_stdout()
        library = self._libraries.get(file)
        if library is None:
            library = self._libraries[file] = _open(operator.id, file)
        return SharedLibraryOperator(operator.id, file, library, context)

    def reload(self, operator: OperatorConfig) -> None:
        """The next `load` opens the file anew. The linker of libraries knows files by their inode:
        a compiler writes a new one, `cp` over the old one does not."""
        self._libraries.pop(str(Path(operator.code).resolve()), None)


class SharedLibraryOperator:
    """One operator: what `dora_init_operator` made, and the memory that its events lie in."""

    def __init__(self, id: str, file: str, library: Any, context: Context) -> None:
        self.file = file
        self._name = f"operator {id}: {file}"
        self._library = library
        self._restore = getattr(library, "dora_restore_state", None)
        self._event = ffi.new("RawEvent_t *")
        self._input = ffi.new("Input_t *")
        self._array = address(ffi.addressof(self._input, "array"))
        self._schema = address(ffi.addressof(self._input, "schema"))
        self._outlet: Outlet | None = Outlet(context)
        try:
            made = self._call(library.dora_init_operator)
            self._check("dora_init_operator", made.result)
        except BaseException:
            self._outlet.close()  # there is nothing to be dropped
            raise
        self._context = made.operator_context
        set_services = getattr(library, "dora_set_services", None)
        if set_services is not None:
            try:
                result = self._call(set_services, self._context, self._outlet.services)
                self._check("dora_set_services", result)
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"<{self._name}, {'open' if self._outlet else 'closed'}>"

    def restore_state(self, state: Mapping[str, bytes]) -> None:
        """A library that does not define `dora_restore_state` has no use for its state."""
        if self._restore is not None:
            for key, value in state.items():
                result = self._call(self._restore, self._context, key.encode(), value, len(value))
                self._check("dora_restore_state", result)

    def on_event(self, event: Mapping[str, Any], send: Send) -> DoraStatus:
        raw = self._event
        clear(raw.input_closed)
        clear(raw.error)
        raw.input, raw.stop = ffi.NULL, False
        kind = event["type"]
        if kind == "INPUT":
            return self._on_input(event, send)
        if kind == "DEADLINE_MISSED":  # the message, and beside it what is wrong with it
            late = lend_text(raw.error, f"late by {event['lateness']:.6f} s")
            status = self._on_input(event, send)
            del late
            return status
        if kind == "INPUT_CLOSED":
            kept = lend_text(raw.input_closed, event["id"])
        elif kind == "STOP":
            kept, raw.stop = None, True
        elif "error" in event:
            kept = lend_text(raw.error, str(event["error"]))
        else:
            return DoraStatus.CONTINUE  # C's events have no place for what dora added later
        status = self._deliver(send)
        del kept  # until here C may read it
        return status

    def close(self) -> None:
        outlet = self._outlet
        if outlet is None:
            return
        try:
            result = self._call(self._library.dora_drop_operator, self._context)
        finally:
            self._outlet = None
            outlet.close()
        self._check("dora_drop_operator", result)

    def _on_input(self, event: Mapping[str, Any], send: Send) -> DoraStatus:
        item = self._input
        value, metadata = event["value"], event["metadata"]
        kept = lend_text(item.id, event["id"])
        telemetry = metadata.get(CONTEXT)
        context = item.metadata.open_telemetry_context
        if isinstance(telemetry, str):
            kept = (kept, lend_text(context, telemetry))
        else:
            lend_nothing(context)
        # Counted now, or C would be told "unknown" and had to count by itself.
        _ = value.null_count
        value._export_to_c(self._array, self._schema)
        item.has_array = 1
        self._event.input = item
        try:
            return self._deliver(send)
        finally:
            # Whoever took the array has released it, or will.
            if item.has_array and item.array.release != ffi.NULL:
                item.array.release(ffi.addressof(item, "array"))
            item.has_array = 0
            if item.schema.release != ffi.NULL:
                item.schema.release(ffi.addressof(item, "schema"))
            del kept

    def _deliver(self, send: Send) -> DoraStatus:
        if self._outlet is None:
            raise OperatorError(f"{self._name}: it was dropped")
        answer = self._call(
            self._library.dora_on_event,
            self._event,
            self._outlet.send_output,
            self._context,
            send=send,
        )
        self._check("dora_on_event", answer.result)
        try:
            return DoraStatus(answer.status)
        except ValueError:
            raise OperatorError(
                f"{self._name}: dora_on_event returned the status {answer.status}",
                hint="DORA_STATUS_CONTINUE is 0, _STOP is 1, _STOP_ALL is 2",
            ) from None

    def _call(self, function: Any, *arguments: Any, send: Send | None = None) -> Any:
        assert self._outlet is not None
        return self._outlet.during(function, *arguments, send=send)

    def _check(self, function: str, result: Any) -> None:
        text = take_error(result)
        if text is not None:
            raise OperatorError(f"{self._name}: {function}: {text or 'an error without a text'}")


def _open(operator: str, file: str) -> Any:
    where = f"operator {operator}"
    if not Path(file).is_file():
        raise OperatorError(f"{where}: there is no file {file}", hint=_BUILD)
    try:
        library = ffi.dlopen(file)
    except OSError as error:
        hint = f"{_BUILD}, on a machine like this one"
        # The linker says "cannot open shared object file: No such file or directory".
        if (wrong := foreign(file)) is not None:
            raise OperatorError(f"{where}: {file} {wrong}", hint=hint) from error
        if "undefined symbol: dora_" in str(error):
            hint = f"{_BUILD}: its operator_api.h brings dora's functions along"
        raise OperatorError(f"{where}: {error}", hint=hint) from error
    missing = [name for name in _REQUIRED if not hasattr(library, name)]
    if missing:
        raise OperatorError(
            f"{where}: {file} does not define {' and '.join(missing)}",
            hint="an operator defines " + ", ".join(_REQUIRED) + '; in C++ they are extern "C"',
        )
    return library
