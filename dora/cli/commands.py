"""The commands of `dora`: one file each, loaded when it is called. Laptop only."""

from __future__ import annotations

import gc as garbage  # `gc` is what this package calls its command, once that is loaded
import importlib
from typing import Any

import click

# In the order of a user's day; `module:attribute` below dora.cli.
COMMANDS = {
    "run": ("run", "Run a dataflow on this machine, in the foreground."),
    "validate": ("validate", "Check a flow file, and its inventory if given."),
    "graph": ("graph", "Draw a dataflow as Mermaid text or as an HTML page."),
    "plan": ("plan", "Show what a deployment would change, and why."),
    "deploy": ("deploy", "Make machines run a dataflow, then watch it."),
    "rebalance": ("rebalance", "Move nodes of a running dataflow to where they send less."),
    "coordinator": ("coordinator", "Deploy, stay attached, and deploy what is saved."),
    "attach": ("attach", "Watch what runs already, from any laptop."),
    "status": ("status", "Show what runs where."),
    "top": ("top", "Show live what nodes and operators do."),
    "topic": ("topic", "Show outputs, what goes through them, and who reads them."),
    "why": ("why", "Tell why no data comes to an input."),
    "logs": ("logs", "Show what nodes have printed."),
    "scale": ("scale", "Run more or fewer replicas of a node."),
    "reload": ("reload", "Have a running operator read its file again."),
    "restart": ("restart", "Start a node anew."),
    "stop": ("stop", "Stop a deployment on all its machines."),
    "generations": ("generations", "List what was deployed, and what became of it."),
    "diff": ("diff", "Show what differs between two revisions, and why."),
    "rollback": ("rollback", "Run again what ran before."),
    "gc": ("gc", "Remove old generations, and what nothing needs."),
    "store": ("store", "Verify or repair what machines keep."),
    "state": ("state", "Look at what nodes and operators keep, or clear it."),
    "unlock": ("unlock", "Take a deployment's lock from whoever has it."),
    "doctor": ("doctor", "Examine all machines; each problem with its remedy."),
    "machines": ("machines", "Look at the machines of an inventory."),
    "standby": ("standby.command", "Look at what waits for the next command, or stop it."),
}

EPILOG = """\b
Exit codes: 0 done or nothing to do; 1 failed; 2 usage; 3 files invalid; 4 some machine
unreachable; 5 applied, not healthy, rolled back; 6 lock held or plan stale; 130 interrupted.
"""


class _Commands(click.Group):
    """Imports a command's module only when that command is used: `dora --help` stays quick."""

    def main(self, *args: Any, **extra: Any) -> Any:
        # Starting makes no garbage, and looking for some took a seventh of its time; `exits` has
        # it collected again where a command stays.
        garbage.disable()
        try:
            return super().main(*args, **extra)
        finally:
            garbage.enable()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = importlib.import_module(f"dora.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dora-fleet", prog_name="dora")
def main() -> None:
    """Run robot software on several machines, without a cluster manager."""
