"""Robots that boot: by themselves, with nobody there, they run again what was confirmed."""

from __future__ import annotations

import grp
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lan.bench import Lan
from tests.lan.rollbacks import GOOD, ROOT, WELL
from tests.scenarios.fleet import Fleet, wait_until, write_flow

ROBOT = 3
NAME = "robot3"
FLOW = "nodes:\n  - {id: steady, path: steady.py, secrets: {WORD: {env: STEADY_WORD}}}\n"
SAY = "print('WORD', os.environ['WORD'], flush=True)\n"
PAM = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path, cache: Path) -> Iterator[Fleet]:
    """One robot whose disk has what Debian's cron finds on a real one; its user is not root."""
    inventory = tmp_path / "machines.yml"
    inventory.write_text(
        f"machines:\n  {NAME}:" + lan.inventory_text(user="robot").split(f"  {NAME}:")[1]
    )
    assert shutil.which("cron", path="/usr/sbin"), "apt-get install cron"
    gid = grp.getgrnam("crontab").gr_gid
    group = lan.path(ROBOT, "/etc/group")
    if "crontab" not in group.read_text():
        group.write_text(group.read_text() + f"crontab:x:{gid}:\n")
    lan.path(ROBOT, "/etc/pam.d").mkdir(exist_ok=True)
    lan.path(ROBOT, "/etc/pam.d/cron").write_text(PAM)
    if not lan.path(ROBOT, "/var/run").is_symlink():
        lan.path(ROBOT, "/var/run").symlink_to("/run")
    spool = lan.path(ROBOT, "/var/spool/cron/crontabs")
    os.chown(spool, 0, gid)
    spool.chmod(0o1730)
    fleet = Fleet(lan.home, inventory, cache=cache)
    fleet.env["STEADY_WORD"] = "plugh"
    yield fleet
    lan.power_off(ROBOT)  # it may be cut off, and without sshd
    lan.power_on(ROBOT)
    fleet.dora("machines", "boot", "disable")
    for name in {row["deployment"] for row in fleet.json("status")["nodes"]}:
        fleet.dora("stop", name)


def boot(lan: Lan) -> None:
    """Without network and sshd: nobody can have helped."""
    lan.power_on(ROBOT, sshd=False)
    lan.cut(ROBOT)
    lan.run(ROBOT, ["/usr/sbin/cron"])


def said(lan: Lan, name: str) -> list[str]:
    log = lan.path(ROBOT, f"{ROOT}/logs/{name}/steady.log")
    return log.read_text().splitlines() if log.exists() else []


def running(lan: Lan, name: str) -> list[int]:
    """The processes of the deployment's node."""
    script = lan.run(
        ROBOT,
        ["find", "/proc", "-maxdepth", "2", "-name", "cwd", "-printf", "%h %l\\n"],
        check=False,  # processes end while it looks
    ).stdout
    folder = f"{ROOT}/state/{name}/steady"
    return [int(row.split()[0].split("/")[2]) for row in script.splitlines() if folder in row]


def test_after_a_power_cut_cron_brings_back_what_was_confirmed(
    lan: Lan, fleet: Fleet, tmp_path: Path
) -> None:
    """All deployments, with their secrets, with nobody on the network; what was on trial when the
    power went is gone back from; what was enabled twice is there once, and gone when disabled."""
    table = lan.path(ROBOT, "/var/spool/cron/crontabs/robot")
    found = fleet.json("machines", "boot", "enable", code=1)["machines"][NAME]
    assert None is found["way"]
    assert "no cron runs" == found["refused"]["cron"]
    assert {"systemd", "systemd-user", "cron"} == found["refused"].keys()

    lan.run(ROBOT, ["/usr/sbin/cron"])
    row = fleet.json("machines", "boot", "enable", NAME)["machines"][NAME]
    assert ("cron", True) == (row["way"], row["changed"])
    before = table.read_text()
    assert 1 == before.count(f"@reboot /bin/sh {ROOT}/start boot")
    assert not fleet.json("machines", "boot", "enable")["machines"][NAME]["changed"]
    assert before == table.read_text()

    for name in ("one", "two"):
        text = (GOOD + SAY + WELL).replace("VERSION", "first")
        fleet.deploy(write_flow(tmp_path / name, {"steady.py": text}, FLOW))
    flow = write_flow(tmp_path / "one", {"steady.py": text.replace("first", "second")}, FLOW)
    deploying = fleet.start("deploy", flow, "--window", "600", "--confirm-timeout", "900")
    try:
        wait_until(lambda: "second" in said(lan, "one"), "the trial")
        lan.power_off(ROBOT)
    finally:
        deploying.kill()
        deploying.communicate()

    boot(lan)
    wait_until(lambda: running(lan, "one") and running(lan, "two"), "both deployments")
    for name in ("one", "two"):
        wait_until(
            lambda: said(lan, name)[-1] == "WORD plugh" and said(lan, name).count("first") == 2,  # noqa: B023
            f"the words of {name}",
        )
        assert ["first", "WORD plugh"] == said(lan, name)[-2:]
    wait_until(lambda: len(running(lan, "one")) == 1, "one process of it")
    lan.heal(ROBOT)
    lan.start_sshd(ROBOT)
    rows = fleet.json("status")["nodes"]
    assert {("one", "running", 1), ("two", "running", 1)} == {
        (row["deployment"], row["state"], row["generation"]) for row in rows
    }
    assert {running(lan, row["deployment"])[0] for row in rows} == {row["pid"] for row in rows}
    assert "cron" == fleet.json("machines", "boot", "status")["machines"][NAME]["way"]

    assert None is fleet.json("machines", "boot", "disable")["machines"][NAME]["way"]
    assert "dora" not in (table.read_text() if table.exists() else "")
    assert not lan.path(ROBOT, f"{ROOT}/start").exists()
