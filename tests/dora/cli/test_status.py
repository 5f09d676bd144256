"""What `dora status` prints."""

from __future__ import annotations

import io

from rich.console import Console

from dora.cli.status import show_status
from dora.coordinator.status import NodeStatus, Status


def test_an_error_of_a_node_is_shown_as_it_is() -> None:
    """Brackets in it are no markup."""
    shown = io.StringIO()
    error = "'x[/b]' is not a program on this machine"
    status = Status((NodeStatus("flow", "base", "camera", "failed", error=error),))
    show_status(Console(file=shown, soft_wrap=True), status)

    assert f"camera@base: {error}" in shown.getvalue()


def test_no_figure_is_cut_however_narrow_the_terminal() -> None:
    """Use of memory and CPU stand beside what is allowed."""
    shown = io.StringIO()
    node = NodeStatus(
        "a-rather-long-deployment",
        "base",
        "camera",
        "running",
        pid=12345,
        restarts=3,
        cores=(0, 1, 2),
        rss=41 * 2**20,
        memory_limit=512 * 2**20,
        cpu=0.257,
    )
    show_status(Console(file=shown, soft_wrap=True, width=40), Status((node,)))
    title, row = shown.getvalue().splitlines()
    assert ["a-rather-long-deployment", "camera", "base", "running", "12345"] == row.split()[:5]
    assert ["3", "26%", "41/512", "MiB", "0-2"] == row.split()[5:]
    assert "RESTARTS" in title


def test_a_machine_that_is_away_is_unknown_since_it_was_seen_last() -> None:
    """On another day with its date; one that never answered has no time."""
    machines = {
        "base": {"link": "up"},
        "rover": {"link": "unknown", "since": 86400.0 * 365},
        "drone": {"link": "unknown", "since": None},
    }
    shown = io.StringIO()
    show_status(Console(file=shown, soft_wrap=True), Status((), machines))
    lines = shown.getvalue().splitlines()
    assert "nothing is deployed on the machines that answer" == lines[0]
    assert lines[1].startswith("rover: unknown since 197")
    assert "drone: unknown; it has never answered this laptop" == lines[2]


def test_priorities_are_shown_where_they_are_not_the_usual() -> None:
    """Behind the cores, as the kernel has them; and what a node lacks, below."""
    shown = io.StringIO()
    fast = {"policy": "fifo", "priority": 50, "nice": 0}
    kind = {"policy": "other", "priority": 0, "nice": 5}
    plain = {"policy": "other", "priority": 0, "nice": 0}
    lacking = "is scheduled as other, not as rr 1"
    nodes = (
        NodeStatus("flow", "base", "a", "running", cores=(3,), scheduling=fast),
        NodeStatus("flow", "base", "b", "running", cores=(0, 1), scheduling=kind),
        NodeStatus("flow", "base", "c", "running", scheduling=plain, shortfall=lacking),
    )
    show_status(Console(file=shown, soft_wrap=True), Status(nodes))
    rows = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert [
        "flow a base running 3 fifo 50",
        "flow b base running 0-1 nice 5",
        "flow c base running",
        f"c@base {lacking}",
    ] == rows[1:]
