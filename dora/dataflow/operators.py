"""Which code an operator runs. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal


@dataclass(frozen=True)
class OperatorCode:
    """`key` is what the flow file calls it."""

    kind: Literal["python", "shared-library", "wasm"]
    path: str
    key: str


_KINDS: Mapping[str, Literal["python", "shared-library", "wasm"]] = {
    "python": "python",
    "shared-library": "shared-library",
    "shared_library": "shared-library",
    "wasm": "wasm",
}


def code_of(operator: Mapping[str, Any]) -> OperatorCode | str:
    """The code of an operator, or what is wrong with it, as the end of a sentence."""
    keys = [key for key in _KINDS if key in operator]
    if not keys:
        return "does not say what it runs"
    if len(keys) > 1:
        return "has " + " and ".join(f"`{key}`" for key in keys)
    key = keys[0]
    value = operator[key]
    path = value.get("source", "") if isinstance(value, dict) else value
    if not path.strip():
        return f"has an empty `{key}`"
    return OperatorCode(_KINDS[key], library(path) if "shared" in key else path, key)


def library(path: str) -> str:
    """The file of a shared library that is named as dora does: `build/x` is `build/libx.so`."""
    named = PurePosixPath(path)
    return path if named.suffix == ".so" else str(named.with_name(f"lib{named.name}.so"))
