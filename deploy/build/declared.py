"""Where a script says which Python packages it needs: inside, or in a file beside it. Laptop only.

What a node says (`requirements:`) and what its script says (PEP 723) count, together. Only if
neither says anything, `requirements.txt` beside the script counts, else `pyproject.toml` there.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.addresses import has_login, without_logins
from deploy.errors import BuildError

_METADATA = re.compile(
    r"^# /// script[ \t]*\r?$\s(?P<content>(?:^#(?:| .*)\r?$\s)+)^# ///[ \t]*\r?$", re.MULTILINE
)
BESIDE = ("requirements.txt", "pyproject.toml")


@dataclass(frozen=True)
class Declared:
    """`requirements` are as `deploy.deployment.PythonEnvironment` has them. `python` is what
    `requires-python` says, None if it does not; `where` is who says so."""

    where: str
    requirements: tuple[str, ...] = ()
    python: str | None = None


def declared(script: Path, said: Sequence[str] = ()) -> Declared:
    """What `script` needs. `said` is what its node says. Raises BuildError for a declaration that
    cannot be read."""
    inline = inline_metadata(script)
    if inline is not None:
        return Declared(inline.where, (*said, *inline.requirements), inline.python)
    if not said and script.suffix == ".py":
        for name in BESIDE:
            if (script.parent / name).is_file():
                return Declared(str(script.parent / name), (str(script.parent / name),))
    return Declared(str(script), tuple(said))


def script_requirements(script: Path) -> tuple[str, ...]:
    """The dependencies that a script declares in itself, if it does. Raises BuildError."""
    inline = inline_metadata(script)
    return () if inline is None else inline.requirements


def inline_metadata(script: Path) -> Declared | None:
    """The `# /// script` block of a script (PEP 723). Raises BuildError if it cannot be read."""
    try:
        text = script.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None  # a program, not a script
    except OSError as error:
        raise BuildError(f"{script} cannot be read: {error.strerror}") from error
    blocks = list(_METADATA.finditer(text))
    if not blocks:
        return None
    if len(blocks) > 1:
        line = text[: blocks[1].start()].count("\n") + 1
        raise BuildError(f"{script}:{line}: a second `# /// script` block; one is allowed")
    where = f"{script}:{text[: blocks[0].start()].count(chr(10)) + 1}"
    content = "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in blocks[0]["content"].splitlines(keepends=True)
    )
    try:
        data = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"{where}: the `# /// script` block is no TOML: {error}") from error
    found = _declared(where, data, data)
    if any(has_login(requirement) for requirement in found.requirements):
        raise BuildError(
            f"{where}: a password in an address would travel to the machines in the script's text",
            hint="take it out; uv finds passwords in ~/.netrc",
        )
    return found


def project(file: Path) -> Declared:
    """The dependencies of a project (`pyproject.toml`); what it contains itself is not among them.
    Raises BuildError if it cannot be read."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BuildError(f"{file} cannot be read: {error}") from error
    table = data.get("project", {})
    if not isinstance(table, dict):
        raise BuildError(f"{file}: `project` is not a table")
    dynamic = table.get("dynamic", [])
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        raise BuildError(
            f"{file}: its dependencies are `dynamic`, which only its own build could tell",
            hint="name them in the node's `requirements:`",
        )
    return _declared(str(file), table, data)


def _declared(where: str, table: dict[str, Any], data: dict[str, Any]) -> Declared:
    found = table.get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        shown = without_logins(repr(found))
        raise BuildError(f"{where}: `dependencies` is not a list of texts: {shown}")
    python = table.get("requires-python")
    if not isinstance(python, str | None):
        raise BuildError(f"{where}: `requires-python` is not a text: {python!r}")
    tool = data.get("tool", {})
    ours = tool.get("uv", {}) if isinstance(tool, dict) else {}
    if found and isinstance(ours, dict) and ours.get("sources"):
        raise BuildError(
            f"{where}: `tool.uv.sources` cannot be deployed",
            hint="name a wheel (`./dist/name.whl`) or an index (`index_urls:` of the machine)",
        )
    return Declared(where, tuple(found), python)
