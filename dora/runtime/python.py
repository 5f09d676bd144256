"""Operators in Python: `class Operator` with `on_event(dora_event, send_output)`. Node (>= 3.10).

A file is executed once, however many operators it is loaded for, also by several threads at once:
they share its module.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from dora.protocol.runtime import OperatorConfig
from dora.runtime.base import Context, Send
from dora.runtime.errors import OperatorError
from dora.status import DoraStatus

DESCRIPTOR = "dataflow_descriptor"
OFFERED = ("save_state", "kvs_write", "kvs_read")  # set on instances whose class has no such name


class PythonLoader:
    """`descriptor` gives what instances have as their `dataflow_descriptor`; it is asked when the
    first of them looks, since it may be large."""

    def __init__(self, descriptor: Callable[[], Mapping[str, Any]]) -> None:
        self._descriptor = Descriptor(descriptor)
        self._modules: dict[str, ModuleType] = {}  # that were executed to their end
        # Held while a file is executed, which may import another operator's.
        self._executing = threading.RLock()

    def __repr__(self) -> str:
        return f"<PythonLoader of {len(self._modules)} files>"

    def load(self, operator: OperatorConfig, context: Context) -> PythonInstance:
        kind: Any = self._class(operator)
        if _is_plain(kind):
            made = kind.__new__(kind)
            for name in OFFERED:
                if not hasattr(kind, name) and hasattr(made, "__dict__"):
                    setattr(made, name, getattr(context, name))
            made.__init__()
        else:
            made = kind()  # its metaclass decides how it is made
        if not hasattr(kind, DESCRIPTOR):
            setattr(kind, DESCRIPTOR, self._descriptor)
        elif not isinstance(vars(kind).get(DESCRIPTOR), Descriptor):  # it has one of its own
            setattr(made, DESCRIPTOR, self._descriptor.read())
        return PythonInstance(operator.id, made)

    def forget(self, files: Iterable[str]) -> Callable[[], None]:
        """The next `load` executes what these files are then. What is returned takes that back."""
        before = dict(self._modules)
        for path in map(os.path.realpath, files):
            module = self._modules.pop(path, None)
            if module is not None and sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
            # Python tells a file's versions by size and second, which is not enough here.
            Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
        importlib.invalidate_caches()

        def take_back() -> None:
            self._modules = before
            sys.modules.update({it.__name__: it for it in before.values()})

        return take_back

    def move(self, files: Mapping[str, str]) -> None:
        """The same code lies elsewhere now: from -> to."""
        for old, new in files.items():
            module = self._modules.pop(os.path.realpath(old), None)
            if module is not None:
                self._modules[os.path.realpath(new)] = module

    def _class(self, operator: OperatorConfig) -> Any:
        path = os.path.realpath(operator.code)
        module = self._modules.get(path)
        if module is None:
            with self._executing:
                module = self._modules.get(path)
                if module is None:
                    module = self._modules[path] = _module(operator, path)
        kind = getattr(module, "Operator", None)
        if not isinstance(kind, type):
            raise OperatorError(
                f"operator {operator.id}: {path} has no class Operator",
                hint="write `class Operator:` with `def on_event(self, dora_event, send_output)`",
            )
        if not callable(getattr(kind, "on_event", None)):
            raise OperatorError(
                f"operator {operator.id}: class Operator of {path} has no on_event",
                hint="add `def on_event(self, dora_event, send_output)`",
            )
        return kind


class Descriptor:
    """An attribute of classes that all instances share, until they set one of their own."""

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self.read = read

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else self.read()


class PythonInstance:
    __slots__ = ("_id", "_on_event", "_operator")

    def __init__(self, id: str, operator: Any) -> None:
        self._id = id
        self._operator = operator
        self._on_event = operator.on_event

    def __repr__(self) -> str:
        return f"<PythonInstance {self._id}: {self._operator!r}>"

    @property
    def operator(self) -> Any:
        """The object that the user's class made; None once closed."""
        return self._operator

    def restore_state(self, state: Mapping[str, bytes]) -> None:
        restore = getattr(self._operator, "restore_state", None)
        if restore is not None:
            restore(state)

    def on_event(self, event: Mapping[str, Any], send: Send) -> DoraStatus | Awaitable[DoraStatus]:
        return self.settle(self._on_event(event, send))

    @property
    def direct(self) -> Any:
        """`on_event` of the user's own object: `settle` makes of its result what ours returns."""
        return self._on_event

    def settle(self, status: Any) -> DoraStatus | Awaitable[DoraStatus]:
        if type(status) is DoraStatus:
            return status
        return self._awaited(status) if hasattr(status, "__await__") else self._status(status)

    def take_over(self, before: PythonInstance) -> None:
        """All attributes of another instance, in the place of which this one stands from now on."""
        if hasattr(self._operator, "__dict__") and hasattr(before.operator, "__dict__"):
            vars(self._operator).update(vars(before.operator))
            self._on_event = self._operator.on_event

    def close(self) -> None:
        self._operator = self._on_event = None

    async def _awaited(self, call: Awaitable[Any]) -> DoraStatus:
        return self._status(await call)

    def _status(self, status: Any) -> DoraStatus:
        """Of anything that has the value of one. Raises OperatorError."""
        value = getattr(status, "value", None)
        if type(value) is not int or value not in (0, 1, 2):
            raise OperatorError(
                f"operator {self._id}: on_event must return a DoraStatus, not {status!r}",
                hint="end it with `return DoraStatus.CONTINUE`",
            )
        return DoraStatus(value)


def _is_plain(kind: Any) -> bool:
    """Whether no metaclass decides how instances are made."""
    return type(kind) is type


def _module(operator: OperatorConfig, path: str) -> ModuleType:
    """The file's module, under the name that an import of it would use, if that is free."""
    folder, file = os.path.split(path)
    if not os.path.isfile(path):
        raise OperatorError(f"operator {operator.id}: there is no file {path}")
    if folder not in sys.path:
        sys.path.append(folder)
    name = file.removesuffix(".py")
    known = sys.modules.get(name)
    if known is not None and os.path.realpath(getattr(known, "__file__", None) or "/") == path:
        return known  # another operator imports it
    if known is not None or not _finds(name, path):
        name = f"{name}@{folder}"  # of another file, or of Python's own
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise OperatorError(
            f"operator {operator.id}: {path} is no Python file", hint="name a file that ends in .py"
        )
    return _executed(operator, path, spec)


def _finds(name: str, path: str) -> bool:
    """Whether `import name` would find this very file."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return found is not None and os.path.realpath(found.origin or "/") == path


def _executed(operator: OperatorConfig, path: str, spec: ModuleSpec) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        assert spec.loader is not None
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        hint = None
        if isinstance(error, ModuleNotFoundError):
            hint = "name the package in the node's `requirements:`, or the file in its `files:`"
        raise OperatorError(
            f"operator {operator.id}: {path} cannot be loaded: {type(error).__name__}: {error}",
            hint=hint,
        ) from error
    return module
