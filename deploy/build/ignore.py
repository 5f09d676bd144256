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
        self._specs: dict[Path, GitIgnoreSpec | None] = {}

    def never(self, path: Path) -> bool:
        """Whether this is of no use on any machine, whoever asked for it."""
        # `.#name` are the locks of Emacs: links to nowhere.
        return path.name in NEVER or path.suffix == ".pyc" or path.name.startswith(".#")

    def covers(self, path: Path) -> bool:
        """Whether git would ignore it, or a folder that it is in."""
        above = [folder for folder in path.parents if folder.is_relative_to(self._top)]
        return any(self._named(folder, "/") for folder in above[:-1]) or self._named(
            path, "/" if path.is_dir() else ""
        )

    def _named(self, path: Path, ending: str) -> bool:
        """The nearest .gitignore that has an opinion decides, as in git."""
        for folder in path.parents:
            if not folder.is_relative_to(self._top):
                break
            spec = self._spec(folder)
            if spec is not None:
                verdict = spec.check_file(path.relative_to(folder).as_posix() + ending).include
                if verdict is not None:
                    return verdict
        return False

    def _spec(self, folder: Path) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            file = folder / ".gitignore"
            self._specs[folder] = _read(file) if file.is_file() else None
        return self._specs[folder]


def _read(file: Path) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # it takes long to import

    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return GitIgnoreSpec.from_lines(lines)
