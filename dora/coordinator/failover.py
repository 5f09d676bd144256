"""Which machines count as lost, and when nodes are to be placed anew for that. Pure; laptop only.

A machine is lost when it was not heard for its grace time. What may move has a lease on it that is
shorter, and is renewed only while the machine is in step: while it has carried out the last
deployment. So nothing is started elsewhere before it has ended there, and a machine that returns
starts nothing that was moved: it is in step again once it was told what is its own.

Nothing here has a clock or a connection; `now` are seconds of a clock that does not jump. What is
to be done is returned by `decide`; `began` and `ended` tell what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from dora.placement.bars import Bars

RESTARTS, WINDOW = 5, 60.0  # so many restarts in so many seconds are as bad as giving up
RETRY, LONGEST_RETRY = 5.0, 60.0  # seconds until what could not be done is tried again


@dataclass(frozen=True)
class Place:
    """Nodes are to be placed anew, with the `bars` of that moment; `reasons` say why."""

    reasons: tuple[str, ...]


@dataclass
class _Watched:
    """A machine. `heard`: when an answer of it came last, or since when it has been waited for."""

    grace: float
    heard: float
    lost: str = ""  # since when, for people
    in_step: bool = False
    contested: str = ""  # who else keeps its leases
    moving: frozenset[str] = frozenset()  # nodes placed there that may move


@dataclass
class _Node:
    restarts: list[float] = field(default_factory=list)
    count: int | None = None


class Failover:
    """Of one deployment. `graces`: machine -> seconds."""

    def __init__(self, graces: Mapping[str, float], now: float) -> None:
        self._machines = {name: _Watched(grace, now) for name, grace in graces.items()}
        self._asked_for = False
        self._failed: dict[str, dict[str, str]] = {}  # node -> machine -> why
        self._nodes: dict[tuple[str, str], _Node] = {}
        self._reasons: list[str] = []
        self._under_way: list[str] | None = None  # the reasons that a deployment began with
        self._present: frozenset[str] = frozenset()  # the machines that it began with
        self._due: float | None = None
        self._pause = RETRY

    def __repr__(self) -> str:
        lost = [name for name, it in self._machines.items() if it.lost]
        return f"<Failover lost {lost}, failed {self._failed}, due {self._due}>"

    # what is so

    @property
    def is_asked_for(self) -> bool:
        """Whether any node may move."""
        return self._asked_for

    def renews(self, machine: str) -> bool:
        """Whether the leases of the machine may be renewed."""
        return self._machines[machine].in_step

    @property
    def places(self) -> dict[str, str]:
        """Where the nodes that may move are, as far as it is known."""
        return {node: name for name, it in self._machines.items() for node in it.moving}

    @property
    def bars(self) -> Bars:
        """For every placement from now on, whoever asks for it."""
        lost = {name: it for name, it in self._machines.items() if it.lost}
        bars: dict[str, dict[str, str]] = {}
        for name, it in lost.items():
            for node in it.moving:
                bars.setdefault(node, {})[name] = f"lost since {it.lost}"
        for node, machines in self._failed.items():
            bars.setdefault(node, {}).update(machines)
        return bars

    # what happened

    def follow(self, nodes: Mapping[str, str]) -> None:
        """Where the nodes that may move are, by the last placement."""
        self._asked_for = bool(nodes)
        for name, it in self._machines.items():
            it.moving = frozenset(node for node, machine in nodes.items() if machine == name)

    def forgive(self) -> None:
        """The files were changed: what has failed may do better."""
        self._failed.clear()
        self._nodes.clear()

    def heard(self, machine: str, now: float) -> None:
        """It has answered us, who keep its leases."""
        it = self._machines[machine]
        it.heard, it.contested = now, ""
        if it.lost:
            it.lost = ""
            self._ask(f"{machine} is back", now)
        elif not it.in_step and not self._reasons and self._under_way is None:
            self._ask(f"{machine} has missed a deployment", now)

    def contested(self, machine: str, owner: str, now: float) -> None:
        """It answers, and somebody else keeps its leases."""
        it = self._machines[machine]
        it.heard, it.contested = now, owner

    def told(
        self, machine: str, node: str, state: str, restarts: int, why: str, now: float
    ) -> None:
        """The state of a unit, as its machine tells it."""
        it = self._machines.get(machine)
        if it is None or node not in self.places:
            return
        if node not in it.moving:
            # Only a machine in step: one that returns may tell of what it has to give up.
            if state != "running" or not it.in_step or self._under_way is not None:
                return
            for other in self._machines.values():
                other.moving -= {node}
            it.moving |= {node}  # somebody else had it moved: rolled back, or deployed
        seen = self._nodes.setdefault((machine, node), _Node())
        if seen.count is not None and restarts > seen.count:
            seen.restarts = [then for then in seen.restarts if then > now - WINDOW]
            seen.restarts += [now] * (restarts - seen.count)
        seen.count = restarts
        if state == "failed":
            self._fails(machine, node, why or "it failed", now)
        elif len(seen.restarts) >= RESTARTS:
            often = f"it was started anew {len(seen.restarts)} times in {WINDOW:.0f} s"
            self._fails(machine, node, f"{often}; {why}" if why else often, now)

    def _fails(self, machine: str, node: str, why: str, now: float) -> None:
        if machine not in self._failed.get(node, {}):
            self._failed.setdefault(node, {})[machine] = why
            self._ask(f"{node} keeps failing on {machine}: {why}", now)

    # what is to be done

    def decide(self, now: float, clock: Callable[[float], str]) -> Place | None:
        """What is to be done now, if anything. `clock` tells what people call a moment. Where
        somebody else keeps the leases of a machine, what becomes of nodes is up to them."""
        contested = any(it.contested for it in self._machines.values())
        if not self._asked_for or contested or self._under_way is not None:
            return None
        for name, it in self._machines.items():
            if not it.lost and now - it.heard >= it.grace:
                it.lost, it.in_step = clock(it.heard), False
                if it.moving:
                    nodes = ", ".join(sorted(it.moving))
                    self._ask(f"{name} was not heard for {it.grace:.0f} s; it had {nodes}", now)
        if self._due is None or now < self._due:
            return None
        return Place(tuple(self._reasons))

    def began(self, present: Collection[str]) -> None:
        """A deployment begins, for whatever reason, with these machines: the others miss it."""
        self._under_way = list(self._reasons)
        self._present = frozenset(present)
        for name, it in self._machines.items():
            if name not in present:
                it.in_step = False

    def broke_off(self, now: float) -> None:
        """It is over, whatever came of it. Whoever deploys has renewed leases, too."""
        self._under_way = None
        for name in self._present & self._machines.keys():
            self._machines[name].heard = now
        self._present = frozenset()

    def ended(self, well: Collection[str], now: float) -> None:
        """It was carried out, by these machines. One that fell silent meanwhile may have heard of
        it in part; it is told again when it is back."""
        for name in well:
            if name in self._machines and not self._machines[name].lost:
                self._machines[name].in_step = True
        done = self._under_way or []
        self.broke_off(now)
        self._reasons = [reason for reason in self._reasons if reason not in done]
        self._due, self._pause = (now if self._reasons else None), RETRY

    def unhealthy(self, machine: str, node: str, why: str, now: float) -> bool:
        """A node did not become healthy where it was tried. Whether that is one that had to leave
        another machine; then it is tried elsewhere."""
        if node not in self.bars or machine in self._failed.get(node, {}):
            return False
        self._failed.setdefault(node, {})[machine] = why
        self._ask(f"{node} does not become healthy on {machine}: {why}", now)
        return True

    def put_off(self, now: float) -> float | None:
        """It could not be done. How many seconds later it is tried again, if there is a reason."""
        self.broke_off(now)
        if not self._reasons:
            return None
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_RETRY)
        self._due = now + pause
        return pause

    def _ask(self, reason: str, now: float) -> None:
        if reason not in self._reasons:
            self._reasons.append(reason)
        self._due, self._pause = now, RETRY
