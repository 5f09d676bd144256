"""Which cores a node runs on: a pure decision about files, the machine's cores and what it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.topology import Core, Pinned, flat
from deploy.unit import EXCLUSIVE, NAMED, SHARED
from dora.compile.cores import Cores, assign_cores, physical_cores
from dora.dataflow.model import Deploy, Mark, Node
from dora.errors import DoraError
from tests.dora.compile.topologies import machine, machines

MARK = Mark("flow.yml", 1, 1)


def node(
    name: str, *, cores: int | None = None, kind: str | None = None, affinity: tuple[int, ...] = ()
) -> Node:
    deploy = Deploy(cores=cores, core_kind=kind)  # type: ignore[arg-type]
    return Node(id=name, mark=MARK, deploy=deploy, cpu_affinity=affinity)


def assigned(
    nodes: list[Node],
    topology: Iterable[Core] = flat(range(4)),
    *,
    allowed: Iterable[int] | None = None,
    **more: object,
) -> dict[str, Cores]:
    topology = tuple(topology)
    all_of_them = [core.number for core in topology] if allowed is None else allowed
    return assign_cores("base", nodes, topology, all_of_them, **more)  # type: ignore[arg-type]


def alone(*numbers: int) -> Cores:
    return Cores(numbers, EXCLUSIVE)


def test_nothing_is_pinned_when_nobody_asks() -> None:
    """The kernel knows best how to share a whole machine."""
    assert {"a": Cores(())} == assigned([node("a")])


def test_an_inventory_that_limits_cores_keeps_every_node_to_them() -> None:
    """`cores: 2-3` keeps dataflows off the rest, as far as there are such cores."""
    assert {"a": Cores((2, 3))} == assigned([node("a")], limit=(2, 3, 9))


def test_exclusive_cores_are_taken_from_the_top() -> None:
    """Who asks for cores gets them alone; the machine keeps the others off them."""
    nodes = [node("a"), node("b", cores=2), node("c", cores=1)]

    assert {"a": Cores(()), "b": alone(2, 3), "c": alone(1)} == assigned(nodes)


def test_named_cores_are_taken_as_named() -> None:
    """`cpu_affinity` is the user's own choice, and nobody else's exclusive cores lie there."""
    nodes = [node("a", affinity=(3,)), node("b", affinity=(2, 3)), node("c", cores=1)]

    expected = {"a": Cores((3,), NAMED), "b": Cores((2, 3), NAMED), "c": alone(1)}
    assert expected == assigned(nodes)


def test_too_many_exclusive_cores_are_refused_with_numbers() -> None:
    """The message says who wants how many, how many there are, and who has the others."""
    other = Pinned("lidar", "scan", frozenset({0}), EXCLUSIVE)
    with pytest.raises(
        DoraError,
        match=r"node 'b' asks for 4 cores of machine 'base', where 1 of 2 are left "
        r"\(scan of lidar has some\)",
    ):
        assigned([node("b", cores=4)], flat(range(2)), others=[other])


def test_named_cores_that_somebody_else_has_alone_are_refused() -> None:
    """What another deployment has for itself is not to be had by its name."""
    other = Pinned("lidar", "scan", frozenset({1, 2}), EXCLUSIVE)
    with pytest.raises(DoraError, match="core 2 of machine 'base', which scan of lidar has for"):
        assigned([node("a", affinity=(2, 3))], others=[other])


def test_several_may_be_named_on_one_core() -> None:
    """As dora has it, `cpu_affinity` says where, not who else."""
    other = Pinned("lidar", "scan", frozenset({2}), NAMED)
    assert {"a": Cores((2,), NAMED)} == assigned([node("a", affinity=(2,))], others=[other])


def test_a_core_comes_with_all_its_hardware_threads() -> None:
    """Two programs on the threads of one core slow each other down."""
    topology = machine(cores=4, threads=2)

    assert {"a": alone(2, 3, 6, 7)} == assigned([node("a", cores=2)], topology)


def test_a_thread_that_somebody_is_pinned_to_spoils_its_core() -> None:
    """The other thread of the same core would not be free of it."""
    topology = machine(cores=2, threads=2)
    other = Pinned("lidar", "scan", frozenset({3}), NAMED)

    assert {"a": alone(0, 2)} == assigned([node("a", cores=1)], topology, others=[other])


def test_whole_cores_come_before_those_that_are_shared_with_the_system() -> None:
    """Where the inventory leaves out one thread of a core, others may be busy there."""
    topology = machine(cores=3, threads=2)

    found = assigned([node("a", cores=2)], topology, limit=(0, 1, 2, 3, 4))
    assert {"a": alone(0, 1, 3, 4)} == found


def test_cores_lie_in_one_numa_node() -> None:
    """Two of two sockets would pay for every byte that they share; the fuller socket is used."""
    topology = machine(packages=2, cores=4)
    other = Pinned("lidar", "scan", frozenset({5}), EXCLUSIVE)

    found = assigned([node("a", cores=4), node("b", cores=3)], topology, others=[other])
    assert {"a": alone(0, 1, 2, 3), "b": alone(4, 6, 7)} == found


def test_cores_lie_in_one_cluster_of_a_numa_node() -> None:
    """The nearest group that has enough of them, and of several the one that is used already."""
    topology = machine(clusters=2, cores=4)
    other = Pinned("lidar", "scan", frozenset({0, 1}), EXCLUSIVE)

    assert {"a": alone(2, 3)} == assigned([node("a", cores=2)], topology, others=[other])
    assert {"a": alone(3)} == assigned([node("a", cores=1)], topology, others=[other])
    assert {"a": alone(3, 4, 5, 6, 7)} == assigned([node("a", cores=5)], topology, others=[other])


@pytest.mark.parametrize(
    ("kind", "cores"), [("big", (4, 5, 6, 7)), ("little", (0, 1, 2, 3)), (None, (4, 5, 6, 7))]
)
def test_big_or_little_cores_are_taken_when_asked(kind: str | None, cores: tuple[int, ...]) -> None:
    """Where the machine has both; without a wish they are still of one cluster."""
    topology = machine(clusters=2, cores=4, capacities=(446, 1024))

    assert {"a": alone(*cores)} == assigned([node("a", cores=4, kind=kind)], topology)


def test_a_kind_is_a_wish_where_there_are_too_few() -> None:
    """All of the big ones, then others."""
    topology = machine(clusters=2, cores=2, capacities=(446, 1024))

    assert {"a": alone(1, 2, 3)} == assigned([node("a", cores=3, kind="big")], topology)


def test_cores_that_a_node_has_stay_its_own() -> None:
    """Nothing restarts because a better choice came up, or because another node came first."""
    nodes = [node("new", cores=2), node("a", cores=1)]

    expected = {"new": alone(2, 3), "a": alone(0)}
    assert expected == assigned(nodes, current={"a": (0,)})


def test_cores_that_cannot_be_kept_are_chosen_anew() -> None:
    """Another number, or a core that was switched off."""
    assert {"a": alone(2, 3)} == assigned([node("a", cores=2)], current={"a": (0,)})
    assert {"a": alone(1)} == assigned([node("a", cores=1)], flat(range(2)), current={"a": (2,)})


def test_an_inventory_that_names_no_core_of_the_machine_is_refused() -> None:
    """Nothing may run there, then; on all cores would be a surprise."""
    with pytest.raises(DoraError, match="machine 'base' has none of the cores that its inventory"):
        assigned([node("a")], limit=(8, 9))


def test_cores_that_the_machine_withholds_are_not_given() -> None:
    """A container's cpuset is smaller than its machine."""
    assert {"a": alone(1)} == assigned([node("a", cores=1)], allowed=(0, 1))


