"""What all commands on machines share: the options that choose them, and reaching them. Laptop."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from deploy.connection.connect import Connections
from deploy.events import Emit
from deploy.inventory import Inventory, Machine
from deploy.whereabouts import Known
from dora.cli import files
from dora.cli.exits import Exit
from dora.cli.output import Output
from dora.cli.standby import start
from dora.coordinator.cache import cache_folder
from dora.coordinator.contact import Contact, contact
from dora.coordinator.seen import Seen


@dataclass(frozen=True)
class Fleet:
    """The machines that a command is about, and where its words go."""

    inventory: Inventory
    machines: tuple[Machine, ...]
    connections: Connections
    out: Output
    limit: str | None = None

    def chosen_of(self, inventory: Inventory) -> tuple[Machine, ...]:
        """What `--limit` selects of the inventory as it is now."""
        return files.chosen(inventory, self.limit)

    def only(self, pattern: str) -> Fleet:
        """Those of the inventory that a command's argument selects, and `--limit` leaves."""
        names = {machine.id for machine in self.machines}
        found = files.chosen(self.inventory, pattern, "MACHINES")
        return replace(self, machines=tuple(it for it in found if it.id in names))

    def exactly(self, names: Collection[str]) -> Fleet:
        """These machines and no others."""
        return replace(self, machines=tuple(it for it in self.machines if it.id in names))

    @asynccontextmanager
    async def contact(
        self,
        deployment: str | None = None,
        *,
        emit: Emit | None = None,
        starting: bool = False,
        meanwhile: Callable[[], object] | None = None,
    ) -> AsyncIterator[Contact]:
        """A session to each machine that answers; all is closed at the end. `deployment` is what
        is about to be deployed, if anything is, and `starting` whether supervisors are to run
        for that. `emit` hears how it goes; else `out`. `meanwhile` is called in a thread."""
        start.is_worth_it()
        known, seen = Known(cache_folder() / "machines.json"), Seen(cache_folder() / "seen.json")
        told = self.out.event if emit is None else emit
        reached = contact(
            self.connections, self.machines, told, deployment, known, starting, meanwhile
        )
        try:
            async with reached as found:
                lost = {it.id: seen.last(it) for it in self.machines if it.id in found.unreachable}
                found.last_seen = {name: at for name, at in lost.items() if at is not None}
                yield found
                seen.note(it for it in self.machines if it.id not in found.unreachable)
        finally:
            await self.connections.close()


Work = Callable[..., Coroutine[Any, Any, Exit]]


def on_fleet(work: Work) -> Work:
    """Gives a command the options --inventory, --limit, --accept-new, --json and --verbose, and
    `work` a Fleet made of them. An inventory is also looked for beside the command's `flow`."""

    @files.inventory_option
    @files.limit_option
    @files.accept_new_option
    @files.json_option
    @files.verbose_option
    @functools.wraps(work)
    async def run(
        inventory: str | None,
        limit: str | None,
        accept_new: bool,
        as_json: bool,
        verbose: bool,
        **arguments: Any,
    ) -> Exit:
        out = Output(as_json=as_json, verbose=verbose)
        machines = files.find_inventory(inventory, arguments.get("flow"))
        chosen = files.chosen(machines, limit)
        return await work(
            fleet=Fleet(machines, chosen, Connections(accept_new=accept_new), out, limit),
            **arguments,
        )

    return run


def exit_of(found: Contact) -> Exit:
    """Done, unless somebody did not answer who should have."""
    return Exit.UNREACHABLE if found.required_unreachable else Exit.DONE
