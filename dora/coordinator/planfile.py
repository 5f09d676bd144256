"""A plan as a file: what it was made of, so that it is done as it was shown, or not at all.

It has hashes and names, no contents: neither files nor values of variables. What is read is checked
as anything from a stranger is. Laptop only.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.profile import NAME
from deploy.store.path import TREE_NAME
from dora.errors import PlanFileError

FORMAT = 1
LONGEST = 64 * 1024 * 1024  # bytes of a file that may be a plan
HASH = re.compile(r"[0-9a-f]{40,64}\Z")


@dataclass(frozen=True)
class Wanted:
    """A unit as it was planned: `fingerprint` of all that is said to it, `trees` that it needs."""

    fingerprint: str
    trees: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineState:
    """`generation` and `hash` were current there (None: nothing ran); `wanted` are its units by
    name, `documents` the hash of what goes with them."""

    generation: int | None
    hash: str | None
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    documents: str = ""


@dataclass(frozen=True)
class SavedPlan:
    """`flow` and `inventory` are absolute; `machines` has all that answered when it was made.
    `files` maps trees to what tells their files apart, or to the versions of their packages."""

    deployment: str
    flow: str
    inventory: str
    machines: Mapping[str, MachineState]
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def write(plan: SavedPlan, path: Path, *, shown: Mapping[str, Any]) -> None:
    """Replaces `path`, for its owner's eyes only. `shown` is the plan as people read it; nobody
    reads it back. Raises OSError."""
    folder = path.resolve().parent
    data = {
        "dora_plan": FORMAT,
        "deployment": plan.deployment,
        "flow": os.path.relpath(plan.flow, folder),
        "inventory": os.path.relpath(plan.inventory, folder),
        "machines": {
            machine: {
                "generation": it.generation,
                "hash": it.hash,
                "documents": it.documents,
                "wanted": {
                    unit: {"fingerprint": wanted.fingerprint, "trees": list(wanted.trees)}
                    for unit, wanted in it.wanted.items()
                },
            }
            for machine, it in plan.machines.items()
        },
        "files": {tree: dict(files) for tree, files in plan.files.items()},
        "shown": shown,
    }
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(data, file, indent=1)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: Path) -> SavedPlan | None:
    """The plan in a file; None when it is a file of another kind. Raises PlanFileError for a plan
    that is damaged, or that another version made."""
    if path.suffix != ".json":
        return None
    try:
        if path.stat().st_size > LONGEST:
            return None
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # whoever reads it as a flow file says what is wrong
    if not isinstance(data, dict) or "dora_plan" not in data:
        return None
    try:
        return _plan(data, path.resolve().parent)
    except _Bad as error:
        raise PlanFileError(
            f"{path}: {error}; nothing was changed", hint="make it anew: dora plan --out"
        ) from None


class _Bad(Exception):
    """What is wrong with a plan."""


def _plan(data: dict[str, Any], folder: Path) -> SavedPlan:
    if data["dora_plan"] != FORMAT:
        raise _Bad(f"a plan of format {data['dora_plan']!r}; this version reads {FORMAT}")
    keys = ("dora_plan", "deployment", "flow", "inventory", "machines", "files", "shown")
    _keys(data, keys, "the plan")
    return SavedPlan(
        deployment=_text(data["deployment"], "`deployment`", NAME),
        flow=_path(data["flow"], "`flow`", folder),
        inventory=_path(data["inventory"], "`inventory`", folder),
        machines={
            _text(machine, "a machine", NAME): _machine(it, f"machine {machine}")
            for machine, it in _object(data["machines"], "`machines`").items()
        },
        files={
            _text(tree, "a tree", TREE_NAME): {
                path: _text(it, f"the digest of {path!r}")
                for path, it in _object(files, f"the files of {tree!r}").items()
            }
            for tree, files in _object(data["files"], "`files`").items()
        },
    )


def _machine(data: Any, where: str) -> MachineState:
    _keys(data, ("generation", "hash", "documents", "wanted"), where)
    number = data["generation"]
    if number is not None and (type(number) is not int or number < 1):
        raise _Bad(f"{where}: `generation` is {number!r}, and must be a number from 1, or null")
    wanted = {}
    for unit, it in _object(data["wanted"], f"{where}: `wanted`").items():
        what = f"{where}: unit {unit!r}"
        _keys(it, ("fingerprint", "trees"), what)
        if not isinstance(it["trees"], list):
            raise _Bad(f"{what}: `trees` must be a list")
        trees = tuple(_text(tree, f"{what}: a tree", TREE_NAME) for tree in it["trees"])
        wanted[_text(unit, what, NAME)] = Wanted(
            _text(it["fingerprint"], f"{what}: `fingerprint`", HASH), trees
        )
    return MachineState(
        generation=number,
        hash=None if data["hash"] is None else _text(data["hash"], f"{where}: `hash`", HASH),
        wanted=wanted,
        documents=_text(data["documents"], f"{where}: `documents`"),
    )


def _object(data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _Bad(f"{where} must be an object, not {_short(data)}")
    return data


def _keys(data: Any, keys: tuple[str, ...], where: str) -> None:
    found = _object(data, where).keys()
    if lacking := [key for key in keys if key not in found]:
        raise _Bad(f"{where} lacks {', '.join(map(repr, lacking))}")
    if unknown := sorted(found - set(keys)):
        raise _Bad(f"{where} has unknown keys: {', '.join(map(_short, unknown))}")


def _text(value: Any, where: str, form: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or (form is not None and not form.match(value)):
        raise _Bad(f"{where} cannot be {_short(value)}")
    return value


def _path(value: Any, where: str, folder: Path) -> str:
    text = _text(value, where)
    if not text or "\0" in text:
        raise _Bad(f"{where} cannot be {_short(value)}")
    return os.path.normpath(folder / text)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
