"""Which saved files ask for a deployment, and when: by histories, with a clock of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dora.coordinator.changes import LONGEST, QUIET, Concerned, Happened, Saves, concerned

HOME = Path("/home/ann/robot")
FILES = concerned(
    str(HOME / "flow.yml"),
    "/home/ann/lab/machines.yml",
    [HOME / "nodes/camera.py", HOME / "nodes/model.onnx", HOME / ".secret/model.bin"],
)


@pytest.mark.parametrize(
    ("path", "happened", "asks"),
    [
        ("robot/flow.yml", Happened.MODIFIED, True),
        ("lab/machines.yml", Happened.MODIFIED, True),
        ("robot/nodes/camera.py", Happened.MODIFIED, True),
        ("robot/nodes/camera.py", Happened.REMOVED, True),
        ("robot/.secret/model.bin", Happened.MODIFIED, True),  # a pattern named it
        ("robot/nodes/new.py", Happened.ADDED, True),  # somebody may import it
        ("robot/nodes/other.py", Happened.MODIFIED, False),  # nobody did
        ("robot/flow.lock", Happened.ADDED, False),  # our own
        ("robot/nodes/.camera.py.swp", Happened.ADDED, False),
        ("robot/nodes/camera.py~", Happened.ADDED, False),
        ("robot/__pycache__/camera.cpython-311.pyc", Happened.ADDED, False),
        ("robot/.git/index", Happened.ADDED, False),
        ("lab/notes.txt", Happened.ADDED, False),
    ],
)
def test_files_that_ask_for_a_deployment(path: str, happened: Happened, asks: bool) -> None:
    """Those that it was made of, and those that may become part of it."""
    assert asks == FILES.asks(Path("/home/ann") / path, happened)


def test_folders_within_folders_are_watched_once() -> None:
    """The flow file's, with all below, and the inventory's."""
    assert (Path("/home/ann/lab"), HOME) == FILES.roots
    both = Concerned(HOME / "flow.yml", HOME / "lab/machines.yml", HOME, frozenset())
    assert (HOME,) == both.roots


def test_a_save_in_several_steps_is_one() -> None:
    """Editors write, rename and touch; what counts is the quiet after that."""
    saves = Saves()
    assert saves.due(0.0) is None
    saves.changed(10.0)
    saves.changed(10.01)
    assert pytest.approx(QUIET) == saves.due(10.01)
    assert 0.0 == saves.due(10.02 + QUIET)
    saves.taken()
    assert saves.due(11.0) is None


def test_changes_without_end_do_not_put_it_off_for_ever() -> None:
    """A program that writes all the time must not keep a save from being deployed."""
    saves = Saves()
    now = 0.0
    while saves.due(now) != 0.0:
        saves.changed(now)
        now += QUIET / 2
    assert LONGEST <= now < LONGEST + QUIET
