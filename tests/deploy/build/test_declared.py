"""Where a script's packages are declared, and which declaration counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.build.declared import declared
from deploy.build.requirements import expand
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError

INLINE = '# /// script\n# requires-python = ">=3.12"\n# dependencies = ["inline"]\n# ///\n'
PROJECT = '[project]\nname = "p"\nrequires-python = ">=3.10"\ndependencies = ["project"]\n'


def lines(script: Path, *said: str) -> tuple[str, ...]:
    found = declared(script, said)
    return expand(PythonEnvironment(found.requirements, base=script.parent)).lines


def test_the_nearest_declaration_counts(tmp_path: Path) -> None:
    """Node and script together; files beside the script only if both are silent."""
    script = tmp_path / "node.py"
    script.write_text("import os\n")
    assert () == lines(script)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    assert ("project",) == lines(script)
    (tmp_path / "requirements.txt").write_text("listed\n")
    assert ("listed",) == lines(script)
    assert ("said",) == lines(script, "said")
    assert ("project",) == lines(script, "pyproject.toml")
    script.write_text(INLINE)
    assert ("inline",) == lines(script)
    assert ("said", "inline") == lines(script, "said")
    script.write_text("# /// script\n# dependencies = []\n# ///\n")
    assert () == lines(script)


def test_programs_have_no_packages(tmp_path: Path) -> None:
    """What lies beside a binary is for something else."""
    (tmp_path / "requirements.txt").write_text("listed\n")
    (tmp_path / "node").write_bytes(b"\x7fELF\xff")
    assert () == lines(tmp_path / "node")


def test_who_asks_for_which_python_is_known(tmp_path: Path) -> None:
    """A script's own declaration, and a project's."""
    script = tmp_path / "node.py"
    script.write_text(INLINE)
    assert (f"{script}:1", ">=3.12") == (declared(script).where, declared(script).python)
    file = tmp_path / "pyproject.toml"
    file.write_text(PROJECT)
    found = expand(PythonEnvironment(("pyproject.toml",), base=tmp_path))
    assert ((str(file), ">=3.10"),) == found.pythons


def test_a_project_without_dependencies_needs_none(tmp_path: Path) -> None:
    """A pyproject.toml may be there for a linter alone."""
    (tmp_path / "node.py").write_text("import os\n")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert () == lines(tmp_path / "node.py")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[project", "cannot be read"),
        ("project = 5", "not a table"),
        ('[project]\ndynamic = ["dependencies"]', "are `dynamic`"),
        ("[project]\ndependencies = 'x'", "not a list of texts"),
        ("[project]\nrequires-python = 3", "not a text"),
        (PROJECT + '[tool.uv.sources]\nproject = {path = "../x"}\n', r"tool\.uv\.sources"),
    ],
)
def test_a_project_that_cannot_be_deployed_is_told(tmp_path: Path, text: str, words: str) -> None:
    """Nothing of it is left out silently."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(BuildError, match=words):
        expand(PythonEnvironment(("pyproject.toml",), base=tmp_path))


def test_a_password_in_a_script_is_refused(tmp_path: Path) -> None:
    """The script travels, with all that is in it."""
    script = tmp_path / "node.py"
    script.write_text('# /// script\n# dependencies = ["x @ https://me:hush@h/x.whl"]\n# ///\n')
    with pytest.raises(BuildError, match="would travel") as failure:
        declared(script)
    assert "hush" not in str(failure.value)
