"""A machine without a free byte: what runs goes on, trials end, and there is a way out."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.deploy.supervisor.machine import Machine, until


@pytest.fixture
def small(machine: Machine) -> Iterator[Machine]:
    """Its disk has 2 MB; a supervisor runs."""
    assert os.geteuid() == 0, "run this test as root: it mounts a small filesystem"
    root = machine.layout.root
    root.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(root)]
    subprocess.run(mount, check=True)
    try:
        machine.start()
        yield machine
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)
        machine.close()


def fill(machine: Machine) -> None:
    with pytest.raises(OSError, match="No space left"):
        (machine.layout.root / "filler").write_bytes(bytes(4_000_000))


def current(machine: Machine) -> object:
    return machine.ask("deployments")["deployments"]["flow"]["current"]


def test_a_new_generation_that_does_not_fit_changes_nothing(small: Machine) -> None:
    """The old one runs on with its process, no trial is left, and old ones can be removed."""
    for number in range(3):
        small.activate(small.sleeper("a", env={"N": str(number)}))
    pid = small.wait("a", "running")["pid"]
    fill(small)
    reply = small.activate(small.sleeper("b"), confirm_timeout=60)
    assert ("io", "the disk is full") == (reply["code"], reply["error"])
    assert 3 == current(small)
    assert None is small.ask("deployments")["deployments"]["flow"]["pending"]
    assert pid == small.wait("a", "running")["pid"]
    with small.client() as client:
        client.ok("lock_all", owner="ada@laptop")
        assert {"flow": [1, 2]} == client.ok("prune", keep=1)["removed"]
    (small.layout.root / "filler").unlink()
    assert 4 == small.activate(small.sleeper("b"))["number"]


def test_a_trial_ends_although_the_disk_is_full(small: Machine) -> None:
    """Going back needs no space; only the reason may not fit."""
    small.activate(small.sleeper("kept"))
    pid = small.wait("kept", "running")["pid"]
    small.activate(small.sleeper("kept"), small.sleeper("b"), confirm_timeout=2)
    fill(small)
    until(lambda: current(small) == 1, "the way back")
    until(lambda: set(small.states()) == {"kept"}, "the end of what came")
    assert pid == small.states()["kept"]["pid"]


def test_a_supervisor_starts_on_a_full_disk(small: Machine) -> None:
    """Old generations are removed through it; it takes over what runs, and ends what is over."""
    profile = replace(small.profile(small.sleeper("kept")), documents={"about": "text\n" * 5000})
    with small.client() as client:
        client.ok("lock", deployment="flow", owner="ada@laptop")
        request = {"deployment": "flow", "creator": "ada@laptop", "expected": None}
        client.ok("activate", profile=profile.to_json(), **request)
    pid = small.wait("kept", "running")["pid"]
    small.activate(small.sleeper("kept"), small.sleeper("b"), confirm_timeout=3)
    small.wait("b", "running")
    small.kill()
    fill(small)
    time.sleep(3)
    small.start()
    until(lambda: current(small) == 1, "the way back")
    until(lambda: set(small.states()) == {"kept"}, "the end of what came")
    assert pid == small.states()["kept"]["pid"]
    with small.client() as client:
        client.ok("lock_all", owner="ada@laptop")
        client.ok("prune", keep=1)


def test_units_that_print_go_on(small: Machine) -> None:
    """What they print has room ahead; when that is used up, their own oldest lines make way."""
    chatty = "import time\nfor n in range(10**9): print(n, 'x' * 1000); time.sleep(0.01)"
    small.activate(small.unit("a", chatty))
    pid = small.wait("a", "running")["pid"]
    until(lambda: small.log("a"), "the first line")
    fill(small)

    def last() -> int:
        whole = [line for line in small.log("a").splitlines() if line.endswith("x" * 1000)]
        return int(whole[-1].split()[0]) if whole else 0

    until(lambda: last() > 450, "many lines")  # more than it has ahead
    assert pid == small.wait("a", "running")["pid"]
    late = small.unit("late", "print('x', flush=True); import time; time.sleep(1000)")
    assert "io" == small.activate(small.unit("a", chatty), late)["code"]
    assert pid == small.wait("a", "running")["pid"]
