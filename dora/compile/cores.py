"""Pure: which CPU cores each node of a machine runs on. Laptop only.

A node that asks for N cores gets N physical ones with all their hardware threads, for itself alone:
no other node that is pinned, of whatever deployment, runs on one of their threads. They lie as
close together as they can: in one cluster, else under one cache, in one NUMA node, in one package.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from deploy.topology import Core, Pinned
from deploy.unit import EXCLUSIVE, NAMED, SHARED
from dora.dataflow.model import Node
from dora.errors import DoraError


@dataclass(frozen=True)
class Cores:
    """Of one node; as in `deploy.unit.Unit`."""

    numbers: tuple[int, ...]
    pin: str = SHARED


@dataclass(frozen=True)
class Physical:
    """A physical core: those of its hardware threads that may be used. `whole`: all that it has.
    `sample` is one of them, for all that they have in common."""

    threads: tuple[int, ...]
    whole: bool
    sample: Core


# From near to far: what cores can have in common.
LEVELS: tuple[Callable[[Physical], int], ...] = (
    lambda core: core.sample.cluster,
    lambda core: core.sample.cache,
    lambda core: core.sample.numa,
    lambda core: core.sample.package,
)


def usable(
    topology: Sequence[Core], allowed: Iterable[int], limit: Collection[int] | None
) -> tuple[int, ...]:
    """The cores that dataflows may use: those that the machine lets us use, and the inventory."""
    there = {core.number for core in topology}
    return tuple(sorted(it for it in allowed if it in there and (limit is None or it in limit)))


def assign_cores(
    machine: str,
    nodes: Sequence[Node],
    topology: Sequence[Core],
    allowed: Iterable[int],
    *,
    limit: Collection[int] | None = None,
    others: Iterable[Pinned] = (),
    current: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, Cores]:
    """Cores for each node: `cpu_affinity` names them, `deploy.cores: N` takes N for itself alone.

    `allowed` are the cores that processes may use there, `limit` those of the inventory (None: it
    does not say), `others` whom other deployments have pinned, `current` the exclusive cores that
    nodes have now: they keep them if they can. Nodes that have asked for as many as there are get
    theirs before those that ask for fewer. Who asks for none shares what is left, which the machine
    sees to; nothing is named for it but the inventory's limit.
    Raises DoraError when there are not enough, or none at all, or somebody else has those that are
    named.
    """
    may = usable(topology, allowed, limit)
    if limit is not None and not may:
        raise DoraError(
            f"machine {machine!r} has none of the cores that its inventory names",
            hint="correct `cores:` there; `dora machines check` shows what the machine has",
        )
    others = list(others)
    named = {node.id: tuple(sorted(node.cpu_affinity)) for node in nodes if node.cpu_affinity}
    for id, cores in named.items():
        _refuse_taken(machine, id, cores, others)
    taken = {core for cores in named.values() for core in cores}
    taken |= {core for other in others for core in other.cores}
    free = physical_cores(topology, may, taken)
    everything = len(physical_cores(topology, may, ()))
    found = {id: Cores(cores, NAMED) for id, cores in named.items()}
    asking = [node for node in nodes if node.deploy.cores and node.id not in found]
    for node in asking:
        kept = _kept(free, (current or {}).get(node.id, ()), node.deploy.cores or 0)
        if kept:
            found[node.id] = _exclusive(kept)
            free = [core for core in free if core not in kept]
    for node in sorted(asking, key=lambda node: -(node.deploy.cores or 0)):
        if node.id in found:
            continue
        count = node.deploy.cores or 0
        if count > len(free):
            raise _too_few(machine, node, len(free), everything, others)
        chosen = choose(free, count, node.deploy.core_kind)
        found[node.id] = _exclusive(chosen)
        free = [core for core in free if core not in chosen]
    shared = Cores(may) if limit is not None else Cores(())
    return {node.id: found.get(node.id, shared) for node in nodes}


def cores_left(
    topology: Sequence[Core],
    allowed: Iterable[int],
    limit: Collection[int] | None,
    others: Iterable[Pinned],
) -> int:
    """How many physical cores nodes can have for themselves alone beside `others`."""
    taken = {core for other in others for core in other.cores}
    return len(physical_cores(topology, usable(topology, allowed, limit), taken))


def physical_cores(
    topology: Sequence[Core], may: Collection[int], taken: Collection[int]
) -> list[Physical]:
    """Those of which some threads may be used, and no thread at all is taken."""
    groups: dict[int, list[Core]] = {}
    for core in topology:
        groups.setdefault(core.physical, []).append(core)
    found = []
    for threads in groups.values():
        ours = sorted(core for core in threads if core.number in may)
        if ours and not any(core.number in taken for core in threads):
            numbers = tuple(core.number for core in ours)
            found.append(Physical(numbers, len(ours) == len(threads), ours[0]))
    return found


def choose(free: Sequence[Physical], count: int, kind: str | None = None) -> list[Physical]:
    """`count` of these. With a kind, all of the biggest (or littlest) come before any other."""
    chosen: list[Physical] = []
    sizes = {core.sample.capacity for core in free} if kind else set()
    for size in sorted(sizes, reverse=kind == "big"):
        of_size = [core for core in free if core.sample.capacity == size]
        if len(chosen) < count:
            chosen += _near(of_size, min(count - len(chosen), len(of_size)))
    return chosen or _near(free, count)


def _near(free: Sequence[Physical], count: int, level: int = len(LEVELS)) -> list[Physical]:
    """`count` of these, which are of one group of `level` (and of no other in common that is
    nearer): of the smallest group that has them, leaving as little of it as possible.

    Where only several groups together have them, whole groups are taken, the largest first.
    """
    nearest = next((it for it in range(level) if _most(free, it) >= count), level)
    if nearest < level:
        fitting = [group for group in _grouped(free, nearest) if len(group) >= count]
        return _near(min(fitting, key=partial(_merit, free, count, nearest)), count, nearest)
    if level == 0:
        return sorted(free, key=lambda core: (not core.whole, -core.threads[0]))[:count]
    largest = max(_grouped(free, level - 1), key=lambda group: (len(group), _last(group)))
    rest = [core for core in free if core not in largest]
    return largest + _near(rest, count - len(largest), level)


def _merit(
    free: Sequence[Physical], count: int, level: int, group: Sequence[Physical]
) -> tuple[int, ...]:
    """The less, the better: threads of others beside ours, then what the groups around it, from
    near to far, have free; then from the top, as the kernel's own work tends to be at the bottom.
    """
    around = [sum(of(core) == of(group[0]) for core in free) for of in LEVELS[level:]]
    return (max(0, count - sum(core.whole for core in group)), *around, -_last(group))


def _grouped(free: Iterable[Physical], level: int) -> list[list[Physical]]:
    groups: dict[int, list[Physical]] = {}
    for core in free:
        groups.setdefault(LEVELS[level](core), []).append(core)
    return list(groups.values())


def _most(free: Iterable[Physical], level: int) -> int:
    return max(map(len, _grouped(free, level)))


def _last(group: Iterable[Physical]) -> int:
    return max(core.threads[0] for core in group)


def _kept(free: Sequence[Physical], had: tuple[int, ...], count: int) -> list[Physical]:
    """What a node has, if it may keep that; else nothing."""
    kept = [core for core in free if set(core.threads) & set(had)]
    same = tuple(sorted(thread for core in kept for thread in core.threads)) == tuple(sorted(had))
    return kept if same and len(kept) == count else []


def _exclusive(chosen: Iterable[Physical]) -> Cores:
    return Cores(tuple(sorted(it for core in chosen for it in core.threads)), EXCLUSIVE)


def _refuse_taken(machine: str, id: str, cores: Collection[int], others: Iterable[Pinned]) -> None:
    for other in others:
        both = sorted(other.cores & set(cores)) if other.pin == EXCLUSIVE else []
        if both:
            raise DoraError(
                f"node {id!r} names {_numbers(both)} of machine {machine!r}, which {other.unit} "
                f"of {other.deployment} has for itself alone",
                hint="name other cores in `cpu_affinity`, or say how many: deploy: {cores: N}",
            )


def _too_few(
    machine: str, node: Node, free: int, everything: int, others: Iterable[Pinned]
) -> DoraError:
    holders = ", ".join(f"{it.unit} of {it.deployment}" for it in others)
    held = f" ({holders} {'have' if ',' in holders else 'has'} some)" if holders else ""
    return DoraError(
        f"node {node.id!r} asks for {node.deploy.cores} cores of machine {machine!r}, "
        f"where {free} of {everything} are left{held}",
        hint="ask for fewer, place it elsewhere, or widen `cores:` in the inventory",
    )


def _numbers(cores: Sequence[int]) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(map(str, cores))}"
