"""Which of the user's files belong to a process: the script, what it imports, what it names.
Laptop only."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from deploy.build.ignore import Ignored
from deploy.build.imports import local_modules
from deploy.deployment import Files, Link
from deploy.errors import BuildError

LONGEST_LABEL = 60


def script_closure(script: Path, base: Path, globs: Iterable[str] = ()) -> Files:
    """A script with the local modules that it imports and the files that `globs` name.

    The tree is `base` with everything left out that is not needed: `script` lies in it at its path
    relative to `base`. Modules are looked for beside the script, then in `base`; packages come
    whole. `globs` are relative to `base`; a folder comes whole. What .gitignore covers stays away,
    unless it is imported, or named without wildcards. Raises BuildError, with file and reason.
    """
    script, base = Path(os.path.abspath(script)), Path(os.path.abspath(base))
    if not script.is_file():
        raise BuildError(f"there is no file {script}")
    if not script.is_relative_to(base):
        raise BuildError(f"{script} is outside of {base}, which is what is deployed")
    tree = _Tree(base)
    if script.suffix == ".py":
        # Python looks beside the file that a link leads to.
        homes = [script.parent, script.resolve().parent, base]
        folders = [folder for folder in dict.fromkeys(homes) if folder.is_relative_to(base)]
        for path in local_modules(script, folders):
            tree.add(path)
    else:
        tree.add(script)
    for pattern in globs:
        tree.add_matches(pattern)
    return Files(label(script.stem), tree.entries)


def package_files(package: Path, include: Iterable[str]) -> Files:
    """The parts of an installed Python package that `include` (globs relative to it) names, below
    the package's own name. Raises BuildError for a glob that matches nothing."""
    tree = _Tree(Path(os.path.abspath(package)), ignore=False)
    for pattern in include:
        tree.add_matches(pattern)
    entries = {f"{package.name}/{path}": content for path, content in tree.entries.items()}
    return Files(label(package.name), entries)


def label(text: str) -> str:
    """`text` as the readable part of a store path."""
    return re.sub(r"[^a-zA-Z0-9_.+-]", "-", text)[:LONGEST_LABEL] or "files"


class _Tree:
    """Collects files of `base` under their relative paths, with the links that lead to them."""

    def __init__(self, base: Path, *, ignore: bool = True) -> None:
        self.entries: dict[str, Path | bytes | Link] = {}
        self._base = base
        self._ignored = Ignored(base)
        self._respect = ignore
        self._followed: set[str] = set()
        self._added: set[tuple[str, bool]] = set()  # folders; globs name them before their files

    def add(self, path: Path, *, explicit: bool = True) -> None:
        """A file or a whole folder. `explicit`: also if .gitignore covers it."""
        self._add(path, explicit and self._ignored.covers(path))

    def add_matches(self, pattern: str) -> None:
        if os.path.isabs(pattern) or ".." in Path(pattern).parts:
            raise BuildError(
                f"{pattern!r} leads out of {self._base}, which is what is deployed",
                hint="copy or link the files into that folder",
            )
        found = sorted(glob.glob(pattern, root_dir=self._base, recursive=True))
        paths = [self._base / name for name in found if name.strip("/")]
        if not paths:
            raise BuildError(f"nothing in {self._base} matches {pattern!r}")
        if not glob.has_magic(pattern):
            self.add(paths[0])
            return
        paths = [path for path in paths if not self._ignored.never(path)]
        wanted = [path for path in paths if not (self._respect and self._ignored.covers(path))]
        if not wanted:
            raise BuildError(
                f"all that {pattern!r} matches in {self._base} is covered by .gitignore",
                hint="name the files without wildcards to deploy them all the same",
            )
        for path in wanted:
            self._add(path, all_of_it=not self._respect)

    def _add(self, path: Path, all_of_it: bool) -> None:
        at = self._base
        parts = path.relative_to(self._base).parts
        name = "/".join(parts)
        if name in self.entries or (name, all_of_it) in self._added:
            return
        for position, part in enumerate(parts):
            at = at / part
            if at.is_symlink():
                self._add_link(at, parts[position + 1 :], all_of_it)
                return
        if path.is_dir():
            self._added.add((name, all_of_it))
            for child in sorted(path.iterdir()):
                skip = not all_of_it and self._ignored.covers(child)
                if not skip and not self._ignored.never(child):
                    self._add(child, all_of_it)
        elif path.is_file():
            self.entries[name] = path
        elif path.exists():
            raise BuildError(f"{path} is neither a file nor a folder, and cannot be deployed")
        else:
            raise BuildError(f"there is no file {path}")

    def _add_link(self, link: Path, rest: tuple[str, ...], all_of_it: bool) -> None:
        """A link, and of what it leads to: the file at `rest`, or everything."""
        target = self._target(link)
        name = link.relative_to(self._base).as_posix()
        self.entries[name] = Link(os.path.relpath(target, link.parent))
        if rest:
            self._add(target.joinpath(*rest), all_of_it)
        elif name not in self._followed:
            self._followed.add(name)  # a link may lead to a folder that it is in
            self._add(target, all_of_it)

    def _target(self, link: Path) -> Path:
        """Where a link leads, one step. Raises BuildError if that is not in `base`."""
        target = Path(os.path.normpath(link.parent / os.readlink(link)))
        try:
            inside = link.resolve(strict=True).is_relative_to(self._base.resolve())
        except (OSError, RuntimeError) as error:
            raise BuildError(f"{link} is a link to nothing ({os.readlink(link)})") from error
        if not inside or not target.is_relative_to(self._base):
            raise BuildError(
                f"{link} is a link to {target}, outside of {self._base}, which is what is deployed",
                hint="replace the link by a copy of the file",
            )
        return target
