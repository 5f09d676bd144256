"""`dora deploy plan.json`: a saved plan for a flow file, done as it was shown. Laptop only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.facts import Installed
from dora.cli.fleet import Fleet
from dora.coordinator import planfile
from dora.coordinator.contact import Contact
from dora.coordinator.planfile import SavedPlan
from dora.errors import StalePlan

if TYPE_CHECKING:
    from dora.coordinator.prepare import Prepared

MOST = 8  # reasons that are named


@dataclass(frozen=True)
class Source:
    """What a command was given: a flow file, or the plan that was made of one."""

    flow: str
    plan: SavedPlan | None = None

    @classmethod
    def of(cls, argument: str) -> Source:
        """Raises PlanFileError."""
        plan = planfile.read(Path(argument))
        return cls(argument) if plan is None else cls(plan.flow, plan)

    def fleet(self, fleet: Fleet, name: str | None) -> Fleet:
        """The machines of the plan: those that answered when it was made. Raises StalePlan."""
        plan = self.plan
        if plan is None:
            return fleet
        limited = len(fleet.machines) < len(fleet.inventory.machines)
        if limited or name not in (None, plan.deployment):
            raise click.UsageError("a saved plan says itself what is deployed where: no --name, -l")
        lacking = sorted(plan.machines.keys() - fleet.inventory.machines.keys())
        if lacking:
            raise stale([f"the inventory has no {it} any more" for it in lacking])
        if not Path(plan.flow).exists():
            raise stale([f"there is no {plan.flow} any more"])
        return fleet.exactly(plan.machines)

    def check_machines(self, found: Contact) -> None:
        """Raises StalePlan when some machine does not run what it ran, or the error of one that
        does not answer: carried out in parts, it would be another plan."""
        if self.plan is None:
            return
        for error in found.unreachable.values():
            raise error
        from dora.coordinator import saved

        if moved := saved.moved_on(self.plan, installed(found, self.plan.deployment)):
            raise stale(moved)

    def check_files(self, prepared: Prepared, found: Contact, inventory: str) -> None:
        """Raises StalePlan when the files give something else now."""
        if self.plan is None:
            return
        from dora.coordinator import saved

        now = saved.saved(prepared, self.flow, inventory, installed(found, self.plan.deployment))
        if changed := saved.unlike(self.plan, now):
            raise stale(changed)


def installed(found: Contact, deployment: str) -> dict[str, Installed | None]:
    """What all machines that answered run of it."""
    return {
        machine: session.facts.deployments.get(deployment)
        for machine, session in found.sessions.items()
    }


def stale(reasons: list[str]) -> StalePlan:
    named = [*reasons[:MOST], *([f"{len(reasons) - MOST} more"] if len(reasons) > MOST else [])]
    return StalePlan(
        f"the plan is stale: {'; '.join(named)}; nothing was changed",
        hint="look at a new one: dora plan --out",
    )
