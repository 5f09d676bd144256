"""Pure: which CPU cores each node of a machine runs on. Laptop only."""

from __future__ import annotations

from collections.abc import Sequence

from dora.dataflow.model import Node
from dora.errors import DoraError


def assign_cores(
    machine: str, nodes: Sequence[Node], usable: Sequence[int], *, limited: bool
) -> dict[str, tuple[int, ...]]:
    """Cores for each node: `cpu_affinity` names them, `deploy.cores: N` takes N for itself alone.

    Exclusive cores are taken from the top of `usable`, in the order of the file, so that the same
    files give the same cores. Who asked for none shares what is left; nothing is named for it (and
    so nothing pinned) when all of the machine is left and the inventory did not limit the cores.
    Raises DoraError when there are not enough.
    """
    named = {core for node in nodes for core in node.cpu_affinity}
    free = [core for core in usable if core not in named]
    taken: dict[str, tuple[int, ...]] = {}
    for node in nodes:
        if node.cpu_affinity:
            taken[node.id] = tuple(sorted(node.cpu_affinity))
        elif node.deploy.cores:
            count = node.deploy.cores
            if count > len(free):
                raise DoraError(
                    f"node {node.id!r} asks for {count} cores of machine {machine!r}, "
                    f"where {len(free)} of {len(usable)} are left",
                    hint="ask for fewer, place it elsewhere, or widen `cores:` in the inventory",
                )
            taken[node.id] = tuple(sorted(free[-count:]))
            free = free[:-count]
    # With nothing left, the others share all cores: slow is better than not at all.
    rest = tuple(free) or tuple(usable)
    shared = rest if limited or len(rest) < len(usable) else ()
    return {node.id: taken.get(node.id, shared) for node in nodes}
