"""Which files of the user's folder are shipped, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.build.files import package_files, script_closure
from deploy.deployment import Link
from deploy.errors import BuildError


def tree(base: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(text)
    return base


def names(base: Path, script: str, *globs: str) -> list[str]:
    return sorted(script_closure(base / script, base, globs).entries)


def test_script_brings_the_modules_that_it_imports(tmp_path: Path) -> None:
    """Modules are followed wherever the import stands; what nobody imports stays."""
    tree(
        tmp_path,
        {
            "node.py": "import os, one\ndef f():\n    from two import x\n",
            "one.py": "try:\n    import three.sub as s\nexcept ImportError:\n    s = None\n",
            "two.py": "import numpy\nx = 1\n",
            "three/__init__.py": "",
            "three/sub.py": "import one",
            "three/data.json": "{}",
            "other.py": "",
        },
    )
    expected = [
        "node.py",
        "one.py",
        "three/__init__.py",
        "three/data.json",
        "three/sub.py",
        "two.py",
    ]
    assert expected == names(tmp_path, "node.py")


def test_modules_beside_the_script_hide_those_of_the_folder(tmp_path: Path) -> None:
    """The search is Python's: beside the script first, then the folder of the flow."""
    tree(
        tmp_path,
        {
            "nodes/node.py": "import near, far, both",
            "nodes/near.py": "",
            "nodes/both.py": "",
            "both.py": "",
            "far.py": "",
        },
    )
    expected = ["far.py", "nodes/both.py", "nodes/near.py", "nodes/node.py"]
    assert expected == names(tmp_path, "nodes/node.py")


def test_relative_imports_and_namespace_packages_are_followed(tmp_path: Path) -> None:
    """Folders without __init__.py give only the module that is named; dots are resolved."""
    tree(
        tmp_path,
        {
            "node.py": "from space.inner import mod\nfrom pkg import api",
            "space/inner/mod.py": "from . import beside\nfrom ..outer import more",
            "space/inner/beside.py": "",
            "space/inner/unused.py": "",
            "space/outer.py": "",
            "pkg/__init__.py": "from .api import f",
            "pkg/api.py": "import extra",
            "extra.py": "",
        },
    )
    assert [
        "extra.py",
        "node.py",
        "pkg/__init__.py",
        "pkg/api.py",
        "space/inner/beside.py",
        "space/inner/mod.py",
        "space/outer.py",
    ] == names(tmp_path, "node.py")


def test_globs_bring_files_and_whole_folders(tmp_path: Path) -> None:
    """Patterns are relative to the folder; a folder comes whole; Python's leavings stay."""
    tree(
        tmp_path,
        {
            "node.py": "",
            "models/a.onnx": "",
            "models/b.txt": "",
            "maps/deep/er/map": "",
            "maps/__pycache__/x.cpython-311.pyc": "",
        },
    )
    assert ["maps/deep/er/map", "models/a.onnx", "node.py"] == names(
        tmp_path, "node.py", "models/*.onnx", "maps"
    )


def test_gitignore_is_respected_where_nothing_was_named(tmp_path: Path) -> None:
    """Wildcards and packages leave out what git would; nearer files override; negation works."""
    tree(
        tmp_path,
        {
            ".gitignore": "*.log\nbuild/\n/data/*.bin\n",
            "node.py": "import pkg",
            "pkg/__init__.py": "",
            "pkg/run.log": "",
            "pkg/keep/.gitignore": "!*.log",
            "pkg/keep/kept.log": "",
            "pkg/build/out.o": "",
            "data/a.bin": "",
            "data/b.txt": "",
        },
    )
    assert [
        "data/b.txt",
        "node.py",
        "pkg/__init__.py",
        "pkg/keep/.gitignore",
        "pkg/keep/kept.log",
    ] == names(tmp_path, "node.py", "data/*")


