"""A deployment that is interrupted, or not answered, while a machine switches: it may have
switched, and that is said."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from deploy.apply import apply
from deploy.connection.base import Channel
from deploy.connection.memory import MemoryConnector, MemoryMachine
from deploy.events import Event, Unconfirmed
from deploy.inventory import Machine
from deploy.plan import plan
from deploy.profile import Profile
from deploy.session import Session
from deploy.store.memory import MemoryStore
from deploy.undertaking import Closures, Options
from deploy.unit import Unit
from tests.deploy.build.wheels import facts

FLOW = Profile("flow", "rover", (Unit("a", ("sleep", "1000"), "/"),))


class Supervisor:
    """Takes all that it is told, and answers `activate` by `answer`, or not at all."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.activating = asyncio.Event()

    async def serve(self, channel: Channel) -> None:
        while line := await channel.readline():
            op = json.loads(line)["op"]
            if op != "activate":
                refused = {"ok": False, "code": "io", "error": "the disk is full"}
                reply: dict[str, Any] = refused if op == "revert" else {"ok": True}
                await channel.write(json.dumps(reply).encode() + b"\n")
                continue
            self.activating.set()
            if self.answer is not None:
                await channel.write(self.answer)


async def deployed(supervisor: Supervisor, events: list[Event]) -> Any:
    found = facts("rover")
    connector = MemoryConnector(
        {"rover": MemoryMachine(sockets={f"{found.run}/supervisor.sock": supervisor.serve})}
    )
    connection = await connector.connect(Machine("rover", "rover"))
    sessions = {"rover": Session(connector, connection, found)}
    what = plan("flow", {"rover": FLOW}, {"rover": None})
    closures, options = Closures(MemoryStore(), {}), Options("ada@laptop", confirm_timeout=60)
    try:
        return await apply(what, closures, sessions, options, events.append)
    finally:
        await connector.close()


async def test_whoever_interrupts_a_switch_hears_that_it_may_have_begun() -> None:
    """The machine goes back by itself, unless it was not told; nobody knows."""
    supervisor, events = Supervisor(None), list[Event]()
    deploying = asyncio.create_task(deployed(supervisor, events))
    await asyncio.wait_for(supervisor.activating.wait(), 20)
    deploying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(deploying, 20)
    assert ["rover"] == [event.machine for event in events if isinstance(event, Unconfirmed)]


@pytest.mark.parametrize("number", ["null", '"one"', "[]"])
async def test_an_answer_that_makes_no_sense_leaves_the_machine_unconfirmed(number: str) -> None:
    """It may have switched: its way back is asked for, and if that fails it is said when it goes
    back by itself."""
    events: list[Event] = []
    supervisor = Supervisor(f'{{"number": {number}}}\n'.encode())
    results = await asyncio.wait_for(deployed(supervisor, events), 20)
    assert ["unconfirmed"] == [result.outcome for result in results]
    assert ["rover"] == [event.machine for event in events if isinstance(event, Unconfirmed)]


async def test_a_switch_that_was_refused_is_no_trial() -> None:
    """Nothing was changed, and nothing goes back."""
    events: list[Event] = []
    refused = b'{"ok": false, "code": "stale", "error": "the plan is stale"}\n'
    results = await asyncio.wait_for(deployed(Supervisor(refused), events), 20)
    assert ["failed"] == [result.outcome for result in results]
    assert [] == [event for event in events if isinstance(event, Unconfirmed)]
