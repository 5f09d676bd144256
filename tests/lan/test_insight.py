"""Doctor and ssh on real OpenSSH hosts: who reaches whom, and whose key counts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet, wait_until, write_flow

COUNT = """
from dora import Node
node = Node()
for n, event in enumerate(node):
    if event["type"] == "INPUT":
        node.send_output("count", bytes([n % 256]))
"""
PRINT = """
from dora import Node
for event in Node():
    pass
"""
FLOW = """\
nodes:
  - id: count
    path: count.py
    inputs: {{tick: dora/timer/millis/50}}
    outputs: [count]
    deploy: {{machine: {sender}}}
  - id: print
    path: print.py
    inputs: {{count: {{source: count/count, link: direct}}}}
    deploy: {{machine: {reader}}}
"""


def test_doctor_tells_who_does_not_reach_whom(lan: Lan, tmp_path: Path, cache: Path) -> None:
    """Six ways between three robots; then one is closed in one direction, one robot is silent."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(lan.inventory_text())
    fleet = Fleet(lan.home, inventory, cache=cache)
    one, two, three = (lan.name(i) for i in lan.robots)

    found = fleet.json("doctor")
    assert {None} == {link["error"] for link in found["links"]}
    assert {(a, b) for a in (one, two, three) for b in (one, two, three) if a != b} == {
        (link["from"], link["to"]) for link in found["links"]
    }

    route = ["ip", "route", "add", "unreachable", lan.address(2)]
    lan.run(1, route)
    lan.stop_sshd(3)
    try:
        found = fleet.json("doctor", code=4)
    finally:
        lan.run(1, [*route[:2], "del", *route[3:]])
        lan.start_sshd(3)
    ways = {(link["from"], link["to"]): link["error"] for link in found["links"]}
    # Neither comes an answer to the robot without a route, nor does one from it.
    assert {(one, two): "no_route", (two, one): "timeout"} == ways
    assert ["port"] == [it["check"] for it in found["machines"][one]["findings"] if _fatal(it)]
    assert ["reach"] == [it["check"] for it in found["machines"][three]["findings"]]


def test_a_closed_tcp_port_of_a_direct_link_is_found(lan: Lan, tmp_path: Path, cache: Path) -> None:
    """Before the first deployment a warning, then an error, and why no data comes; UDP is open.
    Only the reader's machine asks."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(lan.inventory_text())
    fleet = Fleet(lan.home, inventory, cache=cache)
    sender, reader = lan.name(1), lan.name(2)
    text = FLOW.format(sender=sender, reader=reader)
    flow = write_flow(tmp_path / "direct", {"count.py": COUNT, "print.py": PRINT}, text)

    lan.shut(1, "tcp dport 7400-7500")
    found = fleet.json("doctor", flow)
    assert [(reader, sender, "timeout")] == _by_tcp(found)
    assert {None} == {it["error"] for it in found["links"] if it["protocol"] == "udp"}
    assert ["warning"] == [it["severity"] for it in _ports(found, reader)]

    fleet.deploy(flow)
    try:
        found = fleet.json("doctor", code=1)
        assert [(reader, sender, "timeout")] == _by_tcp(found)
        (finding,) = _ports(found, reader)
        assert ("error", True) == (
            finding["severity"],
            "print/count of direct needs it" in finding["problem"],
        )
        answer = _why(fleet, "port")
        assert f"nothing comes back from TCP port 7447 of {sender}" in answer["answer"]
        assert "ufw allow 7447/tcp" in answer["remedy"]

        lan.shut(1, None)
        assert 3 == len([it for it in _why(fleet, "none")["evidence"] if it["what"] == "link"])
    finally:
        fleet.dora("stop", "direct")


def _by_tcp(found: Any) -> list[tuple[str, str, str | None]]:
    return [(it["from"], it["to"], it["error"]) for it in found["links"] if it["protocol"] == "tcp"]


def _ports(found: Any, machine: str) -> list[dict[str, str]]:
    return [it for it in found["machines"][machine]["findings"] if it["check"] == "port"]


def _why(fleet: Fleet, cause: str) -> Any:
    """What `dora why` says, once it says what is expected: counts come about once a second."""
    found: dict[str, Any] = {}

    def said() -> bool:
        command = fleet.command("why", "print/count", "--seconds", "1.5", "--json")
        done = subprocess.run(command, env=fleet.env, capture_output=True, text=True, check=False)
        found.update(json.loads(done.stdout))
        return bool(found["cause"] == cause)

    wait_until(said, cause)
    return found


def _fatal(finding: dict[str, str]) -> bool:
    return finding["severity"] == "error"


def test_ssh_has_the_inventorys_settings(lan: Lan, tmp_path: Path, cache: Path) -> None:
    """User, key and pinned host key, without a word of the laptop's own files; another key is
    refused, whatever these say."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(lan.inventory_text())
    fleet = Fleet(lan.home, inventory, cache=cache)
    name = lan.name(1)

    done = fleet.dora("machines", "ssh", name, "--", "printf", "%s|", "a  b", "it's")
    assert "a  b|it's|" == done.stdout
    assert "robot\n" == fleet.dora("machines", "ssh", name, "--", "id -un").stdout
    assert f"{name} robot" == fleet.dora("machines", "exec", name, "--", "id", "-un").stdout.strip()

    inventory.write_text(inventory.read_text().replace(lan.fingerprint(1), lan.fingerprint(2)))
    refused = fleet.dora("machines", "ssh", name, "--", "true", code=255)
    assert "Host key verification failed" in refused.stderr
