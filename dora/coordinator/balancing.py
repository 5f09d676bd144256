"""Looks at the load of replicas now and then, and scales their nodes. Laptop only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deploy.errors import DeployError
from deploy.session import Session
from deploy.store.local import LocalStore
from deploy.undertaking import Closures
from dora.coordinator.autoscale import Autoscaler, load_of
from dora.coordinator.cache import cache_folder
from dora.coordinator.contact import Contact
from dora.coordinator.deploy import Deployed, carry_out
from dora.coordinator.scale import plan_scale
from dora.coordinator.status import NodeStatus, status
from dora.dataflow.model import Dataflow
from dora.errors import DoraError

LOOK = 2.0  # s between looks; nodes tell about once a second what waits


class Balancing:
    """Of one deployment. Keeps, of each node that scales itself, what was seen of it lately."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: dict[str, Autoscaler] = {}

    def follow(self, dataflow: Dataflow) -> None:
        """From now on as these files say."""
        bounds = {it.id: it.deploy.autoscale for it in dataflow.nodes.values()}
        kept = self._nodes
        self._nodes = {
            node: kept[node] if node in kept and kept[node].bounds == its else Autoscaler(its)
            for node, its in bounds.items()
            if its is not None
        }

    @property
    def is_asked_for(self) -> bool:
        return bool(self._nodes)

    async def look(self, found: Contact, now: float) -> dict[str, int]:
        """Node -> how many replicas it should have, of those that should have another number."""
        rows: dict[str, list[NodeStatus]] = {node: [] for node in self._nodes}
        for row in (await status(found, self._name)).nodes:
            node, _, number = row.node.rpartition(".")
            if node in rows and number.isdigit():
                rows[node].append(row)
        wanted = {}
        for node, scaler in self._nodes.items():
            if count := len(rows[node]):
                decided = scaler.decide(now, count, load_of(rows[node]))
                if decided != count:
                    wanted[node] = decided
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
            told = ", ".join(f"{node} {now} -> {then}" for node, (now, then) in changes.items())
            say(f"{self._name}: {told}")
            closures = Closures(LocalStore(str(cache_folder())), {})  # machines have all of it
            return await carry_out(plan, closures, sessions, note=f"autoscale {told}", **options)
        except (DoraError, DeployError) as error:
            say(f"{self._name}: not scaled: {error}")
            return None
