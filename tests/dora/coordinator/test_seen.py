"""When machines answered last, by what this laptop has noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.inventory import Machine
from dora.coordinator.seen import Seen

BASE, ROVER = Machine("base", "10.0.0.1"), Machine("rover", "10.0.0.2")


def test_the_last_time_counts_and_other_machines_keep_theirs(tmp_path: Path) -> None:
    """Whatever a machine is called in another inventory."""
    file = tmp_path / "cache" / "seen.json"
    assert Seen(file).last(BASE) is None
    Seen(file, clock=lambda: 10.0).note([BASE, ROVER])
    Seen(file, clock=lambda: 20.0).note([BASE])
    found = Seen(file)
    assert [20.0, 10.0] == [found.last(BASE), found.last(ROVER)]
    assert 20.0 == found.last(Machine("basis", "10.0.0.1"))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": null}', "\\xff"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    """Nothing depends on it."""
    file = tmp_path / "seen.json"
    file.write_text(text)
    assert Seen(file).last(BASE) is None
    Seen(file, clock=lambda: 1.0).note([BASE])
    assert 1.0 == Seen(file).last(BASE)
