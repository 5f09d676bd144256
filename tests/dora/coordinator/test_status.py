"""What runs where, as far as machines tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploy.connection.embedded import EmbeddedConnector
from deploy.facts import Installed
from deploy.inventory import Machine
from deploy.session import Session
from dora.coordinator.contact import Contact
from dora.coordinator.status import status


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
