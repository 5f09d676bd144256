"""The whole build: a deployment of two machines becomes profiles and trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.build import Workshop, build
from deploy.build.files import script_closure
from deploy.deployment import Deployment, Files, Link, MachineSpec, PythonEnvironment, UnitSpec
from deploy.errors import BuildError
from deploy.store.base import copy
from deploy.store.local import LocalStore
from deploy.unit import Unit
from tests.deploy.build.wheels import facts

ROOT = "/home/robot/.local/share/dora"


def files(folder: Path, text: str = "print('hi')") -> Files:
    folder.mkdir(exist_ok=True)
    (folder / "node.py").write_text(text)
    return script_closure(folder / "node.py", folder)


def spec(code: Files, name: str = "camera") -> UnitSpec:
    unit = Unit(
        name,
        ("${interpreter}", "${code}/node.py", "$$HOME"),
        "${state}",
        {
            "A": "${root} ${run} ${secrets} ${deployment_documents}",
            "PYTHONPATH": "${packages}",
        },
        links="${code}",
    )
    return UnitSpec(unit, {"code": code, "packages": PythonEnvironment(())})


def deployment(*units: UnitSpec) -> Deployment:
    machine = MachineSpec("m", units, {"summary": "text"}, {"key": b"s3cret"})
    return Deployment("show", {"m": machine})


def test_units_are_rendered_for_their_machine(tmp_path: Path) -> None:
    """Every path in a unit is where the machine will have it."""
    workshop = Workshop(cache=tmp_path / "cache")
    built = build(deployment(spec(files(tmp_path / "flow"))), {"m": facts()}, workshop)["m"]
    code, packages = sorted(built.manifests, key=lambda tree: tree.label)
    (unit,) = built.profile.units
    trees = f"{ROOT}/store/trees"
    assert ("/usr/bin/python3", f"{trees}/{code.name}/node.py", "$HOME") == unit.argv
    assert f"{ROOT}/state/show/camera" == unit.cwd
    assert {
        "A": f"{ROOT} {ROOT}/run {ROOT}/secrets/show {ROOT}/deployments/show/documents",
        "PYTHONPATH": f"{trees}/{packages.name}",
    } == dict(unit.env)
    assert tuple(sorted([code.name, packages.name])) == unit.closure
    assert code.name == unit.links
    assert {"summary": "text"} == built.profile.documents


def test_built_trees_can_be_copied_from_where_the_files_lie(tmp_path: Path) -> None:
    """The user's files are not copied on the laptop; a store gets them whole."""
    folder = tmp_path / "flow"
    code = files(folder)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    os.chmod(folder / "run.sh", 0o755)
    code = Files(
        "code",
        {**code.entries, "run.sh": folder / "run.sh", "note": b"made", "alias": Link("node.py")},
    )
    workshop = Workshop(cache=tmp_path / "cache")
    built = build(deployment(spec(code)), {"m": facts()}, workshop)["m"]
    target = LocalStore(str(tmp_path / "machine"))
    copy(workshop.store, built.manifests, target)
    (tree,) = [tree for tree in built.manifests if tree.label == "code"]
    made = Path(target.tree_path(tree.name))
    assert b"made" == (made / "note").read_bytes()
    assert "node.py" == os.readlink(made / "alias")
    assert os.access(made / "run.sh", os.X_OK)
    assert not os.access(made / "note", os.X_OK)
    assert [] == workshop.kept.objects()


def test_same_files_give_the_same_profile_anywhere(tmp_path: Path) -> None:
    """Neither the folder nor the hour is in the hash."""
    hashes = set()
    for name in ("one", "two"):
        code = files(tmp_path / name)
        os.utime(tmp_path / name / "node.py", (1_000_000, len(hashes)))
        workshop = Workshop(cache=tmp_path / f"cache-{name}")
        hashes.add(build(deployment(spec(code)), {"m": facts()}, workshop)["m"].profile.hash)
    assert 1 == len(hashes)


def test_change_of_one_script_changes_its_unit_alone(tmp_path: Path) -> None:
    """The other unit keeps its fingerprint, and with it its process."""
    workshop = Workshop(cache=tmp_path / "cache")
    prints = []
    for text in ("1", "2"):
        one, two = files(tmp_path / "one", text), files(tmp_path / "two", "same")
        wanted = deployment(spec(one, "changing"), spec(two, "staying"))
        profile = build(wanted, {"m": facts()}, workshop)["m"].profile
        prints.append((profile.unit("changing").fingerprint, profile.unit("staying").fingerprint))
    assert prints[0][0] != prints[1][0]
    assert prints[0][1] == prints[1][1]


def test_secrets_are_nowhere_in_what_is_built(tmp_path: Path) -> None:
    """Neither in the profile, nor in a repr, nor in the cache."""
    workshop = Workshop(cache=tmp_path / "cache")
    wanted = deployment(spec(files(tmp_path / "flow")))
    built = build(wanted, {"m": facts()}, workshop)
    assert "s3cret" not in f"{wanted!r} {built!r} {built['m'].profile.to_json()}"
    cached = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not any(b"s3cret" in path.read_bytes() for path in cached)


def test_unknown_name_in_a_template_is_told(tmp_path: Path) -> None:
    """The unit, the machine and the name are in the message."""
    unit = UnitSpec(Unit("camera", ("${nothing}",), "/"))
    with pytest.raises(BuildError, match=r"unit camera on m: .*nothing"):
        build(deployment(unit), {"m": facts()}, Workshop(cache=tmp_path))


def test_file_that_went_away_is_told(tmp_path: Path) -> None:
    """Between finding a file and reading it, it may go."""
    code = files(tmp_path / "flow")
    (tmp_path / "flow/node.py").unlink()
    with pytest.raises(BuildError, match=r"node\.py cannot be read"):
        build(deployment(spec(code)), {"m": facts()}, Workshop(cache=tmp_path / "cache"))
