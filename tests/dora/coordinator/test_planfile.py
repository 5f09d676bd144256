"""A plan as a file: written, read back, compared with the present, and read from strangers."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.facts import Installed
from dora.coordinator.planfile import MachineState, SavedPlan, Wanted, read, write
from dora.coordinator.saved import moved_on, unlike
from dora.errors import PlanFileError

CODE, OTHER, PYTHON = f"{'1' * 40}-a", f"{'2' * 40}-a", f"{'3' * 40}-python-3.11"
HASH = "ab" * 20


def plan(folder: Path, **changes: Any) -> SavedPlan:
    base = MachineState(3, HASH, {"a": Wanted("f" * 64, (CODE, PYTHON))}, "d" * 64)
    made = SavedPlan(
        "pair",
        str(folder / "pair/flow.yml"),
        str(folder / "machines.yml"),
        {"base": base, "rover": MachineState(None, None)},
        {CODE: {"a.py": "1", "b.py": "2"}, PYTHON: {"numpy": "2.0"}},
    )
    return replace(made, **changes)


def changed(made: SavedPlan, **changes: Any) -> SavedPlan:
    """With another unit `a`."""
    base = made.machines["base"]
    unit = replace(base.wanted["a"], **changes)
    return replace(made, machines={**made.machines, "base": replace(base, wanted={"a": unit})})


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Paths in it are relative, so that the folder may be moved; only its owner may read it."""
    file = tmp_path / "here/plan.json"
    file.parent.mkdir()
    write(plan(tmp_path), file, shown=[])

    assert plan(tmp_path) == read(file)
    assert 0o600 == file.stat().st_mode & 0o777
    assert "../pair/flow.yml" == json.loads(file.read_text())["flow"]
    assert ["plan.json"] == os.listdir(file.parent)


@pytest.mark.parametrize("text", ["nodes: []", "{", "[]", '{"nodes": []}', "[" * 100_000, ""])
def test_other_files_are_no_plans(tmp_path: Path, text: str) -> None:
    """They are read as flow files, which says what is wrong with them."""
    file = tmp_path / "x.json"
    file.write_text(text)
    assert None is read(file)
    assert None is read(tmp_path / "nowhere.json")
    assert None is read(tmp_path / "flow.yml")


BROKEN: list[tuple[tuple[str, ...], Any, str]] = [
    (("dora_plan",), 2, "format 2; this version reads 1"),
    (("deployment",), "../x", "`deployment` cannot be '../x'"),
    (("deployment",), None, "`deployment` cannot be None"),
    (("flow",), "", "`flow` cannot be ''"),
    (("flow",), "a\0b", "`flow` cannot be"),
    (("inventory",), ["x"], "`inventory` cannot be"),
    (("machines",), [], "`machines` must be an object"),
    (("machines", "../x"), {}, "a machine cannot be '../x'"),
    (("machines", "base"), 7, "machine base must be an object, not 7"),
    (("machines", "base", "generation"), "3", "must be a number from 1, or null"),
    (("machines", "base", "generation"), True, "must be a number from 1, or null"),
    (("machines", "base", "hash"), "zz", "`hash` cannot be 'zz'"),
    (("machines", "base", "wanted"), None, "`wanted` must be an object"),
    (("machines", "base", "wanted", "a", "fingerprint"), "x", "`fingerprint` cannot be 'x'"),
    (("machines", "base", "wanted", "a", "trees"), "x", "`trees` must be a list"),
    (("machines", "base", "wanted", "a", "trees"), ["../../etc"], "a tree cannot be '../../etc'"),
    (("files",), {"../x": {}}, "a tree cannot be '../x'"),
    (("files", CODE), {"a": 1}, "the digest of 'a' cannot be 1"),
    (("surprise",), 1, "unknown keys: 'surprise'"),
    (("machines", "base", "surprise"), 1, "unknown keys: 'surprise'"),
]


@pytest.mark.parametrize(("where", "value", "said"), BROKEN)
def test_a_damaged_plan_is_refused(
    tmp_path: Path, where: tuple[str, ...], value: Any, said: str
) -> None:
    """With what is wrong and what to do; it may come from anybody."""
    file = tmp_path / "plan.json"
    write(plan(tmp_path), file, shown=[])
    data = copy.deepcopy(json.loads(file.read_text()))
    part = data
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    file.write_text(json.dumps(data))

    with pytest.raises(PlanFileError) as caught:
        read(file)
    assert said in str(caught.value)
    assert "nothing was changed" in str(caught.value)


def test_a_plan_that_lacks_something_is_refused(tmp_path: Path) -> None:
    """Every key is needed."""
    file = tmp_path / "plan.json"
    write(plan(tmp_path), file, shown=[])
    whole = json.loads(file.read_text())
    for key in whole.keys() - {"dora_plan"}:
        file.write_text(json.dumps({name: it for name, it in whole.items() if name != key}))
        with pytest.raises(PlanFileError, match=f"lacks '{key}'"):
            read(file)


def test_machines_that_moved_on_are_named(tmp_path: Path) -> None:
    """With what they run, and whose that is."""
    same = Installed(3, HASH, creator="ann@desk")
    made = plan(tmp_path)
    assert [] == moved_on(made, {"base": same, "rover": None})
    assert [
        "base runs generation 4 (of ann@desk), the plan was made for generation 3",
        "rover runs generation 1 (of bob@desk), the plan was made for nothing",
    ] == moved_on(
        made, {"base": replace(same, current=4), "rover": Installed(1, HASH, creator="bob@desk")}
    )
    assert ["base runs nothing, the plan was made for generation 3"] == moved_on(
        made, {"base": Installed(None, None), "rover": None}
    )


def test_what_changed_on_the_laptop_is_named(tmp_path: Path) -> None:
    """Files, packages, settings, nodes; else it was something in the flow file."""
    made = plan(tmp_path)
    files = {**made.files, OTHER: {"a.py": "1", "b.py": "3"}}
    assert [] == unlike(made, made)
    code = replace(changed(made, trees=(OTHER, PYTHON), fingerprint="e" * 64), files=files)
    assert ["a: b.py changed"] == unlike(made, code)
    python = PYTHON.replace("3" * 40, "4" * 40)
    packages = replace(
        changed(made, trees=(CODE, python)), files={**made.files, python: {"numpy": "2.1"}}
    )
    assert ["python-3.11: numpy changed"] == unlike(made, packages)
    assert ["settings of a changed"] == unlike(made, changed(made, fingerprint="e" * 64))
    none = replace(made.machines["base"], wanted={})
    assert ["a is not to run any more on base"] == unlike(
        made, replace(made, machines={**made.machines, "base": none})
    )
    other = replace(made.machines["base"], documents="e" * 64)
    assert ["flow.yml changed"] == unlike(
        made, replace(made, machines={**made.machines, "base": other})
    )
