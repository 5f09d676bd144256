"""Cores of their own for nodes of two deployments on one machine, and the machine's figures."""

from __future__ import annotations

import os
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.supervisor.test_metrics import free_port, listens
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
  - id: {name}-send
    path: send.py
    inputs: {{tick: dora/timer/millis/100}}
    outputs: [n]
    deploy: {{machine: base, cores: 1}}
  - id: {name}-take
    path: take.py
    inputs: {{n: {name}-send/n}}
    deploy: {{machine: base, nice: 3}}
"""
MORE = """\
  - id: more
    path: take.py
    inputs: {n: one-send/n}
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


def test_nodes_have_cores_of_their_own_and_machines_tell_figures(embedded: Fleet) -> None:
    """Two deployments share a machine without sharing a pinned core; the others are kept off it,
    and get another nice value; a changed flow moves nobody. The supervisor serves figures while the
    inventory says so."""
    port = free_port()
    embedded.inventory.write_text(
        EMBEDDED.replace(
            "base: {host: embedded}", f"base: {{host: embedded, metrics: {{port: {port}}}}}"
        )
    )
    cores = sorted(os.sched_getaffinity(0))
    one = write_flow(embedded.home / "one", FILES, NODES.format(name="one"))
    embedded.deploy(one)
    nodes = embedded.nodes("one")
    (first,) = nodes["one-send"]["cores"]
    assert first == cores[-1]
    assert cores[:-1] == nodes["one-take"]["cores"]
    assert {"policy": "other", "priority": 0, "nice": 3} == nodes["one-take"]["scheduling"]
    wait_until(lambda: figures(port).get(("dora_output_sent_total", "one-send"), 0) > 0, "traffic")
    found = figures(port)
    assert 1 == found["dora_unit_state", "one-take"]
    assert 1 == found["dora_unit_cores", "one-send"]

    pids = embedded.pids()
    (embedded.home / "one/flow.yml").write_text(NODES.format(name="one") + MORE)
    embedded.deploy(one)
    assert pids.items() <= embedded.pids().items()

    two = write_flow(embedded.home / "two", FILES, NODES.format(name="two"))
    embedded.deploy(two)
    (second,) = embedded.nodes("two")["two-send"]["cores"]
    assert second in cores[:-1]
    assert pids.items() <= embedded.pids().items()
    left = [core for core in cores if core not in (first, second)]
    wait_until(lambda: (left or cores) == embedded.nodes()["one-take"]["cores"], "the move")

    embedded.inventory.write_text(EMBEDDED)
    assert "unchanged" == embedded.deploy(two)["outcome"] or not listens(port)
    assert not listens(port)
