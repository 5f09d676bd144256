"""Connections to real sshd: the suite as both users, dead links, and limits."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from deploy.connection.connect import Connections
from deploy.connection.ssh import SshConnector
from deploy.errors import ConnectionLost, MachineError
from deploy.inventory import Machine
from tests.deploy.connection.suite import ECHO_SERVER, Bench, ConnectionSuite, CutSuite, soon
from tests.lan.bench import Lan, wait_until

HOMES = {"robot": "/home/robot", "root": "/root"}


def robot(lan: Lan, i: int = 1, user: str = "robot", **more: Any) -> Machine:
    return Machine(
        id=lan.name(i), host=lan.address(i), user=user, identity=str(lan.identity), **more
    )


def connector(lan: Lan, **more: Any) -> SshConnector:
    """As a user with a home of his own; nothing of this machine's ~/.ssh matters."""
    return SshConnector(**{"config": [], "known_hosts": [lan.known_hosts], **more})


@contextmanager
def echo_server(lan: Lan, path: str, user: str) -> Iterator[None]:
    argv = lan.enter(1, ["python3", "-c", ECHO_SERVER, path], user=user)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        server.stdout.readline()
        yield
        for process in lan.processes(1):
            if process.argv[-1] == path:
                lan.kill(1, process.pid)
    lan.path(1, path).unlink()


@pytest.fixture(scope="module")
def echo_servers(shared_lan: Lan) -> Iterator[dict[str, str]]:
    """Paths of sockets where processes of either user echo."""
    paths = {user: f"{home}/echo.sock" for user, home in HOMES.items()}
    with ExitStack() as stack:
        for user, path in paths.items():
            stack.enter_context(echo_server(shared_lan, path, user))
        yield paths


@pytest.fixture(params=["robot", "root"])
async def bench(
    lan: Lan, echo_servers: dict[str, str], request: pytest.FixtureRequest
) -> AsyncIterator[Bench]:
    connection = await connector(lan).connect(robot(lan, user=request.param))
    yield Bench(connection, echo_servers[request.param])
    await connection.close()


@pytest.fixture
async def cut(lan: Lan) -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()

    async def wait() -> None:
        await event.wait()
        lan.cut(1)

    task = asyncio.create_task(wait())
    yield event
    task.cancel()


class TestSshd(ConnectionSuite):
    """The whole suite, as root and as an ordinary user."""


class TestDeadLink(CutSuite):
    @pytest.fixture
    async def bench(self, lan: Lan, echo_servers: dict[str, str]) -> AsyncIterator[Bench]:
        connection = await connector(lan, keepalive_interval=0.5).connect(robot(lan))
        yield Bench(connection, echo_servers["robot"])
        await connection.close()


async def test_a_short_cut_goes_unnoticed(lan: Lan) -> None:
    """Two seconds of silence lose nothing."""
    connection = await connector(lan).connect(robot(lan))
    channel = await connection.open_command(["cat"])
    lan.cut(1)
    await channel.write(b"through\n")
    await asyncio.sleep(2)
    lan.heal(1)
    assert b"through\n" == await soon(asyncio.create_task(channel.readline()))
    await connection.close()


async def test_commands_outlive_a_dead_link(lan: Lan) -> None:
    """A command that neither reads nor writes goes on when its connection is gone."""
    connection = await connector(lan).connect(robot(lan))
    await connection.open_command(["sleep", "4720"])
    wait_until(lambda: any("4720" in process.command for process in lan.processes(1)), "it runs")
    lan.stop_sshd(1)
    await soon(asyncio.create_task(connection.closed()))
    with pytest.raises(ConnectionLost):
        await connection.run(["true"])
    left = [process for process in lan.processes(1) if "sleep 4720" in process.command]
    assert [] != left
    for process in left:
        lan.kill(1, process.pid)
    lan.start_sshd(1)


async def test_a_power_cut_is_noticed(lan: Lan) -> None:
    """A robot that lost its power is lost, and connects again when it is back."""
    connection = await connector(lan).connect(robot(lan, 2))
    lan.power_off(2)
    await soon(asyncio.create_task(connection.closed()))
    lan.power_on(2)
    again = await connector(lan).connect(robot(lan, 2))
    assert 0 == (await again.run(["true"])).status
    await again.close()
    await connection.close()


async def test_more_channels_than_sshd_allows_wait(make_lan: Callable[..., Lan]) -> None:
    """With MaxSessions 3, ten commands share three sessions; sockets take part in it."""
    lan = make_lan(1, sshd={"MaxSessions": "3"})
    connection = await connector(lan).connect(robot(lan))
    ran = await asyncio.gather(*(connection.run(["sleep", "0.1"]) for _ in range(10)))
    assert [0] * 10 == [one.status for one in ran]
    channels = [await connection.open_command(["cat"]) for _ in range(3)]
    with pytest.raises(MachineError, match="no session has become free"):
        await connection.run(["true"], timeout=0.5)
    waiting = asyncio.create_task(connection.open_socket("/nowhere"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await channels[0].close()
    with pytest.raises(MachineError, match="nobody listens at /nowhere"):
        await soon(waiting)
    await connection.close()


async def test_no_session_at_all_is_said_so(make_lan: Callable[..., Lan]) -> None:
    """MaxSessions 0, as on pure jump hosts, is an error with its remedy."""
    lan = make_lan(1, sshd={"MaxSessions": "0"})
    connection = await connector(lan).connect(robot(lan))
    with pytest.raises(MachineError, match="opens no session") as caught:
        await connection.run(["true"])
    assert "MaxSessions" in str(caught.value.hint)
    await connection.close()


async def test_sockets_forbidden_by_sshd_are_said_so(make_lan: Callable[..., Lan]) -> None:
    """AllowStreamLocalForwarding no: the error has the setting, which sshd does not tell."""
    lan = make_lan(1, sshd={"AllowStreamLocalForwarding": "no"})
    bind = "import socket; socket.socket(socket.AF_UNIX).bind('/run/here.sock')"
    lan.run(1, ["python3", "-c", bind])
    connection = await connector(lan).connect(robot(lan))
    with pytest.raises(MachineError) as caught:
        await connection.open_socket("/run/here.sock")
    assert "AllowStreamLocalForwarding" in str(caught.value.hint)
    await connection.close()


async def test_thirty_connections_at_once(lan: Lan) -> None:
    """sshd's limit on logins under way is respected, so none is dropped."""
    connecting = connector(lan)
    connections = await asyncio.gather(*(connecting.connect(robot(lan)) for _ in range(30)))
    ran = await asyncio.gather(*(connection.run(["hostname"]) for connection in connections))
    assert {b"robot1\n"} == {one.stdout for one in ran}
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_the_command_lines_connector_leads_to_robots(lan: Lan) -> None:
    """What is not embedded goes through SSH; a pin needs no known_hosts."""
    connections = Connections(config=[], known_hosts=[])
    connection = await connections.connect(robot(lan, host_key=lan.fingerprint(1)))
    assert b"robot1\n" == (await connection.run(["hostname"])).stdout
    await connection.close()
    await connections.close()