@st.composite
def situations(draw: st.DrawFn) -> tuple[tuple[Core, ...], set[int], list[Node], list[Pinned]]:
    """A machine, the cores that may be used, nodes, and what others have pinned."""
    topology = draw(machines())
    numbers = [core.number for core in topology]
    allowed = draw(st.sets(st.sampled_from(numbers), min_size=1)) if draw(st.booleans()) else None
    taken = draw(st.lists(st.frozensets(st.sampled_from(numbers), min_size=1), max_size=2))
    others = [
        Pinned("other", f"u{place}", it, draw(st.sampled_from([NAMED, EXCLUSIVE])))
        for place, it in enumerate(taken)
    ]
    sizes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    kinds = st.sampled_from([None, "big", "little"])
    nodes = [
        node(f"n{place}", cores=size or None, kind=draw(kinds)) for place, size in enumerate(sizes)
    ]
    return topology, set(numbers) if allowed is None else allowed, nodes, others


def free_of(
    topology: tuple[Core, ...], may: set[int], others: list[Pinned]
) -> dict[int, tuple[int, ...]]:
    """Physical cores on no thread of which somebody is pinned: their threads that may be used."""
    taken = {core for it in others for core in it.cores}
    groups: Mapping[int, set[int]] = {core.physical: set() for core in topology}
    for core in topology:
        groups[core.physical].add(core.number)
    return {
        physical: tuple(sorted(threads & may))
        for physical, threads in groups.items()
        if threads & may and not threads & taken
    }


