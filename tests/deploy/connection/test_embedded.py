"""SSH servers of our own on loopback."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.connection.connect import Connections
from deploy.connection.embedded import EmbeddedConnector, EmbeddedServer
from deploy.connection.ssh.library import asyncssh
from deploy.errors import ConnectionFailed, ConnectionLost
from deploy.inventory import Machine
from tests.deploy.connection.suite import Bench, ConnectionSuite, soon
from tests.deploy.connection.test_local import ends_commands_but_not_daemons

HERE = Machine(id="here", host="embedded")


@pytest.fixture
async def bench(tmp_path: Path, echo_socket: str) -> AsyncIterator[Bench]:
    connector = EmbeddedConnector(tmp_path)
    connection = await connector.connect(HERE)
    yield Bench(connection, echo_socket, connector.close)
    await connection.close()
    await connector.close()


class TestEmbedded(ConnectionSuite):
    async def test_commands_live_in_the_machines_folder(self, bench: Bench, tmp_path: Path) -> None:
        """HOME and the working directory are the machine's own folder, and ours do not leak."""
        os.environ["LEAK_PROBE"] = "leaked"
        try:
            done = await bench.connection.run(["sh", "-c", "pwd; echo $HOME; echo $LEAK_PROBE"])
        finally:
            del os.environ["LEAK_PROBE"]
        assert f"{tmp_path}/here\n{tmp_path}/here\n\n" == done.stdout.decode()
        assert 0o700 == (tmp_path / "here").stat().st_mode & 0o777

    async def test_there_is_a_python(self, bench: Bench) -> None:
        """The first python3 in PATH works, wherever this one is installed."""
        assert (
            b"3\n"
            == (
                await bench.connection.run(
                    ["python3", "-c", "import sys; print(sys.version_info.major)"]
                )
            ).stdout
        )

    async def test_closing_ends_commands_but_not_daemons(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        """A command that made a session of its own stays; others, even stubborn ones, end."""
        await ends_commands_but_not_daemons(bench, tmp_path / "here")

    async def test_channels_end_with_the_server(self, bench: Bench) -> None:
        """Whoever reads a command of a server that closes hears that the connection is lost."""
        channel = await bench.connection.open_command(["sleep", "1000"])
        reading = asyncio.create_task(channel.read())
        await asyncio.sleep(0.05)
        assert bench.end is not None
        await bench.end()
        with pytest.raises(ConnectionLost):
            await soon(reading)
        await soon(asyncio.create_task(bench.connection.closed()))


async def test_each_machine_has_its_own_server(tmp_path: Path) -> None:
    """Machines share a server with nobody, and a second connection shares the first one's."""
    connector = EmbeddedConnector(tmp_path)
    connections = await asyncio.gather(
        *(connector.connect(Machine(id=name, host="embedded")) for name in ("a", "b", "a"))
    )
    homes = [(await connection.run(["pwd"])).stdout.decode() for connection in connections]
    assert [f"{tmp_path}/a\n", f"{tmp_path}/b\n", f"{tmp_path}/a\n"] == homes
    for connection in connections:
        await connection.close()
    await connector.close()


async def test_nobody_else_gets_in(tmp_path: Path) -> None:
    """Another key, or none, is refused; so are port forwarding and file transfer."""
    server = await EmbeddedServer.start(tmp_path / "here")
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    for keys in ([stranger], []):
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(
                "127.0.0.1",
                server.port,
                client_keys=keys,
                known_hosts=None,
                config=None,
                agent_path=None,
            )
    connection = await server.connect(HERE)
    conn = connection._conn
    with pytest.raises(asyncssh.ChannelOpenError):
        await conn.open_connection("127.0.0.1", server.port)
    with pytest.raises(asyncssh.ChannelListenError):
        await conn.start_unix_server(lambda: None, str(tmp_path / "sock"))
    with pytest.raises(asyncssh.Error):
        await conn.start_sftp_client()
    await connection.close()
    await server.close()
    await server.close()


async def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    """A file is in the way: the error names the folder."""
    (tmp_path / "file").write_text("")
    connector = EmbeddedConnector(tmp_path / "file")
    with pytest.raises(ConnectionFailed, match=str(tmp_path / "file")):
        await connector.connect(HERE)
    await connector.close()


async def test_the_data_home_has_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`host: embedded` lives below XDG_DATA_HOME."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    connections = Connections()
    connection = await connections.connect(HERE)
    done = await connection.run(["pwd"])
    assert f"{tmp_path}/dora/embedded/here\n" == done.stdout.decode()
    await connection.close()
    await connections.close()
