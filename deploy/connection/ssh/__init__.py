"""Connections over SSH: the one home of asyncssh, whose exceptions never leave it. Laptop only.

Importing it takes 0.15 s; import it where a connection is about to be made.
"""

from deploy.connection.ssh.connector import SshConnector

__all__ = ["SshConnector"]
