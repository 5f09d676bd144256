"""Python packages for any platform, from the real index, the same on every laptop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.build.installed import normalise
from deploy.build.python import python_tree
from deploy.build.workshop import Workshop
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError
from deploy.facts import Facts
from deploy.store.path import Manifest
from tests.deploy.build.wheels import facts, write_wheel

ELF_MACHINE = {"x86_64": 62, "aarch64": 183}  # e_machine


def built(
    requirements: tuple[str, ...], machine: Facts, workshop: Workshop, base: Path
) -> tuple[Manifest, list[str]]:
    """The tree, and what was said while it was made."""
    said: list[str] = []
    environment = PythonEnvironment(requirements, base=base)
    tree = python_tree(environment, machine, workshop, ["camera", "plot"], said.append)
    return tree, said


def architectures(workshop: Workshop, tree: Manifest) -> set[int]:
    folder = Path(workshop.kept.tree_path(tree.name))
    return {int.from_bytes(path.read_bytes()[18:20], "little") for path in folder.rglob("*.so")}


def test_wheels_fit_the_machine_not_the_laptop(tmp_path: Path) -> None:
    """The same requirements give each machine its own binaries, and the same version."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    wanted = ("markupsafe", "eclipse-zenoh")
    for arch, libc in (("x86_64", (2, 36)), ("aarch64", (2, 31))):
        machine = facts(arch=arch, libc_version=libc, python_version=(3, 12, 3))
        tree, said = built(wanted, machine, workshop, tmp_path)
        assert {ELF_MACHINE[arch]} == architectures(workshop, tree)
        assert "python-3.12" == tree.label
        assert 2 == len(said)
        assert (tree, []) == built(wanted, machine, workshop, tmp_path)


def test_same_lock_gives_the_same_tree_everywhere(tmp_path: Path) -> None:
    """Another laptop with the lock file gets the same store path, wherever its files lie."""
    trees = set()
    for name in ("here", "there"):
        base = tmp_path / name
        write_wheel(base / "wheels", requires="markupsafe")
        if name == "there":
            (base / "flow.lock").write_bytes((tmp_path / "here/flow.lock").read_bytes())
        workshop = Workshop(cache=base / "cache", lock=base / "flow.lock")
        tree, said = built(("./wheels/tiny-1.0-py3-none-any.whl",), facts(), workshop, base)
        assert ["versions", "packages"][name == "there" :] == [text.split()[0] for text in said]
        trees.add(tree.name)
        paths = {entry.path for entry in tree.entries}
        assert {"tiny/__init__.py", "bin/tiny", "markupsafe/__init__.py"} < paths
        folder = Path(workshop.kept.tree_path(tree.name))
        assert b"#!/usr/bin/env python3\n" == (folder / "bin/tiny").read_bytes()[:23]
        texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert not any(os.fsencode(tmp_path) in text for text in texts)
    assert 1 == len(trees)


def test_changed_wheel_of_ours_gives_another_tree(tmp_path: Path) -> None:
    """A local wheel counts by its content, not by its name."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    names = []
    for text in ("x = 1\n", "x = 2\n", "x = 1\n"):
        wheel = write_wheel(tmp_path, text=text)
        names.append(built((f"./{wheel.name}",), facts(), workshop, tmp_path)[0].name)
    assert names[0] == names[2] != names[1]


def test_new_requirements_keep_the_versions_that_are_locked(tmp_path: Path) -> None:
    """Asking for one thing more upgrades nothing else."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    built(("markupsafe<3",), facts(), workshop, tmp_path)
    tree, _ = built(("markupsafe", "iniconfig"), facts(), workshop, tmp_path)
    versions = {entry.path.split("/")[0] for entry in tree.entries if "dist-info" in entry.path}
    versions = {name.lower() for name in versions}
    assert {"markupsafe-2.1.5.dist-info"} == {name for name in versions if "markupsafe" in name}


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("sgmllib3k", "no usable wheels"),
        ("./tiny-1.0-py3-none-any.whl", "no usable wheels"),
    ],
)
def test_missing_wheel_names_who_needs_it_and_where(
    tmp_path: Path, requirement: str, words: str
) -> None:
    """Units, machine, platform and Python are named, with uv's own reason and what to do."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    write_wheel(tmp_path, requires="sgmllib3k")
    where = r"camera, plot for rover \(aarch64-manylinux_2_35, Python 3\.11\)"
    with pytest.raises(BuildError, match=f"(?s){where}.*{words}") as failure:
        built((requirement,), facts("rover", "aarch64", libc_version=(2, 35)), workshop, tmp_path)
    assert "only wheels are deployed" in str(failure.value.hint)
    assert not (tmp_path / "flow.lock").exists()


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("eclipse-zenoh==9.9", r"no version of eclipse-zenoh==9\.9"),
        ("num py", r"in the requirements\n.*\n +num py\n"),
        ("git+https://127.0.0.1:9/x", "git"),
    ],
)
def test_requirement_that_cannot_be_is_shown(tmp_path: Path, requirement: str, words: str) -> None:
    """The user sees what was written, not a file of ours."""
    with pytest.raises(BuildError, match=words) as failure:
        built((requirement,), facts(), Workshop(cache=tmp_path / "cache"), tmp_path)
    assert "requirements.in" not in str(failure.value)


def test_no_way_to_the_index_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own index settings are respected; a dead index is told as such."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    workshop = Workshop(cache=tmp_path / "cache")
    with pytest.raises(BuildError, match=r"127\.0\.0\.1:9") as failure:
        built(("markupsafe",), facts(), workshop, tmp_path)
    assert "package index" in str(failure.value.hint)


def test_environment_that_was_built_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second build asks nobody; nor does one with no requirements."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    first, _ = built(("markupsafe",), facts(), workshop, tmp_path)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    again = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    assert (first, []) == built(("markupsafe",), facts(), again, tmp_path)
    assert () == built((), facts(), again, tmp_path)[0].entries


def test_lost_cache_is_made_anew(tmp_path: Path) -> None:
    """A tree that was swept from the cache is fetched again, under the same name."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    first, _ = built(("markupsafe",), facts(), workshop, tmp_path)
    workshop.kept.remove_tree(first.name)
    again, said = built(("markupsafe",), facts(), workshop, tmp_path)
    assert (first.name, 1) == (again.name, len(said))
    assert [] == workshop.kept.missing_trees([first.name])


def test_wrapped_scripts_become_portable(tmp_path: Path) -> None:
    """Where the laptop's Python has a long path, the script starts with a shell's wrapper."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/tool"
    script.write_bytes(b"#!/bin/sh\n'''exec' '/long path/python' \"$0\" \"$@\"\n' '''\nimport x\n")
    normalise(tmp_path)
    assert b"#!/usr/bin/env python3\nimport x\n" == script.read_bytes()
