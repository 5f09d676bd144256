"""How long to wait before a lost machine is tried again, and when a machine counts as lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from itertools import islice
from pathlib import Path

from deploy.connection.embedded import EmbeddedConnector
from deploy.events import Event, LinkLost
from deploy.inventory import Machine
from deploy.session import Session
from dora.coordinator.watch import Told, pauses, watch


def test_pauses_double_up_to_a_limit() -> None:
    """With no luck in the draw, each is twice the one before."""
    assert [0.5, 1.0, 2.0, 4.0, 4.0] == list(islice(pauses(0.5, 4.0, jitter=lambda: 1.0), 5))


def test_half_of_a_pause_is_random() -> None:
    """So that many laptops, or many machines, are not tried at the same moment."""
    assert [0.25, 0.5, 1.0] == list(islice(pauses(0.5, 4.0, jitter=lambda: 0.0), 3))
    assert [0.375, 0.75] == list(islice(pauses(0.5, 4.0, jitter=lambda: 0.5), 2))


def state(name: str, state: str, pid: int | None = None) -> dict[str, object]:
    return {"name": name, "state": state, "pid": pid}


def test_what_changes_is_told_once() -> None:
    """The beginning is not: who watches has seen it; more memory is no news."""
    told = Told(silent=True)
    assert [] == told.all([state("a", "running", 1), state("b", "running", 2)])
    assert [] == told.some([{**state("a", "running", 1), "rss": 5}])
    failed = state("a", "backoff")
    assert [failed] == told.some([failed])
    assert [] == told.some([failed])
    new = state("c", "starting", 3)
    assert [new] == told.some([new])


def test_what_was_missed_is_told_when_the_link_is_back() -> None:
    """Other processes, new units and those that have gone; each once."""
    told = Told(silent=True)
    told.all([state("a", "running", 1), state("b", "running", 2), state("c", "running", 3)])
    again, new = state("a", "running", 9), state("d", "running", 4)
    gone = state("b", "gone")
    assert [again, new, gone] == told.all([again, state("c", "running", 3), new])
    assert [] == told.all([again, state("c", "running", 3), new])


def test_of_a_machine_that_was_away_all_is_told() -> None:
    """Nobody had seen it."""
    states = [state("a", "running", 1), state("b", "failed")]
    assert states == Told(silent=False).all(states)


async def test_a_machine_that_runs_nothing_is_not_lost_and_watching_can_be_ended(
    tmp_path: Path,
) -> None:
    """Its supervisor has no logs of the deployment; that says nothing about the link."""
    machine = Machine("idle", "embedded")
    connector = EmbeddedConnector(tmp_path)
    session = await Session.open(connector, machine)
    await session.start_supervisor()
    supervisor = (await session.request("hello"))["pid"]
    seen: list[Event] = []
    try:
        for _ in range(5):  # the answers that used to collide come in any order
            watching = asyncio.create_task(
                watch("flow", {}, {"idle": machine}, connector, seen.append, lambda line: None)
            )
            await asyncio.sleep(0.5)
            watching.cancel()
            ended, _ = await asyncio.wait({watching}, timeout=20)
            assert {watching} == ended
        assert [] == [event for event in seen if isinstance(event, LinkLost)]
    finally:
        await session.close()
        await connector.close()
        os.kill(supervisor, signal.SIGKILL)
        shutil.rmtree(session.facts.run)  # in /tmp, since pytest's paths are long
