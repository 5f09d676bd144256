"""Operators in WebAssembly: nothing of the machine is theirs, neither much memory nor much time.

Node (>= 3.10), where wasmtime is. docs/operators.md has the interface.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
from wasmtime import (
    Config,
    Engine,
    Func,
    Linker,
    Memory,
    Module,
    Store,
    Trap,
    TrapCode,
    WasmtimeError,
)

from dora import arrow
from dora.protocol.runtime import OperatorConfig
from dora.runtime.base import Context, Send
from dora.runtime.errors import OperatorError
from dora.runtime.metronome import Metronome, ticks_in
from dora.runtime.wasm_imports import CutOff, define_imports, running
from dora.runtime.wasm_module import EXPORTS, OPTIONAL, compile_module
from dora.status import DoraStatus

MEMORY = 64 << 20  # bytes that an operator may use, unless it says otherwise
BUDGET = 1.0  # seconds that a call may take, unless the operator says otherwise

_INPUT, _INPUT_CLOSED, _STOP, _ERROR, _LATE = range(5)
_KINDS = {
    "INPUT": _INPUT,
    "INPUT_CLOSED": _INPUT_CLOSED,
    "STOP": _STOP,
    "ERROR": _ERROR,
    "DEADLINE_MISSED": _LATE,
}
_TABLES = 16
_TABLE_ELEMENTS = 100_000


class Bounds(NamedTuple):
    memory: int  # bytes
    budget: float  # seconds a call


class WasmLoader:
    """Compiles each module once; its instances share the code."""

    def __init__(self) -> None:
        config = Config()
        config.epoch_interruption = True
        self._engine = Engine(config)
        self._linker = Linker(self._engine)
        define_imports(self._linker)
        self._metronome = Metronome(self._engine.increment_epoch)
        self._modules: dict[str, Module] = {}

    def load(self, operator: OperatorConfig, context: Context) -> WasmOperator:
        file = str(Path(operator.code).resolve())
        name = f"operator {operator.id}: {file}"
        module = self._modules.get(file)
        if module is None:
            module = self._modules[file] = compile_module(self._engine, name, file)
        bounds = Bounds(
            memory=MEMORY if operator.memory is None else operator.memory,
            budget=BUDGET if operator.budget is None else operator.budget,
        )
        store = Store(self._engine)
        store.set_limits(
            memory_size=bounds.memory,
            memories=1,
            instances=1,
            tables=_TABLES,
            table_elements=_TABLE_ELEMENTS,
        )
        return WasmOperator(name, self._linker, module, store, context, self._metronome, bounds)

    def reload(self, operator: OperatorConfig) -> None:
        """The next `load` compiles what the file is then."""
        self._modules.pop(str(Path(operator.code).resolve()), None)


class WasmOperator:
    """One instance of a module, with a memory of its own."""

    def __init__(
        self,
        name: str,
        linker: Linker,
        module: Module,
        store: Store,
        context: Context,
        metronome: Metronome,
        bounds: Bounds,
    ) -> None:
        self.context = context
        self.send: Send | None = None
        self.failure: str | None = None
        self._name = name
        self._store: Store | None = store
        self._metronome = metronome
        self._bounds = bounds
        self._left = 0  # ticks that the call may still take, counted
        self._started = 0  # from this tick on
        self.raised: BaseException | None = None
        self._broken = False
        try:
            exports = self._timed(lambda: linker.instantiate(store, module)).exports(store)
            self._memory: Memory = exports["memory"]
            self._functions: dict[str, Func] = {
                export: exports[export]
                for export in (*EXPORTS, *OPTIONAL)
                if exports.get(export) is not None
            }
            made = self._call("dora_init")
            if made != 0:
                raise OperatorError(f"{name}: dora_init returned {made}")
        except BaseException:
            self._store = None
            store.close()
            raise

    def __repr__(self) -> str:
        return f"<{self._name}, {'open' if self._store else 'closed'}>"

    def restore_state(self, state: Mapping[str, bytes]) -> None:
        """A module without `dora_restore` has no use for its state."""
        if "dora_restore" in self._functions:
            for key, value in state.items():
                (data, length), name = self._place(value, key.encode())
                self._call("dora_restore", *name, data, length)

    def on_event(self, event: Mapping[str, Any], send: Send) -> DoraStatus:
        kind = _KINDS.get(event["type"])
        if kind is None:
            return DoraStatus.CONTINUE  # what dora adds later has no number
        name, form, data = event.get("id", ""), "", b""
        if kind in (_INPUT, _LATE):
            value = event["value"]
            if str(value.type) != "null":
                form, data = arrow.encode(value)
        elif kind == _ERROR:
            form, data = "uint8", str(event["error"]).encode()
        place, *names = self._place(data, name.encode(), form.encode())
        arguments = (number for pair in (*names, place) for number in pair)
        answer = self._call("dora_on_event", kind, *arguments, send=send)
        try:
            return DoraStatus(answer)
        except ValueError:
            raise OperatorError(
                f"{self._name}: dora_on_event returned the status {answer}",
                hint="0 is CONTINUE, 1 is STOP, 2 is STOP_ALL",
            ) from None

    def close(self) -> None:
        store = self._store
        if store is None:
            return
        try:
            if not self._broken:
                self._call("dora_drop")
        finally:
            self._store = None
            store.close()

    # What its imports ask for, see wasm_imports.Caller.

    def read(self, pointer: int, length: int) -> bytes:
        return ctypes.string_at(self._address(pointer, length), length) if length else b""

    def write(self, pointer: int, data: bytes) -> None:
        ctypes.memmove(self._address(pointer, len(data)), data, len(data))

    def excuse(self, since: int) -> None:
        now = self._metronome.ticks
        if now != since:
            self._left -= since - self._started
            self._started = now
            self._open().set_epoch_deadline(max(1, self._left))

    @property
    def tick(self) -> int:
        return self._metronome.ticks

    def _place(self, *parts: Any) -> list[tuple[int, int]]:
        """Copies all into one block of its memory, the first part first; pointers and lengths."""
        buffers = [pyarrow.py_buffer(part) for part in parts]
        size = sum(buffer.size for buffer in buffers)
        if size == 0:
            return [(0, 0) for _ in buffers]
        block = self._call("dora_alloc", size) & 0xFFFFFFFF
        if block == 0:
            raise OperatorError(
                f"{self._name}: dora_alloc has no {size} bytes for an event",
                hint=f"it may use {self._bounds.memory >> 10} KiB in all; `memory:` changes that",
            )
        try:
            target = self._address(block, size)
        except ValueError as error:
            raise OperatorError(f"{self._name}: dora_alloc returned memory: {error}") from error
        places = []
        for buffer in buffers:
            ctypes.memmove(target, buffer.address, buffer.size)
            places.append((block, buffer.size))
            target, block = target + buffer.size, block + buffer.size
        return places

    def _address(self, pointer: int, length: int) -> int:
        store = self._open()
        if pointer + length > (size := self._memory.data_len(store)):
            raise ValueError(f"{length} bytes at {pointer} are outside of its {size} bytes")
        return ctypes.addressof(self._memory.data_ptr(store).contents) + pointer

    def _call(self, function: str, *arguments: int, send: Send | None = None) -> Any:
        """What it returns. Raises OperatorError for what it says or does wrong, and what its
        imports have raised."""
        self.send, self.failure = send, None
        export = self._functions[function]
        try:
            result = self._timed(lambda: export(self._open(), *arguments))
        finally:
            self.send = None
        if self.failure is not None:
            raise OperatorError(f"{self._name}: {function}: {self.failure}")
        return result

    def _timed(self, call: Callable[[], Any]) -> Any:
        store = self._open()
        if self._broken:
            raise OperatorError(
                f"{self._name}: an earlier call was cut off, so nothing is known of its memory",
                hint="give it a restart_policy",
            )
        self._left = ticks_in(self._bounds.budget)
        self._started = self._metronome.ticks
        store.set_epoch_deadline(self._left)
        running.caller = self
        self._metronome.begin()
        try:
            result = call()
        except (Trap, WasmtimeError, CutOff) as error:
            self._broken = True
            if self.raised is None:
                raise OperatorError(f"{self._name}: {self._reason(error)}") from error
        finally:
            self._metronome.end()
            running.caller = None
        if self.raised is not None:
            raised, self.raised = self.raised, None
            if isinstance(raised, ValueError):  # it pointed to somewhere else
                raise OperatorError(f"{self._name}: {raised}") from raised
            raise raised
        return result

    def _reason(self, error: Exception) -> str:
        if isinstance(error, Trap) and error.trap_code == TrapCode.INTERRUPT:
            return f"cut off: a call took longer than {self._bounds.budget:g} s"
        return str(error).strip() or "cut off"

    def _open(self) -> Store:
        if self._store is None:
            raise OperatorError(f"{self._name}: it was dropped")
        return self._store
