"""Holding updates up, as the process does that must not be disturbed: the lock and the note."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dora.protocol.updates import HOLD, UPDATES, Hold


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a supervisor gives to a unit."""
    monkeypatch.setenv(UPDATES, str(tmp_path / "updates.lock"))
    monkeypatch.setenv(HOLD, str(tmp_path / "arm.hold"))
    return tmp_path


def claimable(folder: Path) -> bool:
    """Whether a supervisor could switch now."""
    with open(folder / "updates.lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def notes(folder: Path) -> list[dict[str, Any]]:
    file = folder / "arm.hold"
    return list(json.loads(file.read_text())) if file.exists() else []


def test_a_hold_lasts_until_it_is_released(unit: Path) -> None:
    """By a block's end or by hand, and once."""
    before = time.time()
    with Hold("moving") as hold:
        assert not claimable(unit)
        (note,) = notes(unit)
        assert "moving" == note["reason"]
        assert before <= note["since"] <= time.time()
        assert "<Hold 'moving', held>" == repr(hold)
    hold.release()
    assert claimable(unit)
    assert [] == notes(unit)
    assert "<Hold 'moving', released>" == repr(hold)


def test_several_holds_of_one_process_all_count(unit: Path) -> None:
    """Two threads may have reasons of their own."""
    arm, base = Hold("arm"), Hold("base")
    arm.release()
    assert not claimable(unit)
    assert ["base"] == [it["reason"] for it in notes(unit)]
    base.release()
    assert claimable(unit)


def test_a_hold_ends_with_its_process(unit: Path) -> None:
    """However that ends."""
    program = (
        "from dora.protocol.updates import Hold; import os; Hold('x'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert -9 == done.returncode
    assert claimable(unit)


def test_a_forked_child_does_not_release_its_parents_hold(unit: Path) -> None:
    """It has a copy of the descriptor, and the lock is one."""
    with Hold("moving") as hold:
        child = os.fork()
        if child == 0:
            hold.release()
            os._exit(0)
        os.waitpid(child, 0)
        assert not claimable(unit)


def test_holding_waits_while_the_machine_is_switched(unit: Path) -> None:
    """For as long as it may; a node that is to leave does not hold."""
    with open(unit / "updates.lock", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="being switched"):
            Hold(timeout=0.05)
        asked = iter((False, False, True))
        with pytest.raises(RuntimeError, match="asked to stop"):
            Hold(stopping=lambda: next(asked))
        assert [] == notes(unit)
    Hold().release()


def test_where_nobody_updates_there_is_nothing_to_hold_up(
    unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node runs the same under a debugger, or where its note cannot be written."""
    monkeypatch.setenv(HOLD, str(unit / "nowhere/arm.hold"))
    with Hold("moving"):
        assert not claimable(unit)
    monkeypatch.delenv(UPDATES)
    with Hold("moving"):
        assert claimable(unit)
