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
from dora.coordinator.watch import pauses, watch


def test_pauses_double_up_to_a_limit() -> None:
    """With no luck in the draw, each is twice the one before."""
    assert [0.5, 1.0, 2.0, 4.0, 4.0] == list(islice(pauses(0.5, 4.0, jitter=lambda: 1.0), 5))


def test_half_of_a_pause_is_random() -> None:
    """So that many laptops, or many machines, are not tried at the same moment."""
    assert [0.25, 0.5, 1.0] == list(islice(pauses(0.5, 4.0, jitter=lambda: 0.0), 3))
    assert [0.375, 0.75] == list(islice(pauses(0.5, 4.0, jitter=lambda: 0.5), 2))


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
