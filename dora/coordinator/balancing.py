"""Looks at the load of replicas now and then, and scales nodes and operators. Laptop only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from deploy.errors import DeployError
from deploy.session import Session
from deploy.store.local import LocalStore
from deploy.undertaking import Closures
from dora.coordinator.autoscale import Autoscaler, Load, load_of, operator_load
from dora.coordinator.cache import cache_folder
from dora.coordinator.contact import Contact
from dora.coordinator.deploy import Deployed, carry_out
from dora.coordinator.scale import plan_scale
from dora.coordinator.status import NodeStatus, status
from dora.dataflow.model import Dataflow
from dora.errors import DoraError

LOOK = 2.0  # s between looks; nodes tell about once a second what waits


class Balancing:
    """Of one deployment. Keeps what was seen lately of each node, and operator (`node/operator`),
    that scales itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._scalers: dict[str, Autoscaler] = {}

    def follow(self, dataflow: Dataflow) -> None:
        """From now on as these files say."""
        bounds = {it.id: it.deploy.autoscale for it in dataflow.nodes.values()}
        for node in dataflow.nodes.values():
            bounds.update({f"{node.id}/{it.id}": it.autoscale for it in node.operators})
        kept = self._scalers
        self._scalers = {
            name: kept[name] if name in kept and kept[name].bounds == its else Autoscaler(its)
            for name, its in bounds.items()
            if its is not None
        }

    @property
    def is_asked_for(self) -> bool:
        return bool(self._scalers)

    async def look(self, found: Contact, now: float) -> dict[str, int]:
        """Node or operator -> how many replicas it should have, of those that should have another
        number."""
        return self.decide((await status(found, self._name)).nodes, now)

    def decide(self, rows: Iterable[NodeStatus], now: float) -> dict[str, int]:
        """As `look`, from what was found. `now` are seconds of any clock that does not jump."""
        wanted = {}
        for name, (count, load) in _loads(rows, self._scalers).items():
            decided = self._scalers[name].decide(now, count, load)
            if decided != count:
                wanted[name] = decided
        return wanted

    async def scale(
        self,
        sessions: Mapping[str, Session],
        counts: Mapping[str, int],
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> Deployed | None:
        """None if that cannot be at the moment: somebody else deploys, or a machine is away."""
        try:
            plan, changes = await plan_scale(self._name, sessions, counts)
            told = ", ".join(f"{name} {now} -> {then}" for name, (now, then) in changes.items())
            say(f"{self._name}: {told}")
            closures = Closures(LocalStore(str(cache_folder())), {})  # machines have all of it
            return await carry_out(plan, closures, sessions, note=f"autoscale {told}", **options)
        except (DoraError, DeployError) as error:
            say(f"{self._name}: not scaled: {error}")
            return None


def _loads(
    rows: Iterable[NodeStatus], names: Collection[str]
) -> dict[str, tuple[int, Load | None]]:
    """Of these nodes and operators, as far as they are there: how many replicas, and their load."""
    nodes: dict[str, list[NodeStatus]] = {}
    found: dict[str, tuple[int, Load | None]] = {}
    for row in rows:
        node, _, number = row.node.rpartition(".")
        if node in names and number.isdigit():
            nodes.setdefault(node, []).append(row)
        for operator, count in row.replicas.items():
            name = f"{row.node}/{operator}"
            if name in names:
                found[name] = count, operator_load(row, operator)
    found.update({node: (len(its), load_of(its)) for node, its in nodes.items()})
    return found