def test_what_is_named_or_imported_comes_although_git_ignores_it(tmp_path: Path) -> None:
    """Generated code and downloaded models are often not in git, and needed."""
    tree(
        tmp_path,
        {
            ".gitignore": "*_pb2.py\nmodels/\ngenerated/\n",
            "node.py": "import messages_pb2, pkg.more_pb2, generated",
            "messages_pb2.py": "",
            "pkg/__init__.py": "",
            "pkg/more_pb2.py": "",
            "pkg/unused_pb2.py": "",
            "generated/__init__.py": "",
            "generated/part.py": "",
            "models/a.onnx": "",
        },
    )
    assert [
        "generated/__init__.py",
        "generated/part.py",
        "messages_pb2.py",
        "models/a.onnx",
        "node.py",
        "pkg/__init__.py",
        "pkg/more_pb2.py",
    ] == names(tmp_path, "node.py", "models/a.onnx")
    with pytest.raises(BuildError, match=r"covered by \.gitignore") as failure:
        names(tmp_path, "node.py", "models/*")
    assert "without wildcards" in str(failure.value.hint)


def test_links_inside_are_kept_with_what_they_lead_to(tmp_path: Path) -> None:
    """A link stays a link, relative, and its target comes along."""
    tree(tmp_path, {"node.py": "import alias", "lib/v2.py": "", "lib/sub/x.py": "", "data/d": ""})
    os.symlink("lib/v2.py", tmp_path / "alias.py")
    os.symlink(tmp_path / "lib/sub", tmp_path / "data/absolute")
    os.symlink("..", tmp_path / "data/loop")
    found = script_closure(tmp_path / "node.py", tmp_path, ["data"]).entries
    assert Link("lib/v2.py") == found["alias.py"]
    assert Link("../lib/sub") == found["data/absolute"]
    assert Link("..") == found["data/loop"]
    assert {"lib/v2.py", "lib/sub/x.py", "data/d"} < set(found)


@pytest.mark.parametrize("target", ["../outside.py", "/etc/hostname", "missing.py", "linked.py"])
def test_links_that_lead_out_or_nowhere_are_refused(tmp_path: Path, target: str) -> None:
    """What a link leads to must be deployable; the message names the link."""
    tree(tmp_path, {"outside.py": "", "base/node.py": ""})
    os.symlink(target, tmp_path / "base/linked.py")
    with pytest.raises(BuildError, match=r"base/linked\.py is a link to"):
        names(tmp_path / "base", "node.py", "*.py")


@pytest.mark.parametrize(
    ("script", "pattern", "words"),
    [
        ("missing.py", "*", "there is no file"),
        ("node.py", "nothing*", r"matches 'nothing\*'"),
        ("node.py", "missing.txt", r"matches 'missing\.txt'"),
        ("node.py", "../*", "leads out"),
        ("node.py", "/etc/*", "leads out"),
        ("wrong.py", "*.py", r"wrong\.py:2: not valid Python"),
        ("imports_wrong.py", "*.py", r"wrong\.py:2: not valid Python"),
        ("node.py", "pipe", "neither a file nor a folder"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, script: str, pattern: str, words: str) -> None:
    """Every refusal names the file and what is wrong with it."""
    tree(tmp_path, {"node.py": "", "wrong.py": "\ndef:", "imports_wrong.py": "import wrong"})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BuildError, match=words):
        names(tmp_path, script, pattern)


def test_script_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    """What is deployed is the folder."""
    tree(tmp_path, {"a.py": "", "base/b.py": ""})
    with pytest.raises(BuildError, match="outside of"):
        script_closure(tmp_path / "a.py", tmp_path / "base")


def test_program_that_is_no_script_comes_alone(tmp_path: Path) -> None:
    """A binary is not parsed."""
    (tmp_path / "node").write_bytes(b"\x7fELF\0import os")
    assert ["node"] == names(tmp_path, "node")


def test_package_files_lie_below_the_packages_name(tmp_path: Path) -> None:
    """A chosen part of an installed package, importable from the tree's root."""
    tree(tmp_path, {"lib/__init__.py": "", "lib/a/b.py": "", "lib/c.py": "", "lib/a/b.pyc": ""})
    found = package_files(tmp_path / "lib", ["__init__.py", "a/**"])
    assert ["lib/__init__.py", "lib/a/b.py"] == sorted(found.entries)
    assert "lib" == found.label
    with pytest.raises(BuildError, match=r"d\.py"):
        package_files(tmp_path / "lib", ["d.py"])
