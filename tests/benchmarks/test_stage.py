"""The stage of the benchmarks ends what it starts. dora-rs is not needed for that."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.peer import Peer
from benchmarks.stage import Stage, StageError
from tests.dora.harness import wait_until


def children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def test_a_dataflow_that_does_not_come_up_leaves_nothing(tmp_path: Path) -> None:
    """Neither process nor file; the error has the last lines of the logs."""
    cli = tmp_path / "dora"
    cli.write_text("#!/bin/sh\necho cannot start today\nexit 1\n")
    cli.chmod(0o755)
    processes, files = children(), set(os.listdir("/proc/self/fd"))
    stage = Stage(Peer(Path(sys.executable), cli))
    with pytest.raises(StageError, match="cannot start today"), stage:
        pass
    wait_until(lambda: children() <= processes, "all processes have ended")
    assert (False, files) == (stage.folder.exists(), set(os.listdir("/proc/self/fd")))
