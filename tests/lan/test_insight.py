"""Doctor and ssh on real OpenSSH hosts: who reaches whom, and whose key counts."""

from __future__ import annotations

from pathlib import Path

from tests.lan.bench import Lan
from tests.scenarios.fleet import Fleet


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
