"""A store tree's top level linked into a unit's folder. Machine only; Python >= 3.8."""

from __future__ import annotations

import os
from pathlib import Path


def link_tree(store: Path, tree: Path, folder: Path) -> None:
    """Makes `folder` show the top-level entries of `tree`.

    Links into the store that `tree` does not ask for are removed or replaced. What the unit itself
    put into the folder stays as it is, also where it hides an entry of the tree. Raises OSError.
    """
    wanted = {entry: str(tree / entry) for entry in os.listdir(str(tree))}
    prefix = str(store) + "/"
    for name in os.listdir(str(folder)):
        path = str(folder / name)
        if not os.path.islink(path):
            wanted.pop(name, None)
            continue
        target = os.readlink(path)
        if target == wanted.get(name):
            del wanted[name]
        elif target.startswith(prefix):
            os.unlink(path)
        else:
            wanted.pop(name, None)
    for name, target in wanted.items():
        os.symlink(target, str(folder / name))
