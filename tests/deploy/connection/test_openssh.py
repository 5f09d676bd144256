"""What the system's ssh is told follows from the inventory alone."""

from __future__ import annotations

import os
import subprocess

from deploy.connection.openssh import PIN, ssh_command
from deploy.inventory import Machine

KEY = "SHA256:aaaa"


def test_what_the_inventory_does_not_say_is_left_to_ssh() -> None:
    """Its own configuration, known_hosts and agent count."""
    assert ["ssh", "--", "rover.local"] == ssh_command(Machine("rover", "rover.local"))


def test_user_port_and_key_are_the_inventorys() -> None:
    """And words are quoted for the shell there, unless they are one line for it."""
    machine = Machine("rover", "10.0.0.2", port=2222, user="robot", identity="~/key")
    begin = ["ssh", "-p", "2222", "-l", "robot", "-i", os.path.expanduser("~/key"), "--"]

    assert [*begin, "10.0.0.2", "ls 'a b'"] == ssh_command(machine, ["ls", "a b"])
    assert [*begin, "10.0.0.2", "ls | wc"] == ssh_command(machine, ["ls | wc"])


def test_unknown_keys_are_trusted_only_when_asked() -> None:
    """And never in place of a pinned one."""
    known, pinned = Machine("a", "h"), Machine("a", "h", host_key=KEY)

    assert "StrictHostKeyChecking=accept-new" in ssh_command(known, accept_new=True)
    assert "StrictHostKeyChecking=yes" in ssh_command(pinned, accept_new=True)
    assert "StrictHostKeyChecking=accept-new" not in ssh_command(pinned, accept_new=True)


def test_a_pinned_key_leaves_no_other_way_to_trust() -> None:
    """No known_hosts file is read, and what ssh asks instead knows only the pin."""
    argv = ssh_command(Machine("a", "h", host_key=KEY))

    assert {"UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null"} <= set(argv)
    for offered, printed in ((KEY, "h type key\n"), ("SHA256:bbbb", ""), ("NONE", "")):
        asked = ["/bin/sh", "-c", PIN, "pin", KEY, offered, "h", "type", "key"]
        assert printed == subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def test_jump_hosts_get_the_same_key() -> None:
    """As our own connections do; without a key they are ssh's business."""
    plain = ssh_command(Machine("a", "h", jump="one,two"))
    keyed = ssh_command(Machine("a", "h", jump="one,me@two:23", identity="/my 100% key"))

    assert ["-J", "one,two"] == plain[1:3]
    (proxy,) = (word for word in keyed if word.startswith("ProxyCommand="))
    assert proxy.startswith("ProxyCommand=ssh -i '/my 100%% key' -o ")
    assert proxy.endswith("-W [%h]:%p -- ssh://me@two:23")
    assert "ssh://one" in proxy
