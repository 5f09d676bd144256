"""What of a folder is not worth shipping: .gitignore files, and Python's leavings. Laptop only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NEVER = ("__pycache__", ".git", ".hg", ".svn", ".mypy_cache", ".ruff_cache", ".pytest_cache")


class Ignored:
    """Answers for paths below `base`; a .gitignore above it counts up to the repository's top."""

    def __init__(self, base: Path) -> None:
        tops = [folder for folder in (base, *base.parents) if (folder / ".git").exists()]
        self._top = tops[0] if tops else base
        # By folder, since all files of one share them: a tree may have thousands.
        self._rules: dict[Path, tuple[tuple[Path, GitIgnoreSpec], ...]] = {}
        self._folders: dict[Path, bool] = {}

    def never(self, path: Path) -> bool:
        """Whether this is of no use on any machine, whoever asked for it."""
        # `.#name` are the locks of Emacs: links to nowhere.
        return path.name in NEVER or path.suffix == ".pyc" or path.name.startswith(".#")

    def covers(self, path: Path) -> bool:
        """Whether git would ignore it, or a folder that it is in."""
        if not self._rules_for(path.parent):
            return False
        return self._covers_folder(path.parent) or self._named(path, "/" if path.is_dir() else "")

    def _covers_folder(self, folder: Path) -> bool:
        if folder not in self._folders:
            self._folders[folder] = (
                folder != self._top
                and folder.is_relative_to(self._top)
                and (self._covers_folder(folder.parent) or self._named(folder, "/"))
            )
        return self._folders[folder]

    def _named(self, path: Path, ending: str) -> bool:
        """The nearest .gitignore that has an opinion decides, as in git."""
        for folder, spec in self._rules_for(path.parent):
            verdict = spec.check_file(path.relative_to(folder).as_posix() + ending).include
            if verdict is not None:
                return verdict
        return False

    def _rules_for(self, folder: Path) -> tuple[tuple[Path, GitIgnoreSpec], ...]:
        """The .gitignore files that speak of what is in a folder, the nearest first."""
        if folder not in self._rules:
            if not folder.is_relative_to(self._top):
                return ()
            above = self._rules_for(folder.parent) if folder != self._top else ()
            file = folder / ".gitignore"
            own = ((folder, _read(file)),) if file.is_file() else ()
            self._rules[folder] = (*own, *above)
        return self._rules[folder]


def _read(file: Path) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # it takes long to import

    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return GitIgnoreSpec.from_lines(lines)
