"""Where supervisors listened last: asked at once, and never relied on."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.connection.embedded import EmbeddedConnector
from deploy.inventory import Machine
from deploy.session import Session
from deploy.whereabouts import Known, Whereabouts
from tests.deploy.build.wheels import facts
from tests.deploy.supervisor.machine import alive, until

SOCKET = "/home/robot/.local/share/dora/run/supervisor.sock"


class Counting:
    """A connector that counts the programs which are started over its connections."""

    def __init__(self, folder: Path) -> None:
        self._embedded = EmbeddedConnector(folder)
        self.programs = 0

    async def connect(self, machine: Machine) -> Any:
        connection = await self._embedded.connect(machine)
        start = connection.open_command

        async def counted(argv: list[str]) -> Any:
            self.programs += 1
            return await start(argv)

        connection.open_command = counted  # type: ignore[method-assign]
        return connection

    async def close(self) -> None:
        await self._embedded.close()


@pytest.fixture
def root() -> Iterator[str]:
    """Short enough for the supervisor's socket to lie in it."""
    folder = tempfile.mkdtemp(prefix="dora-")
    yield folder
    shutil.rmtree(folder)


async def test_a_supervisor_that_is_known_is_asked_and_no_program_started(
    tmp_path: Path, root: str
) -> None:
    """When it has gone, the probe finds out, and it is known no longer."""
    connector, machine = Counting(tmp_path), Machine("here", "embedded", store=root)
    known = Known(tmp_path / "machines.json")

    async def started(**options: Any) -> int:
        before = connector.programs
        session = await Session.open(connector, machine, known=known, **options)
        try:
            assert root == session.facts.root
            assert (await session.request("hello"))["root"] == root
            assert await session.generation("flow") is None
        finally:
            await session.close()
        return connector.programs - before

    try:
        session = await Session.open(connector, machine, known=known)
        await session.start_supervisor()
        supervisor = (await session.request("hello"))["pid"]
        await session.close()
        assert known.of(machine) is not None
        known.save()
        known = Known(tmp_path / "machines.json")
        assert 0 == await started()
        assert 0 == await started(deployment="flow")
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: not alive(supervisor), "its end")
        session = await Session.open(connector, machine, known=known)
        assert not session.facts.supervisor["running"]
        await session.close()
        assert known.of(machine) is None
    finally:
        await connector.close()


def running(run: str) -> Any:
    found = facts("here")
    return replace(
        found, root="/home/robot/.local/share/dora", run=run, supervisor={"running": True}
    )


def test_only_a_socket_below_the_stores_root_is_known(tmp_path: Path) -> None:
    """In /tmp anybody may have put one since the machine was started."""
    known, machine = Known(tmp_path / "machines.json"), Machine("here", "10.0.0.1")
    known.note(machine, running("/tmp/dora-1000-abcdef"))
    assert known.of(machine) is None
    known.note(machine, running("/home/robot/.local/share/dora/run"))
    found = known.of(machine)
    assert Whereabouts(SOCKET, running("").python) == found
    assert known.of(replace(machine, user="other")) is None
    assert known.of(replace(machine, python="/usr/bin/python3.12")) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": ["x"]}', "null"])
def test_a_damaged_note_is_begun_anew(tmp_path: Path, text: str) -> None:
    """It is nothing but a short cut."""
    file = tmp_path / "machines.json"
    file.write_text(text)
    known, machine = Known(file), Machine("here", "10.0.0.1")
    assert known.of(machine) is None
    known.note(machine, running("/home/robot/.local/share/dora/run"))
    known.save()
    assert SOCKET == getattr(Known(file).of(machine), "socket", None)
