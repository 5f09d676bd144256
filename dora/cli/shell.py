"""`dora machines ssh`: the system's own ssh, with what the inventory says. Laptop only."""

from __future__ import annotations

import os
import sys

import click

from deploy.connection.local import environment
from deploy.connection.openssh import ssh_command
from deploy.inventory import Machine
from dora.cli import files
from dora.cli.execute import BehindDashes
from dora.cli.exits import Exit, exiting
from dora.errors import DoraError


@click.command("ssh", cls=BehindDashes)
@click.argument("machine")
@files.inventory_option
@files.accept_new_option
@exiting
async def command(
    machine: str, words: tuple[str, ...], inventory: str | None, accept_new: bool
) -> Exit:
    """Log in to MACHINE, or run COMMAND there, through the system's ssh.

    User, port, key, jump hosts and pinned host key are the inventory's. Of an embedded machine it
    is a shell in its folder.
    """
    known = files.find_inventory(inventory).machines
    if machine not in known:
        raise click.UsageError(f"there is no machine {machine!r}; there are {', '.join(known)}")
    sys.stdout.flush()
    sys.stderr.flush()
    if known[machine].embedded:
        _become_shell(known[machine], words)
    argv = ssh_command(known[machine], words, accept_new=accept_new)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise DoraError(
            f"cannot run ssh: {error}", hint="apt-get install openssh-client"
        ) from error


def _become_shell(machine: Machine, words: tuple[str, ...]) -> None:
    """Where its commands run, and with what they get. Raises DoraError."""
    from deploy.connection.embedded import data_home  # slow to import, and rarely wanted here

    home = data_home() / "dora" / "embedded" / machine.id
    shell = os.environ.get("SHELL", "/bin/sh")
    argv = ["/bin/sh", "-c", words[0]] if len(words) == 1 else list(words) or [shell]
    try:
        home.mkdir(parents=True, exist_ok=True)
        os.chdir(home)
        more = {"TERM": os.environ.get("TERM", "dumb"), "SHELL": shell}
        os.execvpe(argv[0], argv, {**environment(home), **more})
    except OSError as error:
        raise DoraError(f"cannot run {argv[0]} in {home}: {error}") from error