@given(situations())
def test_exclusive_cores_are_whole_and_nobody_elses(
    situation: tuple[tuple[Core, ...], set[int], list[Node], list[Pinned]],
) -> None:
    """As many physical cores as were asked for, all of them ours, or an error exactly when there
    are too few; the same again for those that have them."""
    topology, may, nodes, others = situation
    free = free_of(topology, may, others)
    wanted = sum(it.deploy.cores or 0 for it in nodes)
    if wanted > len(free):
        with pytest.raises(DoraError):
            assigned(nodes, topology, allowed=may, others=others)
        return

    found = assigned(nodes, topology, allowed=may, others=others)
    physical = {core.number: core.physical for core in topology}
    given_away: list[int] = []
    for it in nodes:
        if not it.deploy.cores:
            assert Cores((), SHARED) == found[it.id]
            continue
        groups = {physical[number] for number in found[it.id].numbers}
        assert it.deploy.cores == len(groups)
        expected = sorted(thread for group in groups for thread in free[group])
        assert expected == list(found[it.id].numbers)
        given_away += groups
    assert len(set(given_away)) == len(given_away)

    current = {id: it.numbers for id, it in found.items() if it.pin == EXCLUSIVE}
    again = assigned(nodes[::-1], topology, allowed=may, others=others, current=current)
    assert found == {it.id: again[it.id] for it in nodes}


@given(machines(), st.integers(1, 6), st.sampled_from([None, "big", "little"]))
def test_one_group_is_enough_where_it_can_be(
    topology: tuple[Core, ...], count: int, kind: str | None
) -> None:
    """Cores lie in one cluster, cache, NUMA node or package if one of them has enough; of a kind,
    there are as many as there can be."""
    physical = {core.physical: core for core in reversed(topology)}
    if count > len(physical):
        return
    numbers = assigned([node("a", cores=count, kind=kind)], topology)["a"].numbers
    chosen = [core for core in topology if core.number in numbers]
    if kind is not None:
        sizes = sorted((it.capacity for it in physical.values()), reverse=kind == "big")
        got = {core.physical: core.capacity for core in chosen}
        assert sizes[:count] == sorted(got.values(), reverse=kind == "big")
        return
    for level in ("cluster", "cache", "numa", "package"):
        groups = [getattr(core, level) for core in physical.values()]
        if max(map(groups.count, groups)) >= count:
            assert 1 == len({getattr(core, level) for core in chosen})


def test_physical_cores_know_what_they_lack() -> None:
    """A core of which one thread may not be used is not whole."""
    topology = machine(cores=2, threads=2)

    found = physical_cores(topology, (0, 1, 2), ())
    assert [((0, 2), True), ((1,), False)] == [(it.threads, it.whole) for it in found]
