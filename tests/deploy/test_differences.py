"""Reasons for a restart: as precise as what is known of both units, and no values of variables."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy.differences import MOST_NAMES, SETTINGS, Reason, differences, texts
from deploy.store.outline import MOST_FILES, Outline, outline
from deploy.store.path import Entry, Manifest
from deploy.unit import HealthCommand, Realtime, RestartPolicy, Socket, StopPolicy, Unit

DIGESTS = {text: f"{number:064x}" for number, text in enumerate("abcdefghij")}
UNIT = Unit(name="arm", argv=("python3", "arm.py"), cwd="/state/arm")


def tree(label: str, files: dict[str, str]) -> Manifest:
    return Manifest(label, tuple(Entry(path, DIGESTS[files[path]], 1) for path in sorted(files)))


def reasons(old: Manifest | None, new: Manifest | None) -> tuple[Reason, ...]:
    units = [replace(UNIT, closure=() if it is None else (it.name,)) for it in (old, new)]
    known = {it.name: outline(it) for it in (old, new) if it is not None}
    return differences(*units, known)


def test_files_are_named() -> None:
    """Which changed, came and went, with the beginnings of their digests."""
    found = reasons(
        tree("arm", {"a.py": "a", "b.py": "b"}), tree("arm", {"a.py": "c", "c.py": "a"})
    )
    assert ["a.py changed", "b.py removed", "c.py added"] == texts(found)
    assert Reason("file", "a.py", DIGESTS["a"][:12], DIGESTS["c"][:12], "arm") == found[0]


def test_many_files_are_counted() -> None:
    """A person reads the first; the JSON has all."""
    files = {f"{number}.py": "a" for number in range(7)}
    found = reasons(tree("arm", files), tree("arm", dict.fromkeys(files, "b")))
    assert ["7 files of arm changed (0.py, 1.py, 2.py, ...)"] == texts(found)
    assert 7 == len(found)
    assert MOST_NAMES == len(texts(found[:MOST_NAMES]))


def test_packages_are_told_with_their_versions() -> None:
    """Thousands of their files are nobody's reason."""
    old = {"numpy-1.26.4.dist-info/RECORD": "a", "numpy/x.py": "a", "idna-3.6.dist-info/R": "a"}
    new = {"numpy-2.0.dist-info/RECORD": "b", "numpy/x.py": "b", "rich-13.0.dist-info/R": "a"}
    found = reasons(tree("python-3.11", old), tree("python-3.11", new))
    assert ["idna 3.6 removed", "numpy 1.26.4 -> 2.0", "rich 13.0 added"] == texts(found)
    assert {"requirement"} == {it.kind for it in found}


def test_another_script_is_compared_with_the_one_before() -> None:
    """Trees of two labels are one that changed, where just one went and one came."""
    found = reasons(
        tree("arm", {"arm.py": "a", "x.py": "b"}), tree("arm2", {"arm2.py": "a", "x.py": "b"})
    )
    assert ["arm.py removed", "arm2.py added"] == texts(found)
    assert ["arm added"] == texts(reasons(None, tree("arm", {"a.py": "a"})))
    assert ["arm removed"] == texts(reasons(tree("arm", {"a.py": "a"}), None))


def test_a_tree_that_nobody_knows_any_more_has_changed() -> None:
    """It was removed, or is too large to be told."""
    old, new = tree("arm", {"a.py": "a"}), tree("arm", {"a.py": "b"})
    units = [replace(UNIT, closure=(it.name,)) for it in (old, new)]
    assert ["arm changed"] == texts(differences(*units, {new.name: outline(new)}))
    large = Manifest("arm", tuple(Entry(f"{i:06}", DIGESTS["a"], 1) for i in range(MOST_FILES + 1)))
    assert None is outline(large).files


def test_values_of_variables_are_not_told() -> None:
    """They may be secret; where they are JSON objects, the names within are told."""
    old = replace(UNIT, env={"A": "hunter2", "B": "1", "C": json.dumps({"x": {"y": 1, "z": 2}})})
    new = replace(UNIT, env={"A": "hunter3", "D": "1", "C": json.dumps({"x": {"y": 1, "z": 3}})})
    found = differences(old, new)
    assert ["A changed", "B removed", "C: x.z changed", "D added"] == texts(found)
    assert "hunter" not in json.dumps([it.to_json() for it in found])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cores": (1, 2)}, "cores any -> 1,2"),
        ({"realtime": Realtime("fifo", 5)}, "realtime none -> fifo 5"),
        ({"nice": -5}, "nice 0 -> -5"),
        ({"start_timeout": 5.0}, "start_timeout 60 -> 5"),
        ({"restart": RestartPolicy(when="always")}, "restart.when never -> always"),
        ({"stop": StopPolicy(kill_after=1)}, "stop.kill_after 5 -> 1"),
        ({"sockets": (Socket("shm", "a.shm"),)}, "sockets changed"),
        ({"health": (HealthCommand(("true",), "true"),)}, "health changed"),
        ({"cwd": "/other"}, "cwd changed"),
        ({"argv": ("python3", "arm.py", "--token", "x")}, "command changed"),
        ({"readiness": "notify"}, "readiness started -> notify"),
    ],
)
def test_settings_are_told_from_what_to_what(change: dict[str, object], text: str) -> None:
    """Where that is short, and not what a command line may hide."""
    assert [text] == texts(differences(UNIT, replace(UNIT, **change)))  # type: ignore[arg-type]


def test_every_field_of_a_unit_that_restarts_it_is_a_reason() -> None:
    """A restart without a reason is one that nobody can understand."""
    settled = {"name", "rank", "reload"}  # no process is restarted for them
    others = {"argv", "env", "closure", "links", "secrets"}
    assert set(Unit.__dataclass_fields__) <= settled | others | set(SETTINGS)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"top": "a", "files": None},
        {"top": [1], "files": None},
        {"top": [], "files": {"a": 1}},
    ],
)
def test_an_outline_that_makes_no_sense_is_refused(data: object) -> None:
    """It comes from a machine."""
    with pytest.raises((KeyError, TypeError)):
        Outline.from_json(data)
