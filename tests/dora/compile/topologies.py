"""Machines that were made up: hardware threads, clusters, sockets, big and little cores."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from deploy.topology import Core


def machine(
    *,
    packages: int = 1,
    clusters: int = 1,
    cores: int = 4,
    threads: int = 1,
    capacities: Sequence[int] = (1024,),
) -> tuple[Core, ...]:
    """`cores` in each of the `clusters` of each package, numbered as Linux does on x86: first one
    thread of each core, then the other. `capacities` are those of a package's clusters, in turn."""
    total = packages * clusters * cores
    found = []
    for thread in range(threads):
        for place in range(total):
            cluster = place // cores
            first = cluster * cores
            package = place // (clusters * cores) * clusters * cores
            found.append(
                Core(
                    number=thread * total + place,
                    physical=place,
                    cluster=first,
                    cache=first,
                    numa=package,
                    package=package,
                    capacity=capacities[cluster % clusters % len(capacities)],
                )
            )
    return tuple(sorted(found))


@st.composite
def machines(draw: st.DrawFn) -> tuple[Core, ...]:
    """Some cores may be switched off."""
    whole = machine(
        packages=draw(st.integers(1, 2)),
        clusters=draw(st.integers(1, 3)),
        cores=draw(st.integers(1, 4)),
        threads=draw(st.integers(1, 2)),
        capacities=draw(st.sampled_from([(1024,), (446, 1024), (250, 870, 1024)])),
    )
    off = draw(st.sets(st.sampled_from(whole), max_size=len(whole) - 1))
    return tuple(core for core in whole if core not in off)
