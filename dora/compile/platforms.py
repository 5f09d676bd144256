"""The one architecture that a node's files are for, if they are for one alone. Laptop only.

Reads the first bytes of programs and shared libraries, and the names of wheels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from dora.dataflow.model import Dataflow, Node

# `e_machine` of ELF files -> what `uname -m` says. 32-bit ones run on several kinds of machines.
_MACHINES = {62: "x86_64", 183: "aarch64", 243: "riscv64"}
_ARCHITECTURES = tuple(_MACHINES.values())


def platforms_of(dataflow: Dataflow) -> dict[str, str]:
    """Node -> architecture, of those of which it is known."""
    base = Path(dataflow.directory)
    found: dict[str, str] = {}
    for node in dataflow.nodes.values():
        named = {it for it in _named(base, node) if it is not None}
        if len(named) == 1:  # files for several are for nobody to tell: building says what is wrong
            found[node.id] = named.pop()
    return found


def _named(base: Path, node: Node) -> Iterator[str | None]:
    if node.path is not None and "/" in node.path and "$" not in node.path:
        yield architecture(base / node.path)
    for operator in node.operators:
        if operator.kind == "shared-library":
            yield architecture(base / operator.code)
    for requirement in node.requirements:
        if requirement.endswith(".whl"):
            yield architecture_of_wheel(requirement.rpartition("/")[2])


def architecture(file: Path) -> str | None:
    """Of a 64-bit ELF file; None for all else, and where nothing can be read."""
    try:
        with file.open("rb") as opened:
            head = opened.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:5] != b"\x7fELF\x02":
        return None
    return _MACHINES.get(int.from_bytes(head[18:20], "little" if head[5] == 1 else "big"))


def architecture_of_wheel(name: str) -> str | None:
    """None if it is for any, for several, or if its name is not that of a wheel."""
    try:
        tags = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return None
    found = {
        next((it for it in _ARCHITECTURES if tag.platform.endswith(f"_{it}")), None) for tag in tags
    }
    return found.pop() if len(found) == 1 else None
