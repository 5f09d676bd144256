"""Removal of what no generation needs. Runs on the machine; standard library only, Python >= 3.8.

Nothing here needs free space: a full disk is when people come here.
"""

from __future__ import annotations

import glob
import json
import os
from dataclasses import dataclass
from typing import FrozenSet, Iterable, Mapping, Set, Tuple

from deploy.generation import Generation
from deploy.store.durable import remove, sweep
from deploy.store.local import LocalStore
from deploy.store.path import DIGEST


@dataclass(frozen=True)
class Garbage:
    """What can go, sorted."""

    trees: Tuple[str, ...]
    objects: Tuple[str, ...]


@dataclass(frozen=True)
class Collected:
    """What went. `bytes` counts contents of which no tree is left."""

    trees: int
    objects: int
    bytes: int
    agents: int = 0


def garbage(
    roots: Iterable[str], trees: Mapping[str, Iterable[str]], objects: Iterable[str]
) -> Garbage:
    """Pure: the trees that are no roots, and the objects that no other tree has.

    `trees` maps each tree to the digests of its objects.
    """
    keep = set(roots) & set(trees)
    used = {digest for name in keep for digest in trees[name]}
    return Garbage(tuple(sorted(set(trees) - keep)), tuple(sorted(set(objects) - used)))


def closures(root: str) -> FrozenSet[str]:
    """The trees of all generations of all deployments below `root`.

    Raises ValueError for a generation that cannot be read: what it needs is not known, so nothing
    may be removed.
    """
    names: Set[str] = set()
    for path in glob.glob(os.path.join(glob.escape(root), "deployments/*/generations/*.json")):
        with open(path, "rb") as file:
            text = file.read()
        try:
            names.update(Generation.from_json(json.loads(text)).profile.closure)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a generation ({error}); nothing was removed"
            ) from error
    return frozenset(names)


def collect(store: LocalStore, keep: Iterable[str] = ()) -> Collected:
    """Removes what neither a generation nor `keep` needs. May be interrupted, and run again.
    Raises ValueError as `closures` does, BlockingIOError when something is being copied in."""
    with store.collecting():
        roots = closures(store.root) | set(keep)
        trees = {name: _objects(store, name) for name in store.trees()}
        found = garbage(roots, trees, store.objects())
        for name in found.trees:
            store.remove_tree(name)
            # Where units are told to keep their compiled Python (PYTHONPYCACHEPREFIX).
            remove(os.path.join(store.root, "cache/pycache") + store.tree_path(name))
        freed = sum(store.remove_object(digest) for digest in found.objects)
    return Collected(len(found.trees), len(found.objects), freed)


def collect_agents(root: str, keep: Iterable[str]) -> int:
    """Removes agents (see `deploy.supervisor.boot`) but for those of `keep`; how many. What is left
    of agents that never came whole goes, too."""
    kept = set(keep)
    gone = 0
    agents = os.path.join(root, "agent")
    if os.path.isdir(agents):
        sweep(agents)
    for path in glob.glob(os.path.join(glob.escape(root), "agent", "*")):
        if DIGEST.match(os.path.basename(path)) and os.path.basename(path) not in kept:
            remove(path)
            gone += 1
    return gone


def _objects(store: LocalStore, name: str) -> Iterable[str]:
    try:
        return store.manifest(name).objects
    except (OSError, ValueError, KeyError, TypeError):
        # A damaged manifest. The tree's links keep its contents, whatever becomes of the objects'
        # own names: at worst they are sent once more.
        return ()
