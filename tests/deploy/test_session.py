"""What a session reads from a machine's disk: a real shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.connection.local import LocalConnector
from deploy.errors import MachineError
from deploy.inventory import Machine
from deploy.session import Session
from tests.deploy.build.wheels import facts


async def test_a_file_that_cannot_be_read_is_not_one_that_is_not_there(tmp_path: Path) -> None:
    """Who took it for that would make another key, and restart units that did not change."""
    connector = LocalConnector(tmp_path)
    connection = await connector.connect(Machine("here", "local"))
    session = Session(connector, connection, facts())
    (tmp_path / "it's a key").write_bytes(b"\0key\n")
    (tmp_path / "broken").mkdir()
    try:
        assert b"\0key\n" == await session.read(str(tmp_path / "it's a key"))
        assert await session.read(str(tmp_path / "nothing")) is None
        with pytest.raises(MachineError, match="broken"):
            await session.read(str(tmp_path / "broken"))
    finally:
        await session.close()
        await connector.close()
