"""Connections to this very machine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.connection.local import LocalConnector
from deploy.errors import MachineError
from deploy.inventory import Machine
from tests.deploy.connection.suite import Bench, ConnectionSuite
from tests.lan.bench import wait_until

HERE = Machine(id="here", host="localhost")


@pytest.fixture
async def bench(tmp_path: Path, echo_socket: str) -> AsyncIterator[Bench]:
    connector = LocalConnector(tmp_path)
    yield Bench(await connector.connect(HERE), echo_socket)
    await connector.close()


class TestLocal(ConnectionSuite):
    async def test_commands_live_in_the_given_home(self, bench: Bench, tmp_path: Path) -> None:
        """HOME and the working directory are the given folder, and ours do not leak."""
        os.environ["LEAK_PROBE"] = "leaked"
        try:
            done = await bench.connection.run(["sh", "-c", "pwd; echo $HOME; echo $LEAK_PROBE"])
        finally:
            del os.environ["LEAK_PROBE"]
        assert f"{tmp_path}\n{tmp_path}\n\n" == done.stdout.decode()

    async def test_a_missing_home_is_said_so(self, tmp_path: Path) -> None:
        """The folder is not there: an error that names it."""
        connector = LocalConnector(tmp_path / "missing")
        connection = await connector.connect(HERE)
        with pytest.raises(MachineError, match="missing"):
            await connection.run(["true"])
        await connector.close()

    async def test_closing_ends_commands_but_not_daemons(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        """A command that made a session of its own stays; others, even stubborn ones, end."""
        await ends_commands_but_not_daemons(bench, tmp_path)


async def ends_commands_but_not_daemons(bench: Bench, folder: Path) -> None:
    """Also for embedded servers."""
    start = "setsid -f sh -c 'echo $$ >daemon; exec sleep 1000' </dev/null >/dev/null 2>&1"
    assert 0 == (await bench.connection.run(["sh", "-c", start])).status
    stubborn = "trap '' HUP; echo $$ >stubborn; while :; do sleep 0.1; done"
    await bench.connection.open_command(["exec", "sh", "-c", stubborn])
    numbers = "while ! [ -s daemon -a -s stubborn ]; do sleep 0.02; done; cat daemon stubborn"
    told = await bench.connection.run(["sh", "-c", numbers])
    daemon, other = map(int, told.stdout.split())
    try:
        await bench.connection.close()
        if bench.end is not None:
            await bench.end()
        wait_until(lambda: not Path(f"/proc/{other}").exists(), "the command has ended")
        assert Path(f"/proc/{daemon}").exists()
    finally:
        os.kill(daemon, 9)
