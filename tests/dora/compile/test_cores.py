"""Which cores a node runs on is decided from the flow file and the machine's cores alone."""

from __future__ import annotations

import pytest

from dora.compile.cores import assign_cores
from dora.dataflow.model import Deploy, Mark, Node
from dora.errors import DoraError

MARK = Mark("flow.yml", 1, 1)


def node(name: str, *, cores: int | None = None, affinity: tuple[int, ...] = ()) -> Node:
    return Node(id=name, mark=MARK, deploy=Deploy(cores=cores), cpu_affinity=affinity)


def test_nothing_is_pinned_when_nobody_asks() -> None:
    """The kernel knows best how to share a whole machine."""
    assert {"a": ()} == assign_cores("base", [node("a")], (0, 1, 2, 3), limited=False)


def test_an_inventory_that_limits_cores_pins_every_node_to_them() -> None:
    """`cores: 2-3` keeps dataflows off the rest."""
    assert {"a": (2, 3)} == assign_cores("base", [node("a")], (2, 3), limited=True)


def test_exclusive_cores_are_kept_from_the_others() -> None:
    """Who asks for cores gets them alone; the others share what is left."""
    nodes = [node("a"), node("b", cores=2), node("c", cores=1)]

    assert {"a": (0,), "b": (2, 3), "c": (1,)} == assign_cores(
        "base", nodes, (0, 1, 2, 3), limited=False
    )


def test_named_cores_are_taken_as_named() -> None:
    """`cpu_affinity` is the user's own choice, and nobody else's exclusive cores lie there."""
    nodes = [node("a", affinity=(3,)), node("b", cores=1)]

    assert {"a": (3,), "b": (2,)} == assign_cores("base", nodes, (0, 1, 2, 3), limited=False)


def test_too_many_exclusive_cores_are_refused_with_numbers() -> None:
    """The message says who wants how many, and how many there are."""
    with pytest.raises(DoraError, match=r"node 'b' asks for 4 cores of machine 'base', where 2"):
        assign_cores("base", [node("b", cores=4)], (0, 1), limited=False)


def test_with_every_core_taken_the_rest_share_all() -> None:
    """A node without cores still runs."""
    nodes = [node("a", cores=2), node("b")]

    assert {"a": (0, 1), "b": ()} == assign_cores("base", nodes, (0, 1), limited=False)
