"""Collection: what generations need stays, everything else goes."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from deploy.generation import Generation
from deploy.profile import Profile
from deploy.store.base import copy
from deploy.store.collect import Collected, Garbage, closures, collect, collect_agents, garbage
from deploy.store.local import LocalStore
from deploy.unit import Unit
from tests.deploy.store.suite import digest, filled, incoming, manifest

OLD, NEW = {"a": b"both", "b": b"old"}, {"a": b"both", "b": b"new"}


def write_generation(root: Path, number: int, *trees: str) -> Path:
    unit = Unit("n", ("true",), "/", closure=trees)
    generation = Generation(number, Profile("d", "m", (unit,)), 0.0, "me@here")
    path = root / f"deployments/d/generations/{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(generation.to_json()))
    return path


def store_with_both(root: Path) -> LocalStore:
    store = LocalStore(str(root))
    copy(filled(OLD, NEW), [manifest("x", OLD), manifest("x", NEW)], store)
    return store


def test_garbage_is_what_no_root_reaches() -> None:
    """Trees that are no roots go, and objects that only these had."""
    found = garbage(["t1", "unknown"], {"t1": ["a", "b"], "t2": ["b", "c"]}, ["a", "b", "c", "d"])
    assert Garbage(("t2",), ("c", "d")) == found


def test_collect_keeps_what_generations_need(tmp_path: Path) -> None:
    """The tree of a generation that went is removed with the objects that it alone had."""
    store = store_with_both(tmp_path)
    old, new = manifest("x", OLD), manifest("x", NEW)
    write_generation(tmp_path, 2, new.name)
    compiled = Path(f"{tmp_path}/cache/pycache{store.tree_path(old.name)}")
    compiled.mkdir(parents=True)
    assert Collected(trees=1, objects=1, bytes=3) == collect(store)
    assert [new.name] == store.trees()
    assert sorted([digest(b"both"), digest(b"new")]) == store.objects()
    assert b"new" == Path(store.tree_path(new.name), "b").read_bytes()
    assert not compiled.exists()
    assert Collected(0, 0, 0) == collect(store)


def test_collect_keeps_what_it_is_told_to(tmp_path: Path) -> None:
    """Trees that somebody is about to use can be named."""
    store = store_with_both(tmp_path)
    collect(store, [manifest("x", OLD).name])
    assert [manifest("x", OLD).name] == store.trees()


def test_unreadable_generation_stops_everything(tmp_path: Path) -> None:
    """What a generation needs is not guessed."""
    store = store_with_both(tmp_path)
    write_generation(tmp_path, 1).write_text("{")
    with pytest.raises(ValueError, match=r"1\.json is not a generation .*nothing was removed"):
        collect(store)
    assert 2 == len(store.trees())


def test_damaged_manifest_does_not_stop_it(tmp_path: Path) -> None:
    """A tree that stays keeps its contents even when its manifest is unreadable."""
    store = store_with_both(tmp_path)
    new = manifest("x", NEW)
    write_generation(tmp_path, 1, new.name)
    path = store.tree_path(new.name) + ".json"
    os.chmod(path, 0o600)
    Path(path).write_text("{")
    collect(store)
    assert b"new" == Path(store.tree_path(new.name), "b").read_bytes()


def test_collector_and_writer_exclude_each_other(tmp_path: Path) -> None:
    """While something is copied in, nothing is collected."""
    store = store_with_both(tmp_path)
    with LocalStore(str(tmp_path)).writing(), pytest.raises(BlockingIOError):
        collect(store)
    assert 2 == len(store.trees())
    collect(store)
    assert [] == store.trees()


def test_interrupted_collection_is_completed_by_the_next(tmp_path: Path) -> None:
    """A tree that was on its way out is swept at the next use."""
    store = store_with_both(tmp_path)
    name = manifest("x", OLD).name
    os.rename(store.tree_path(name), tmp_path / f"store/trees/.incoming-{name}")
    LocalStore(str(tmp_path)).put_objects([incoming(b"more")])
    assert [] == [each for each in os.listdir(tmp_path / "store/trees") if each[0] == "."]
    collect(LocalStore(str(tmp_path)))
    assert [] == os.listdir(tmp_path / "store/trees")


def test_closures_are_those_of_all_generations(tmp_path: Path) -> None:
    """Old generations count, so that one can go back."""
    old, new = manifest("x", OLD).name, manifest("x", NEW).name
    write_generation(tmp_path, 1, old)
    write_generation(tmp_path, 2, new)
    assert {old, new} == closures(str(tmp_path))


def test_agents_that_never_came_whole_go_and_those_that_come_stay(tmp_path: Path) -> None:
    """A first contact that was killed leaves a folder that nobody holds."""
    agents = tmp_path / "agent"
    for name in (".incoming-dead", ".incoming-live", "0" * 64, "1" * 64):
        (agents / name / "deploy").mkdir(parents=True)
    live = os.open(agents / ".incoming-live", os.O_RDONLY)
    try:
        fcntl.flock(live, fcntl.LOCK_EX)
        assert 1 == collect_agents(str(tmp_path), ["1" * 64])
    finally:
        os.close(live)
    assert [".incoming-live", "1" * 64] == sorted(os.listdir(agents))
