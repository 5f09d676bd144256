"""A module that may become an operator: compiled, and looked at from outside. Node (>= 3.10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wasmtime import Engine, FuncType, MemoryType, Module, WasmtimeError

from dora.runtime.errors import OperatorError
from dora.runtime.wasm_imports import IMPORTS, MODULE

# What an operator exports: how many i32 each takes, and how many it returns.
EXPORTS = {"dora_alloc": (1, 1), "dora_init": (0, 1), "dora_on_event": (7, 1), "dora_drop": (0, 0)}
OPTIONAL = {"dora_restore": (4, 0)}


def compile_module(engine: Engine, name: str, file: str) -> Module:
    """From binary, or from text (.wat). Raises OperatorError for what cannot be an operator."""
    try:
        code = Path(file).read_bytes()
        module = Module(engine, code.decode() if file.endswith(".wat") else code)
    except OSError as error:
        raise OperatorError(f"{name}: {error.strerror}") from error
    except (WasmtimeError, UnicodeDecodeError) as error:
        raise OperatorError(f"{name}: this is no WebAssembly module: {error}") from error
    wrong = [*_wrong_imports(module), *_wrong_exports(module)]
    if wrong:
        raise OperatorError(f"{name}: {'; '.join(wrong)}", hint="see docs/operators.md")
    return module


def _wrong_imports(module: Module) -> Iterator[str]:
    for wanted in module.imports:
        counts = IMPORTS.get(wanted.name or "") if wanted.module == MODULE else None
        if counts is None:
            yield f"it asks for {wanted.module}.{wanted.name}, which operators are not given"
        elif not _is_function(wanted.type, *counts):
            yield f"its {wanted.module}.{wanted.name} is not {_signature(*counts)}"


def _wrong_exports(module: Module) -> Iterator[str]:
    found = {export.name: export.type for export in module.exports}
    if not isinstance(found.get("memory"), MemoryType):
        yield "it does not export its memory as `memory`"
    for name, counts in {**EXPORTS, **OPTIONAL}.items():
        if name not in found:
            if name in EXPORTS:
                yield f"it does not export {name}, {_signature(*counts)}"
        elif not _is_function(found[name], *counts):
            yield f"its {name} is not {_signature(*counts)}"


def _is_function(kind: object, parameters: int, results: int) -> bool:
    return (
        isinstance(kind, FuncType)
        and ["i32"] * parameters == [str(it) for it in kind.params]
        and ["i32"] * results == [str(it) for it in kind.results]
    )


def _signature(parameters: int, results: int) -> str:
    return f"a function of {parameters} i32 that returns {'an i32' if results else 'nothing'}"
