"""Cores of their own for nodes of two deployments on one machine, and the machine's figures."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.supervisor.ports import reserved_port
from tests.deploy.supervisor.test_metrics import listens
from tests.scenarios.conftest import EMBEDDED
from tests.scenarios.fleet import Fleet, wait_until, write_flow

SEND = """
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT":
        node.send_output("n", b"x")
"""
TAKE = """
from dora import Node
for event in Node():
    pass
"""
NODES = """\
nodes:
  - id: send
    path: send.py
    inputs: {tick: dora/timer/millis/100}
    outputs: [n]
    deploy: {machine: base, cores: 1}
  - id: take
    path: take.py
    inputs: {n: send/n}
    deploy: {machine: base, nice: 3}
"""
MORE = """\
  - id: more
    path: take.py
    inputs: {n: send/n}
    deploy: {machine: base}
"""
FILES = {"send.py": SEND, "take.py": TAKE}


def figures(port: int) -> dict[tuple[str, str], float]:
    """By name and unit, for those that have no other labels to tell them apart."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        (sample.name, sample.labels.get("unit", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("state", "running") == "running"
    }


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


def test_nodes_have_cores_of_their_own_and_machines_tell_figures(
    embedded: Fleet, port: int
) -> None:
    """A node is alone on its core, the other is kept off it and gets another nice value; a changed
    flow moves and restarts nobody. The supervisor serves figures while the inventory says so."""
    embedded.inventory.write_text(
        EMBEDDED.replace(
            "base: {host: embedded}", f"base: {{host: embedded, metrics: {{port: {port}}}}}"
        )
    )
    cores = sorted(os.sched_getaffinity(0))
    flow = write_flow(embedded.home / "cores", FILES, NODES)
    embedded.deploy(flow, "--limit", "base")
    nodes = embedded.nodes()
    assert cores[-1:] == nodes["send"]["cores"]
    assert cores[:-1] == nodes["take"]["cores"]
    assert {"policy": "other", "priority": 0, "nice": 3} == nodes["take"]["scheduling"]
    wait_until(lambda: figures(port).get(("dora_output_sent_total", "send"), 0) > 0, "traffic")
    found = figures(port)
    assert 1 == found["dora_unit_state", "take"]
    assert 1 == found["dora_unit_cores", "send"]

    embedded.inventory.write_text(EMBEDDED)
    flow.write_text(NODES + MORE)
    embedded.deploy(flow, "--limit", "base")
    assert not listens(port)
    after = embedded.nodes()
    assert {name: row["pid"] for name, row in nodes.items()} == {
        name: after[name]["pid"] for name in nodes
    }
    assert cores[:-1] == after["more"]["cores"]
