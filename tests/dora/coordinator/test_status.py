"""What runs where, as far as machines tell."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

from deploy.connection.embedded import EmbeddedConnector
from deploy.facts import Installed
from deploy.inventory import Machine
from deploy.session import Session
from dora.coordinator.contact import Contact
from dora.coordinator.status import status
from tests.deploy.supervisor.machine import alive, until


async def test_a_link_that_is_lost_meanwhile_hides_no_other_machine(tmp_path: Path) -> None:
    """Its machine counts as unreachable, the others are told."""
    connector = EmbeddedConnector(tmp_path)
    try:
        sessions = {
            name: await Session.open(connector, Machine(name, "embedded")) for name in ("a", "b")
        }
        installed = {"flow": Installed(current=1, hash="h")}
        lost = sessions["b"]
        lost.facts = replace(lost.facts, deployments=installed)
        await lost.connection.close()
        contact = Contact(sessions=sessions)
        found = await status(contact)

        assert {"a": "up", "b": "unknown"} == {
            name: row["link"] for name, row in found.machines.items()
        }
        assert ("b",) == contact.required_unreachable
        await sessions["a"].close()
    finally:
        await connector.close()


async def test_a_supervisor_that_has_left_meanwhile_is_no_lost_machine(tmp_path: Path) -> None:
    """It had nothing to do, and others were waited for: the machine answers all the same."""
    root = tempfile.mkdtemp(prefix="dora-")  # short enough for its socket to lie in it
    connector, machine = EmbeddedConnector(tmp_path), Machine("here", "embedded", store=root)
    try:
        session = await Session.open(connector, machine)
        await session.start_supervisor()
        pid = (await session.request("hello"))["pid"]
        await session.close()
        session = await Session.open(connector, machine)
        assert session.facts.supervisor["running"]
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), "its end")
        found = await status(Contact(sessions={"here": session}))
        assert ("up", False) == tuple(found.machines["here"][it] for it in ("link", "supervisor"))
        await session.close()
    finally:
        await connector.close()
        shutil.rmtree(root)
