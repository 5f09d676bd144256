"""What a runtime is told about its operators, in a file. Laptop writes, runtime reads (>= 3.10)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

RUNTIME_CONFIG = "DORA_RUNTIME_CONFIG"  # environment variable: path of the file

PYTHON, SHARED_LIBRARY, WASM = "python", "shared-library", "wasm"


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """Its inputs and outputs are those of the node's configuration under `<id>/<name>`.

    `code` is a path, relative to the folder of the file that this stands in. Times in seconds.
    """

    id: str
    kind: str  # python | shared-library | wasm
    code: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    priority: int = 0  # higher first
    deadline: float | None = None  # of every input that has none of its own
    deadlines: Mapping[str, float] = field(default_factory=dict)  # input -> seconds
    on_deadline_miss: str = "run"  # run | skip | event
    budget: float | None = None  # a call that takes longer is reported; in WebAssembly, cut off
    memory: int | None = None  # bytes that WebAssembly may use
    thread: bool = False  # a worker thread of its own
    restart: str = "never"  # never | on-failure | always
    max_restarts: int = 0
    restart_delay: float = 0.0
    max_restart_delay: float = 0.0
    restart_window: float = 0.0
    replicated: bool = False  # it has replicas; how many is said in the dataflow's document
    balanced: Mapping[str, str] = field(default_factory=dict)  # input they share -> key, or ""


@dataclass(frozen=True)
class RuntimeConfig:
    scheduler: str = "fifo"  # fifo | priority | edf
    bare_outputs: bool = False  # the node's outputs are named without their (only) operator
    operators: tuple[OperatorConfig, ...] = ()

    def to_text(self) -> str:
        data = asdict(self)
        for operator in data["operators"]:
            # Came later: left out while they say nothing, so that the text stays what it was.
            for key in ("replicated", "balanced"):
                if not operator[key]:
                    del operator[key]
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> RuntimeConfig:
        """Raises ValueError, with what is wrong, on anything but `to_text`'s output."""
        try:
            data: dict[str, Any] = json.loads(text)
            operators = tuple(
                OperatorConfig(
                    **{**it, "inputs": tuple(it["inputs"]), "outputs": tuple(it["outputs"])}
                )
                for it in data["operators"]
            )
            return cls(
                scheduler=data["scheduler"],
                bare_outputs=data["bare_outputs"],
                operators=operators,
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a runtime's configuration: {error}") from error


def read_runtime(file: Path) -> RuntimeConfig:
    """The configuration with absolute paths of code. Raises OSError, and ValueError as
    `RuntimeConfig.from_text`."""
    runtime = RuntimeConfig.from_text(file.read_text())
    operators = tuple(replace(it, code=str(file.parent / it.code)) for it in runtime.operators)
    return replace(runtime, operators=operators)
