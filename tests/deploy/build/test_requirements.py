"""What is asked for, wherever it stands: in a script, in a file, as a wheel."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy.build.declared import script_requirements
from deploy.build.requirements import expand
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError
from tests.deploy.build.wheels import write_wheel


def test_script_metadata_is_read(tmp_path: Path) -> None:
    """PEP 723's block, with everything else around it."""
    script = tmp_path / "node.py"
    script.write_text(
        '#!/usr/bin/env python3\n"""Doc."""\n'
        '# /// script\n# requires-python = ">=3.10"\n# dependencies = [\n#   "numpy>=2",\n#\n'
        '#   "attrs",\n# ]\n# ///\nimport numpy\n'
    )
    assert ("numpy>=2", "attrs") == script_requirements(script)


@pytest.mark.parametrize("text", [b"import os\n", b"# /// other\n# x = 1\n# ///\n", b"\x7fELF\xff"])
def test_script_without_metadata_needs_nothing(tmp_path: Path, text: bytes) -> None:
    """No block, another block, or no text at all."""
    script = tmp_path / "node"
    script.write_bytes(text)
    assert () == script_requirements(script)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# /// script\n# dependencies = [\n# ///\n", r"node\.py:1: .* is no TOML"),
        ("\n# /// script\n# dependencies = 'numpy'\n# ///\n", r"node\.py:2: .*not a list"),
        ("# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n", r":5: a second"),
    ],
)
def test_wrong_metadata_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """A declaration that cannot be read is not silently none."""
    script = tmp_path / "node.py"
    script.write_text(text)
    with pytest.raises(BuildError, match=words):
        script_requirements(script)


def test_requirements_files_are_spelled_out(tmp_path: Path) -> None:
    """Comments, continuations, includes, constraints, indexes; paths start at the file."""
    (tmp_path / "sub").mkdir()
    wheel = write_wheel(tmp_path / "sub")
    (tmp_path / "requirements.txt").write_text(
        "# comment\nnumpy>=2  # why\n-r sub/more.txt\n--extra-index-url https://example.org/simple\n"
        "attrs==24.1.0 \\\n    --hash=sha256:abc\n"
    )
    (tmp_path / "sub/more.txt").write_text(f"./{wheel.name}\n-c limits.txt\n")
    (tmp_path / "sub/limits.txt").write_text("scipy<2\n")
    asked = expand(PythonEnvironment(("requirements.txt", "click"), ("https://a",), tmp_path))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    name = f"{wheel.name}@sha256:{digest}"
    assert ("numpy>=2", name, "attrs==24.1.0", "click") == asked.lines
    assert ("scipy<2",) == asked.constraints
    assert ("https://a", "https://example.org/simple") == asked.index_urls
    assert {name: wheel} == asked.wheels


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("./missing.whl", r"there is no file .*missing\.whl"),
        ("missing.whl", r"there is no file"),
        ("./package", "not a wheel"),
        ("loop.txt", "includes itself"),
        ("option.txt", r"option\.txt:2: option --no-binary"),
        ("gone.txt", r"gone\.txt:1: there is no file"),
    ],
)
def test_what_cannot_be_deployed_is_told(tmp_path: Path, requirement: str, words: str) -> None:
    """Where it stands and what is wrong with it."""
    (tmp_path / "package").mkdir()
    (tmp_path / "loop.txt").write_text("-r loop.txt\n")
    (tmp_path / "option.txt").write_text("numpy\n--no-binary :all:\n")
    (tmp_path / "gone.txt").write_text("-r nowhere.txt\n")
    with pytest.raises(BuildError, match=words):
        expand(PythonEnvironment((requirement,), base=tmp_path))
