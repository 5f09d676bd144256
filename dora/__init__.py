"""What a node imports: `from dora import Node`. Runs in every node (Python >= 3.10).

Names are loaded when they are first used, so that `import dora` stays quick and light.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # what `typing` calls so; that would take most of the time

if TYPE_CHECKING:
    from typing import Any

    from dora.node import Node as Node
    from dora.runtime.start import start_runtime as start_runtime
    from dora.status import DoraStatus as DoraStatus

__all__ = ["Node", "DoraStatus", "start_runtime"]

_HOMES = {
    "Node": "dora.node",
    "DoraStatus": "dora.status",
    "start_runtime": "dora.runtime.start",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
