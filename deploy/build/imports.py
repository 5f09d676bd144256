"""Which local modules a Python file imports, by reading it; nothing is run. Laptop only.

Modules that a program names only while it runs (`importlib.import_module(name)`) are not seen: they
go into `files:`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import BuildError


@dataclass(frozen=True)
class Reference:
    """An import: `level` counts leading dots, `names` are what `from` takes."""

    module: tuple[str, ...]
    level: int = 0
    names: tuple[str, ...] = ()


def references(text: bytes, file: str) -> tuple[Reference, ...]:
    """All imports anywhere in a Python text, once each. Raises SyntaxError or ValueError."""
    found: dict[Reference, None] = {}
    for node in ast.walk(ast.parse(text, file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[Reference(tuple(alias.name.split(".")))] = None
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            names = tuple(alias.name for alias in node.names if alias.name != "*")
            found[Reference(module, node.level, names)] = None
    return tuple(found)


def local_modules(script: Path, folders: Iterable[Path]) -> tuple[Path, ...]:
    """The files and packages (folders) in `folders` that `script` needs, itself first.

    `folders` are searched in order, as Python searches `sys.path`. Modules are followed; a package
    counts whole. Raises BuildError when the script, or a module it names, is not valid Python.
    """
    folders = tuple(folders)
    found: dict[Path, None] = {script: None}
    # A package's own files may be templates or for other versions: only their imports are wanted.
    waiting: list[tuple[Path, bool]] = [(script, True)]
    read: set[Path] = set()
    while waiting:
        file, must_parse = waiting.pop()
        if file in read:
            continue
        read.add(file)
        for path in _imported(file, folders, must_parse):
            found[path] = None
            if path.is_dir():
                waiting += [(each, False) for each in sorted(path.rglob("*.py")) if each.is_file()]
            elif path.suffix == ".py":
                waiting.append((path, True))
    return tuple(found)


def _imported(file: Path, folders: tuple[Path, ...], must_parse: bool) -> Iterator[Path]:
    try:
        found = references(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        if not must_parse:
            return
        line = getattr(error, "lineno", None)
        raise BuildError(
            f"{file}:{line or 1}: not valid Python: {getattr(error, 'msg', error)}"
        ) from error
    except OSError as error:
        raise BuildError(f"{file} cannot be read: {error.strerror}") from error
    for reference in found:
        searched = folders
        if reference.level:
            home = file.parent
            for _ in range(reference.level - 1):
                home = home.parent
            if not any(home.is_relative_to(folder) for folder in folders):
                continue  # above everything that is ours; Python will refuse it too
            searched = (home,)
        if reference.module:
            yield from _find(searched, reference.module)
        for name in reference.names:
            yield from _find(searched, (*reference.module, name))


def _find(folders: tuple[Path, ...], parts: tuple[str, ...]) -> Iterator[Path]:
    """The package that holds a module, and the module's own file, if they are in `folders`."""
    name, rest = parts[0], parts[1:]
    for folder in folders:
        package = folder / name
        if (package / "__init__.py").is_file():
            yield package
            if rest:
                yield from _find((package,), rest)
            return
        module = folder / f"{name}.py"
        if module.is_file():
            yield module
            return
        compiled = [*folder.glob(f"{name}.*.so"), *folder.glob(f"{name}.so")]
        if compiled:
            yield from sorted(compiled)
            return
        if rest and package.is_dir():
            # A namespace package: a folder of anything, of which only the module is taken.
            inside = list(_find((package,), rest))
            if inside:
                yield from inside
                return
