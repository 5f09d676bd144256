"""Placement of flow files by all that they may ask for, and by what goes over the network."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.inventory import loads as inventory
from dora.dataflow.load import loads
from dora.dataflow.model import Dataflow
from dora.errors import PlacementError
from dora.placement.hosts import Found
from dora.placement.model import Placement
from dora.placement.place import place
from dora.placement.traffic import Measured, Rate, flows

GIB = 1 << 30
MACHINES = """
machines:
  base: {labels: {arch: x86}}
  cart: {link: 10Mbit}
  arm: {}
"""
CORES = {"base": 8, "cart": 4, "arm": 4}
FOUND = {
    "base": Found(16 * GIB, ("/dev/ttyUSB0",), "x86_64"),
    "cart": Found(4 * GIB, ("/dev/video0", "/dev/video2"), "aarch64"),
    "arm": Found(4 * GIB, (), "aarch64"),
}


def placed(
    text: str,
    current: Mapping[str, str] | None = None,
    measured: Measured | None = None,
    platforms: Mapping[str, str] | None = None,
    keep: bool = True,
) -> Placement:
    return place(
        flow(text),
        inventory(MACHINES).machines.values(),
        available=CORES,
        found=FOUND,
        current=current,
        measured=measured,
        platforms=platforms,
        keep=keep,
    )


def flow(text: str) -> Dataflow:
    """Lines of `id <- inputs {node's other keys}`; an input is `node` or `node@Hz*bytes`, whose
    output says so."""
    rows = [line.split("|") for line in text.strip().splitlines()]
    rates: dict[str, str] = {}
    lines = ["nodes:"]
    for row in rows:
        for source in row[1].split() if len(row) > 1 else ():
            node, at, rate = source.partition("@")
            if at:
                hz, _, size = rate.partition("*")
                rates[node] = f"{{out: {{hz: {hz}, bytes: {size}}}}}"
    for row in rows:
        id = row[0].strip()
        sources = [it.partition("@")[0] for it in (row[1].split() if len(row) > 1 else ())]
        inputs = (
            ", ".join(f"{source}: {source}/out" for source in sources) or "tick: dora/timer/hz/5"
        )
        deploy = row[2].strip() if len(row) > 2 else "{}"
        lines += [
            f"  - id: {id}",
            f"    path: {id}.py",
            f"    inputs: {{{inputs}}}",
            "    outputs: [out]",
            f"    deploy: {deploy}",
        ]
        lines += [f"    output_rates: {rates[id]}"] if id in rates else []
    return loads("\n".join(lines), "flow.yml").dataflow


def refused(text: str) -> list[str]:
    with pytest.raises(PlacementError) as caught:
        placed(text)
    return str(caught.value).splitlines()


def test_a_node_goes_to_where_least_goes_over_the_network() -> None:
    """Large frames in, small boxes out: beside the camera."""
    found = placed(
        """
        camera | | {machine: cart}
        detector | camera@30*1MB
        plot | detector@30*100 | {machine: base}
        """
    )
    assert "cart" == found["detector"].machine
    assert "with camera: 30.0 MB/s stay off the network" == found["detector"].reason


def test_a_byte_counts_more_on_a_slow_link() -> None:
    """Of two machines that have room, the one with the fast link is taken, though named last."""
    found = placed(
        """
        a | | {machine: base, cores: 6}
        b | a@10*10000 | {cores: 4}
        """
    )
    assert "arm" == found["b"].machine


def test_what_was_measured_counts_where_the_file_says_nothing() -> None:
    """A hint counts more than what was measured, and that more than a guess."""
    text = """
        a | | {machine: base}
        b | | {machine: arm}
        mix | a b@10*500
        """
    both = {("a", "out"): Rate(10, 800), ("b", "out"): Rate(10, 9000)}
    assert "base" == placed(text, measured=both)["mix"].machine
    assert [("file", 5000.0), ("measured", 8000.0)] == sorted(
        (it.origin, it.bytes_per_second) for it in flows(flow(text), both)
    )


def test_a_guess_goes_by_the_timer() -> None:
    """A node that ticks at 5 Hz sends at 5 Hz, unless somebody knows better."""
    (found,) = flows(flow("a\nb | a"))
    assert ("guess", 5.0) == (found.origin, found.rate.hz)


def test_chatting_nodes_do_not_crowd_a_machine_while_another_has_room() -> None:
    """Nine nodes of a core each, eight cores: at most eight are together."""
    lines = ["n0 | | {cores: 1}"] + [f"n{i} | n{i - 1} | {{cores: 1}}" for i in range(1, 9)]
    found = placed("\n".join(lines))
    assert [1, 8] == sorted(len(found.on(machine)) for machine in set(found.machines.values()))
    assert {"n0", "n8"} & {node for node in found if len(found.on(found[node].machine)) == 1}


def test_apart_nodes_are_on_several_machines() -> None:
    """However much they send each other."""
    found = placed("a\nb | a@100*1MB | {apart: a}\nc | a@100*1MB | {apart: [a, b]}")
    assert 3 == len(set(found.machines.values()))


def test_a_device_must_be_there() -> None:
    """By its path, or by a pattern of paths."""
    found = placed("a | | {devices: /dev/video0}\nb | | {devices: [/dev/ttyUSB*]}")
    assert {"a": "cart", "b": "base"} == found.machines
    assert "has /dev/video0; the only one that fits" == found["a"].reason
    assert [
        "flow.yml:6:13: a fits nowhere: the nearest machine is base, which has no /dev/video9"
    ] == refused("a | | {devices: /dev/video9}")


def test_files_for_one_architecture_need_such_a_machine() -> None:
    """And one that has room."""
    found = placed("a\nb | | {memory: 3GiB}", platforms={"a": "x86_64", "b": "aarch64"})
    assert "base" == found["a"].machine
    assert found["b"].machine in ("cart", "arm")


def test_memory_is_counted() -> None:
    """What nodes may take together is what their machine has."""
    found = placed(
        "a | | {memory: 12GiB}\nb | a@9*9MB | {memory: 3GiB}\nc | a@9*9MB | {memory: 3GiB}"
    )
    assert 2 == len(set(found.machines.values()))
    assert [
        "flow.yml:6:13: a fits nowhere: the nearest machine is base, which has 16 GiB of the "
        "20 GiB of memory"
    ] == (refused("a | | {memory: 20GiB}"))


def test_wishes_that_cannot_be_granted_together_are_named_alone() -> None:
    """The fewest of them, each where it stands; those that have no part in it are not named."""
    cores = "; of cores there are: base 8, cart 4, arm 4"
    assert [
        f"flow.yml:11:21: b takes 5 exclusive cores, which cannot be together with line 21{cores}",
        "flow.yml:21:23: d is to run on base, which cannot be together with lines 11 and 21"
        f"{cores}",
        "flow.yml:21:36: d takes 4 exclusive cores, which cannot be together with lines 11 and 21"
        f"{cores}",
    ] == refused(
        """
        a | | {machine: arm, labels: {}}
        b | | {cores: 5}
        c | | {cores: 3}
        d | | {machine: base, cores: 4}
        """
    )


def test_nodes_that_are_to_be_together_and_apart_are_refused() -> None:
    """Whichever way around."""
    assert [
        "flow.yml:11:30: b is to be apart from a, and `near` puts the two on one machine; "
        "drop one of them"
    ] == refused("a\nb | | {near: a, apart: a}")


def test_what_runs_stays_until_it_is_asked_to_move() -> None:
    """Deploying again moves nothing; placing anew does."""
    text = "a | | {machine: cart}\nb | a@30*1MB"
    assert "base" == placed(text, current={"b": "base"})["b"].machine
    assert "cart" == placed(text, current={"b": "base"}, keep=False)["b"].machine


def test_as_little_as_possible_moves_to_make_room() -> None:
    """A new node needs all of the only machine that is large enough: what runs there gives way."""
    found = placed(
        "a | | {cores: 3}\nb | | {cores: 8}\nc | | {cores: 1}",
        current={"a": "base", "c": "cart"},
    )
    assert {"a": "arm", "b": "base", "c": "cart"} == found.machines


WISHES = st.sampled_from(
    [
        "{}",
        "{machine: base}",
        "{labels: {arch: x86}}",
        "{cores: 1}",
        "{cores: 3}",
        "{memory: 2GiB}",
        "{devices: /dev/video*}",
        "{near: n0}",
        "{apart: n0}",
        "{apart: n0, cores: 2}",
    ]
)


@settings(max_examples=100)
@given(
    st.lists(WISHES, min_size=1, max_size=9),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=10),
    st.dictionaries(st.integers(0, 8), st.sampled_from(list(CORES))),
    st.booleans(),
)
def test_every_placement_satisfies_every_wish(
    wishes: list[str], edges: list[tuple[int, int]], habits: dict[int, str], keep: bool
) -> None:
    """Or it is refused; the same answer twice."""
    wishes[0] = (
        wishes[0].replace("near: n0", "").replace("apart: n0, ", "").replace("apart: n0", "")
    )
    inputs: dict[int, set[int]] = {}
    for one, other in edges:
        if one < other < len(wishes):
            inputs.setdefault(other, set()).add(one)
    text = "\n".join(
        f"n{i} | {' '.join(f'n{j}' for j in sorted(inputs.get(i, ())))} | {wish}"
        for i, wish in enumerate(wishes)
    )
    current = {f"n{index}": machine for index, machine in habits.items()}
    try:
        found = placed(text, current, keep=keep)
    except PlacementError:
        return
    dataflow, machines = flow(text), inventory(MACHINES).machines
    for id, node in dataflow.nodes.items():
        machine = found[id].machine
        assert node.deploy.machine in (None, machine)
        assert node.deploy.labels.items() <= machines[machine].labels.items()
        assert node.deploy.near in (None, *found.on(machine))
        assert not set(node.deploy.apart) & set(found.on(machine))
        assert not node.deploy.devices or machine == "cart"
    for machine, cores in CORES.items():
        nodes = [dataflow.nodes[id].deploy for id in found.on(machine)]
        assert sum(it.cores or 0 for it in nodes) <= cores
        memory = FOUND[machine].memory
        assert memory is not None
        assert sum(it.memory or 0 for it in nodes) <= memory
    assert found == placed(text, current, keep=keep)
