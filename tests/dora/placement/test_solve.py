"""The search: nothing that is hard is broken, small problems are solved for certain, large well."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.placing.cases import best_of_all, first_match, large, small, traffic
from dora.placement.contradiction import smallest
from dora.placement.feasible import Undecided, feasible
from dora.placement.problem import NOWHERE, Net, Problem, price, violations
from dora.placement.solve import solve
from dora.placement.work import Work


def problem(
    needs: list[tuple[float, ...]],
    capacities: list[tuple[float, ...]],
    apart: list[set[int]] | None = None,
    nets: tuple[Net, ...] = (),
) -> Problem:
    hosts = range(len(capacities))
    return Problem(
        needs=needs,
        capacities=capacities,
        allowed=[tuple(hosts)] * len(needs),
        apart=[frozenset(its) for its in apart or [set()] * len(needs)],
        nets=nets,
        slowness=[[0.0 if a == b else 1.0 for b in hosts] for a in hosts],
        load=[1.0] * len(needs),
        room=[4.0] * len(capacities),
        comfort=[100.0] * len(capacities),
        now=[NOWHERE] * len(needs),
        nodes=[1] * len(needs),
    )


@settings(max_examples=150)
@given(st.integers(0, 10_000))
def test_small_problems_are_solved_for_certain(seed: int) -> None:
    """As cheap as the best of all placements, or impossible when all are."""
    case = small(Random(seed))
    best = best_of_all(case)
    found = solve(case)
    assert (best is None) == (found is None)
    if best is not None and found is not None:
        assert [] == violations(case, found.at)
        assert price(case, best) == pytest.approx(price(case, found.at), rel=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_the_search_for_large_problems_breaks_nothing_hard(seed: int) -> None:
    """Also where room is scarce, and where nothing fits."""
    case = small(Random(seed))
    found = solve(case, small=0)
    assert (best_of_all(case) is None) == (found is None)
    if found is not None:
        assert [] == violations(case, found.at)


def test_a_large_problem_sends_less_than_half_of_the_first_match() -> None:
    """And nothing that is hard is broken; the same answer twice."""
    case = large("geometric", 200, 10, 0)
    found = solve(case)
    assert found is not None
    assert [] == violations(case, found.at)
    assert traffic(case, found.at) < traffic(case, first_match(case)) / 2
    assert found == solve(case)


def test_a_new_item_among_very_many_that_stay_is_placed_at_once() -> None:
    """With certainty: those that stay are no part of the search."""
    case = large("geometric", 1000, 50, 0)
    known = first_match(case)
    stay = [(host,) for host in known]
    found = solve(replace(case, allowed=[case.allowed[0], *stay[1:]]))
    assert found is not None
    assert found.proven
    assert known[1:] == list(found.at[1:])


@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3))))
def test_what_a_move_costs_is_what_the_whole_then_costs(
    seed: int, moves: list[tuple[int, int]]
) -> None:
    """Counting on gives what counting anew gives."""
    case = small(Random(seed))
    work = Work(case, [hosts[0] for hosts in case.allowed])
    for item, host in moves:
        if item in case.items and host in case.hosts:
            before = price(case, work.at)
            here = work.take(item)
            stay, go = work.prices(item, [here, host])
            work.put(item, host)
            assert go - stay == pytest.approx(price(case, work.at) - before, rel=1e-6, abs=1e-3)


def test_an_output_goes_once_to_a_host_however_many_read_it_there() -> None:
    """Two readers on one other host cost as much as one."""
    case = problem([(0.0,)] * 3, [(1.0,)] * 3, nets=(Net(0, (1, 2), 5.0),))
    found = {at: traffic(case, at) for at in ((0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 1, 2))}
    assert {(0, 0, 0): 0.0, (0, 1, 0): 5.0, (0, 1, 1): 5.0, (0, 1, 2): 10.0} == found


def test_items_that_fill_hosts_to_the_brim_are_placed() -> None:
    """Room is enough only if the large ones are not scattered."""
    sizes = (5.0, 5.0, 4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0)
    case = problem([(size,) for size in sizes], [(10.0,)] * 3)
    found = feasible(case)
    assert found is not None
    assert [] == violations(case, found)


def test_what_cannot_fit_is_known_without_looking_everywhere() -> None:
    """Forty items of one core on three hosts of ten."""
    assert feasible(problem([(1.0,)] * 40, [(10.0,)] * 3), steps=0) is None


def test_it_is_said_when_nobody_knows() -> None:
    """Where a proof takes longer than is allowed."""
    sizes = [(3.0,)] * 4 + [(2.0,)] * 4
    case = problem(sizes, [(5.5,), (5.4,), (5.3,), (5.2,)])
    assert feasible(case) is not None
    with pytest.raises(Undecided):
        feasible(case, steps=3)


def test_machines_that_are_alike_are_not_tried_one_after_the_other() -> None:
    """Twelve that are all apart on eleven hosts: a proof would take millions of steps."""
    apart = [set(range(12)) - {item} for item in range(12)]
    assert feasible(problem([(0.0,)] * 12, [(1.0,)] * 11, apart), steps=100) is None


@given(st.sets(st.integers(0, 30), min_size=1, max_size=5))
def test_a_contradiction_is_named_without_what_has_no_part_in_it(guilty: set[int]) -> None:
    """Whatever the guilty are."""
    found = smallest(list(range(31)), lambda some: guilty <= set(some))
    assert sorted(guilty) == found


def test_of_two_contradictions_one_is_named_whole() -> None:
    """Leaving out any one of it would make things possible as far as it is concerned."""

    def impossible(some: list[int] | tuple[int, ...] | object) -> bool:
        its = set(some)  # type: ignore[call-overload]
        return any(pair <= its for pair in ({1, 8}, {3, 5, 9}))

    found = smallest(range(12), impossible)
    assert impossible(found)
    for rest in itertools.combinations(found, len(found) - 1):
        assert not impossible(rest)
