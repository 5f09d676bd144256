"""A machine of the fleet that answers nonsense: broken, or somebody else's by now. It counts as
lost; whoever talks to it goes on with the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deploy import agent
from deploy.connection.base import Channel
from deploy.connection.memory import MemoryConnector, MemoryMachine, Server, Stdio
from deploy.errors import MachineError
from deploy.events import Event, LinkLost
from deploy.inventory import Machine
from deploy.leases import keep_leases
from deploy.profile import Profile
from deploy.proof import prove
from deploy.session import Session
from deploy.store.remote import RemoteStore
from dora.coordinator.watch import watch
from tests.deploy.build.wheels import facts

DEEP = b"[" * 100_000
NONSENSE = [
    b"5",
    b"{}",
    DEEP,
    b"\xff\xfe",
    b'{"ok": false, "code": "locked", "since": "yesterday"}',
    b'{"ok": false, "code": "held", "holds": [5]}',
    b'{"ok": false, "code": "held", "holds": [{"since": "x"}]}',
    b'{"units": 5}',
    b'{"units": [5]}',
    b'{"units": [{"name": [], "state": "running"}]}',
    b'{"units": [{"name": "a", "state": "running", "restarts": "often"}]}',
    b'{"units": [{"name": "a", "state": "running", "last_lines": 5}]}',
    b'{"units": [{"name": "a", "state": "running", "health": 5}]}',
    b'{"mark": "m", "lease": "long"}',
    b'{"mark": "m", "lease": -1}',
]
STORES = [b"5", b"{}", DEEP, b'{"trees": 5}', b'{"free": [], "trees": []}']


def answering(answer: bytes) -> Server:
    """A supervisor that says the same to whatever it is asked."""

    async def serve(channel: Channel) -> None:
        while await channel.readline():
            await channel.write(answer + b"\n")

    return serve


async def session_with(name: str, server: Server) -> tuple[Session, MemoryConnector]:
    found = facts(name)
    connector = MemoryConnector(
        {name: MemoryMachine(sockets={f"{found.run}/supervisor.sock": server})}
    )
    machine = Machine(name, name)
    return Session(connector, await connector.connect(machine), found), connector


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
async def test_nonsense_is_the_machines_error_whatever_was_asked(answer: bytes) -> None:
    """No surprise that nobody expects, and no answer that is believed."""
    session, connector = await session_with("rover", answering(answer))
    profile = Profile("flow", "rover", ())
    asked: list[Any] = [
        session.request("status"),
        prove(session, profile, lambda event: None, window=0, limit=1),
        keep_leases(session, "flow", "ada", renews=lambda: True, heard=lambda: None),
    ]
    for asking in asked:
        with pytest.raises(MachineError):
            await asyncio.wait_for(asking, 20)
    await connector.close()


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
async def test_a_machine_that_answers_nonsense_is_lost_and_the_watch_goes_on(answer: bytes) -> None:
    """It ends neither the watch of others nor the coordinator."""
    session, connector = await session_with("rover", answering(answer))
    lost = asyncio.Event()

    def emit(event: Event) -> None:
        if isinstance(event, LinkLost):
            lost.set()

    machine = session.machine
    watching = asyncio.create_task(
        watch("flow", {"rover": session}, {"rover": machine}, connector, emit, print)
    )
    hearing = asyncio.create_task(lost.wait())
    await asyncio.wait({watching, hearing}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert (True, False) == (lost.is_set(), watching.done())
    for task in (watching, hearing):
        task.cancel()
    await asyncio.gather(watching, hearing, return_exceptions=True)
    await connector.close()


@pytest.mark.parametrize("answer", STORES, ids=range(len(STORES)))
async def test_a_store_that_answers_nonsense_is_its_machines_error(answer: bytes) -> None:
    """Whatever it was asked."""
    session, connector = await session_with("rover", answering(answer))

    async def open_verb(*args: str) -> Channel:
        return await session.channel()

    store = RemoteStore("rover", open_verb)
    asked: list[Any] = [store.missing([]), store.collect(), store.verify()]
    for asking in asked:
        with pytest.raises(MachineError, match="rover: its store spoke nonsense"):
            await asyncio.wait_for(asking, 20)
    await connector.close()


async def test_a_machine_that_says_nothing_is_not_waited_for_for_ever() -> None:
    """Its disk may be about to die: whoever deploys, or reaches for the fleet, goes on without."""

    async def hang(argv: list[str], stdio: Stdio) -> int:
        await asyncio.Event().wait()
        return 0

    connector = MemoryConnector({"rover": MemoryMachine(programs={"python3": hang})})
    connection = await connector.connect(Machine("rover", "rover"))

    async def open_verb(*args: str) -> Channel:
        return await connection.open_command(["python3"])

    with pytest.raises(MachineError, match="python3 has not run the agent"):
        await asyncio.wait_for(agent.start(connection, "python3", "~", "probe", patience=0.1), 20)
    store = RemoteStore("rover", open_verb, patience=0.1)
    with pytest.raises(MachineError, match=r"not moved for 0\.1 s"):
        await asyncio.wait_for(store.missing([]), 20)
    with pytest.raises(MachineError, match=r"not moved for 1\.2 s"):
        await asyncio.wait_for(store.collect(), 20)
    await connector.close()
