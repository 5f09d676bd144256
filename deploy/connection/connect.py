"""The connector of the command line: SSH, or a server of our own for `host: embedded`. Laptop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.connection.base import Connection, Connector
from deploy.inventory import Machine

if TYPE_CHECKING:
    from deploy.connection.embedded import EmbeddedConnector


class Connections:
    """Leads to every machine of an inventory in the way that suits it. Implements Connector."""

    def __init__(self, **ssh: Any) -> None:
        """`ssh`: what SshConnector takes, such as `accept_new`."""
        self._arguments = ssh
        self._ssh: Connector | None = None
        self._embedded: EmbeddedConnector | None = None

    async def connect(self, machine: Machine) -> Connection:
        # asyncssh takes long to import, so it is imported when the first connection is made.
        if machine.embedded:
            if self._embedded is None:
                from deploy.connection.embedded import EmbeddedConnector

                self._embedded = EmbeddedConnector()
            return await self._embedded.connect(machine)
        if self._ssh is None:
            from deploy.connection.ssh import SshConnector

            self._ssh = SshConnector(**self._arguments)
        return await self._ssh.connect(machine)

    async def close(self) -> None:
        for connector in (self._ssh, self._embedded):
            if connector is not None:
                await connector.close()
