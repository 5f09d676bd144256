"""Which ports are tried by which machines, and which ones stand for routers that do not run yet."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.connection.embedded import EmbeddedConnector
from deploy.inventory import Machine
from deploy.session import Session
from dora.coordinator.doctor.evidence import Link
from dora.coordinator.doctor.gather import links_to_try, listening
from dora.coordinator.onlooker import TCP, UDP, Onlooker, onlooker
from dora.dataflow.load import loads
from tests.dora.coordinator.doctor.test_callers import FLOW, B, C
from tests.dora.coordinator.doctor.test_diagnose import look
from tests.dora.harness import free_port

CAMERA, PLOT = "a", "b"  # their machines
PORTS = tuple(range(42300, 42320))


@pytest.fixture
async def looker(tmp_path: Path) -> AsyncIterator[Onlooker]:
    connector = EmbeddedConnector(tmp_path)
    session = await Session.open(connector, Machine("here", "embedded"))
    async with onlooker(session) as found:
        yield found
    await session.close()
    await connector.close()


async def answering(looker: Onlooker, port: int | None) -> list[str]:
    """By which protocols."""
    reached = await looker.reach([("127.0.0.1", port or 0, it) for it in (UDP, TCP)])
    return [it for it, found in zip((UDP, TCP), reached, strict=True) if found.error is None]


async def test_what_stands_for_a_router_listens_by_tcp_for_a_flow_that_needs_it(
    looker: Onlooker,
) -> None:
    """Where a sender may run, and nowhere else."""
    flow = loads(FLOW).dataflow
    free = replace(look(CAMERA).facts, free_ports=PORTS)

    plain = await listening(look(CAMERA, facts=free), looker, None)
    reader = await listening(look(PLOT, facts=free), looker, flow)
    sender = await listening(look(CAMERA, facts=free), looker, flow)

    assert [(True, None), (True, None)] == [(it.port in PORTS, it.door) for it in (plain, reader)]
    assert [UDP] == await answering(looker, plain.port)
    assert sender.door is not None
    assert sender.port == sender.door
    assert [UDP, TCP] == await answering(looker, sender.door)


async def test_beside_a_router_only_what_it_lacks_is_listened_on(looker: Onlooker) -> None:
    """By TCP at the number that this dataflow's router has already; if somebody else has that, it
    is told. One that takes calls itself needs nothing."""
    flow = replace(loads(FLOW).dataflow, file="/flows/flow/flow.yml")
    free = replace(look(CAMERA).facts, free_ports=PORTS)
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        runs = look(CAMERA, facts=free, port=None, routers={"flow": port})
        shut = replace(runs, routers={"flow": taken.getsockname()[1]})

        for dataflow in (None, flow):
            done = await listening(replace(runs, doors=frozenset({"flow"})), looker, dataflow)
            assert (None, None, ()) == (done.port, done.door, done.no_door)
        added = await listening(runs, looker, flow)
        assert (None, port, ()) == (added.port, added.door, added.no_door)
        assert [TCP] == await answering(looker, port)
        other = await listening(replace(runs, routers={"other": free_port()}), looker, flow)
        assert (None, True) == (other.port, other.door in PORTS)
        refused = await listening(shut, looker, flow)
        assert (None, None) == (refused.port, refused.door)
        assert (taken.getsockname()[1],) == refused.no_door


def test_by_tcp_only_those_ask_who_would_call() -> None:
    """All by UDP; by TCP the reader's machine the sender's, and all of the dataflow where nobody
    knows who reads."""
    base = look("a", routers={"flow": 7450}, port=None, doors=frozenset({"flow"}))
    plain = Link("b", "a", "a.local", 7450, "flow")
    by_tcp = Link("b", "a", "a.local", 7450, "flow", protocol=TCP)

    reader = look("b", calls={"flow": {"a": ("plot/image",)}})
    expected = [
        plain,
        Link("b", "a", "a.local", 7450, "flow", protocol=TCP, inputs=("plot/image",)),
    ]
    assert expected == links_to_try(reader, base)
    assert [plain] == links_to_try(look("b", calls={"flow": {"c": ("plot/image",)}}), base)
    assert [plain] == links_to_try(look("b"), base)
    assert [plain, by_tcp] == links_to_try(look("b", calls={"flow": None}), base)
    shut = look("a", routers={"flow": 7450}, port=None)
    assert [plain] == links_to_try(reader, shut)


def test_what_stands_for_a_router_is_called_for_the_flow_in_question() -> None:
    """By who may have its readers; by UDP by all."""
    flow = loads(FLOW).dataflow
    base = look("a", door=7447)
    reader = look("b", machine=B)

    plain = Link("b", "a", "a.local", 7447)
    by_tcp = Link("b", "a", "a.local", 7447, protocol=TCP, inputs=("plot/image",))
    assert [plain, by_tcp] == links_to_try(reader, base, flow)
    assert [plain] == links_to_try(reader, base)
    assert [Link("c", "a", "a.local", 7447)] == links_to_try(look("c", machine=C), base, flow)
