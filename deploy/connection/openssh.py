"""A machine as the system's own `ssh` is told of it. Pure; laptop only.

Where the inventory says nothing, ssh's own configuration counts, as it does for our connections.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from deploy.inventory import Machine

# ssh asks this for each host key, with the key's fingerprint, and believes what it prints: the key,
# if it is the pinned one, and otherwise nothing.
PIN = 'test "$2" = "$1" && echo "$3 $4 $5"; exit 0'
ACCEPT_NEW = ["-o", "StrictHostKeyChecking=accept-new"]


def ssh_command(
    machine: Machine, words: Sequence[str] = (), *, accept_new: bool = False
) -> list[str]:
    """The argv that logs in, or runs `words` there: several as they are, a single one as a line of
    the shell. For a pinned host key it needs OpenSSH 8.5 or newer on this laptop."""
    argv = ["ssh"]
    if machine.port is not None:
        argv += ["-p", str(machine.port)]
    if machine.user is not None:
        argv += ["-l", machine.user]
    if machine.identity is not None:
        argv += ["-i", os.path.expanduser(machine.identity)]
    if machine.jump is not None:
        argv += _jump(machine.jump, machine.identity, accept_new)
    if machine.host_key is not None:
        argv += _pinned(machine.host_key)
    elif accept_new:
        argv += ACCEPT_NEW
    argv += ["--", machine.host]
    if words:
        argv.append(words[0] if len(words) == 1 else shlex.join(words))
    return argv


def _pinned(fingerprint: str) -> list[str]:
    """Nobody else's word counts: neither known_hosts nor DNS."""
    asked = ["/bin/sh", "-c", PIN, "pin", fingerprint, "%f", "%H", "%t", "%K"]
    options = {
        "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "VerifyHostKeyDNS": "no",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "KnownHostsCommand": " ".join(map(_quoted, asked)),
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _quoted(word: str) -> str:
    """A word of an option's value, which ssh splits by itself, without a shell."""
    if word and not set(word) & set(" \t\"'\\"):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _jump(jump: str, identity: str | None, accept_new: bool) -> list[str]:
    """What the inventory and the user say holds for jump hosts, too; ssh -J would not tell them."""
    if identity is None and not accept_new:
        return ["-J", jump]
    before, _, last = jump.rpartition(",")
    proxy = ["ssh"]
    if identity is not None:
        proxy += ["-i", os.path.expanduser(identity)]
    if accept_new:
        proxy += ACCEPT_NEW
    if before:
        proxy += _jump(before, identity, accept_new)
    place = last.strip()
    target = place if place.startswith("ssh://") else f"ssh://{place}"
    line = shlex.join([*proxy, "-W", "HOST:PORT", "--", target]).replace("%", "%%")
    return ["-o", f"ProxyCommand={line.replace('HOST:PORT', '[%h]:%p')}"]
