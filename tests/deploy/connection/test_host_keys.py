"""What becomes of a host key that was never seen before; logins are tested against real sshd."""

from __future__ import annotations

import pytest

from deploy.connection.ssh.host_keys import HostKeyCheck
from deploy.connection.ssh.library import asyncssh


def test_a_new_key_that_can_be_recorded_nowhere_is_refused() -> None:
    """With `UserKnownHostsFile none` every key would be new for ever."""
    check = HostKeyCheck("robot", 22, [], accept_new=True)
    key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    assert check.validate_host_public_key("robot", "", 22, key)
    with pytest.raises(OSError, match="UserKnownHostsFile"):
        check.remember()
