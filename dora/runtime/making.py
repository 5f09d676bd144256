"""Makes operators' instances, with their loaders and their state. Node (>= 3.10)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from dora.protocol.runtime import PYTHON, SHARED_LIBRARY, WASM, OperatorConfig
from dora.runtime.base import Instance, Loader
from dora.runtime.errors import OperatorError
from dora.runtime.python import PythonInstance, PythonLoader
from dora.runtime.state import OperatorStates


class Maker:
    """`descriptor` gives what Python operators have as their `dataflow_descriptor`. Operators that
    have a thread are made there, others in the main thread."""

    def __init__(self, states: OperatorStates, descriptor: Callable[[], Mapping[str, Any]]) -> None:
        self._states = states
        self._descriptor = descriptor
        self._loaders: dict[str, Loader] = {}
        self._adding = threading.Lock()

    def make(self, operator: OperatorConfig) -> Instance:
        """With the state that it saved before. Raises as loaders do."""
        instance = self._load(operator)
        saved = self._states.saved(operator.id)
        if saved:
            try:
                instance.restore_state(saved)
            except BaseException:
                instance.close()
                raise
        return instance

    def remake(self, operator: OperatorConfig, before: Instance) -> Instance:
        """A new instance in the place of `before`, whose attributes it takes over. Raises as
        loaders do, and OperatorError for a kind that cannot."""
        if not isinstance(before, PythonInstance):
            raise OperatorError(
                f"operator {operator.id}: new code for a running operator goes for Python alone",
                hint="`dora deploy` restarts the runtime with the new code",
            )
        instance = self._load(operator)
        assert isinstance(instance, PythonInstance)
        instance.take_over(before)
        return instance

    @property
    def python(self) -> PythonLoader:
        loader = self._loader(PYTHON)
        assert isinstance(loader, PythonLoader)
        return loader

    def _load(self, operator: OperatorConfig) -> Instance:
        return self._loader(operator.kind).load(operator, self._states.context(operator.id))

    def _loader(self, kind: str) -> Loader:
        with self._adding:
            if kind not in self._loaders:
                self._loaders[kind] = _new_loader(kind, self._descriptor)
            return self._loaders[kind]


def _new_loader(kind: str, descriptor: Callable[[], Mapping[str, Any]]) -> Loader:
    """Only what is needed is imported: the other kinds need packages of their own."""
    if kind == PYTHON:
        return PythonLoader(descriptor)
    if kind == SHARED_LIBRARY:
        from dora.runtime.shared_library import SharedLibraryLoader

        return SharedLibraryLoader()
    if kind == WASM:
        from dora.runtime.wasm import WasmLoader

        return WasmLoader()
    raise OperatorError(f"there are no operators of kind {kind!r}")
