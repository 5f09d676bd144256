"""The fake of connections: it keeps the same contract as the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.connection.base import Channel
from deploy.connection.memory import MemoryConnector, MemoryMachine, Program, Stdio
from deploy.errors import ConnectionFailed, ConnectionLost
from deploy.inventory import Machine
from tests.deploy.connection.suite import SCRIPTS, Bench, ConnectionSuite, CutSuite

ROBOT = Machine(id="robot", host="robot.local")


async def cat(argv: list[str], stdio: Stdio) -> int:
    while data := await stdio.stdin.read():
        await stdio.write(data)
    return 0


async def printf(argv: list[str], stdio: Stdio) -> int:
    for word in argv[2:]:
        await stdio.write(word.encode() + b"\0")
    return 0


async def sh(argv: list[str], stdio: Stdio) -> int:
    stdout, stderr, status = SCRIPTS[argv[2]]
    stdio.complain(stderr)
    if stdout:
        await stdio.write(stdout)
    return status


async def sleep(argv: list[str], stdio: Stdio) -> int:
    await asyncio.sleep(float(argv[1]))
    return 0


async def true(argv: list[str], stdio: Stdio) -> int:
    return 0


async def echo(client: Channel) -> None:
    while data := await client.read():
        await client.write(data)
    await client.write(b"end")
    await client.write_eof()


@pytest.fixture
def robot() -> MemoryMachine:
    programs: dict[str, Program] = {
        "cat": cat,
        "printf": printf,
        "sh": sh,
        "sleep": sleep,
        "true": true,
    }
    return MemoryMachine(programs=programs, sockets={"/echo": echo})


@pytest.fixture
async def bench(robot: MemoryMachine) -> AsyncIterator[Bench]:
    connector = MemoryConnector({"robot": robot})
    yield Bench(await connector.connect(ROBOT), "/echo")
    await connector.close()


@pytest.fixture
async def cut(robot: MemoryMachine) -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()

    async def wait() -> None:
        await event.wait()
        robot.cut()

    task = asyncio.create_task(wait())
    yield event
    task.cancel()


class TestMemory(ConnectionSuite, CutSuite):
    """All of both suites."""


async def test_a_machine_can_be_away() -> None:
    """`failure` is what connecting raises; an unknown id has no address."""
    away = ConnectionFailed("robot", "timeout", "no answer")
    connector = MemoryConnector({"robot": MemoryMachine(failure=away)})
    with pytest.raises(ConnectionFailed, match="no answer"):
        await connector.connect(ROBOT)
    with pytest.raises(ConnectionFailed) as caught:
        await connector.connect(Machine(id="other", host="other.local"))
    assert "dns" == caught.value.cause


async def test_what_was_started_is_remembered(robot: MemoryMachine) -> None:
    """Tests may look at every argv that ran, and cut only what is open."""
    connector = MemoryConnector({"robot": robot})
    connection = await connector.connect(ROBOT)
    await connection.run(["true", "yes"])
    assert [["true", "yes"]] == robot.commands
    robot.cut("power cut")
    with pytest.raises(ConnectionLost, match="power cut"):
        await connection.run(["true"])
    again = await connector.connect(ROBOT)
    assert 0 == (await again.run(["true"])).status
    await connector.close()


async def test_a_broken_script_shows_its_error(robot: MemoryMachine) -> None:
    """An exception in a scripted program is its stderr, status 70."""

    async def broken(argv: list[str], stdio: Stdio) -> int:
        raise ZeroDivisionError

    robot.programs["broken"] = broken
    connector = MemoryConnector({"robot": robot})
    done = await (await connector.connect(ROBOT)).run(["broken"])
    assert 70 == done.status
    assert "ZeroDivisionError" in done.stderr
    await connector.close()
