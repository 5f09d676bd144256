"""A file with mistakes: the user learns where and what, exit code 3, and nothing is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = (sys.executable, "-m", "dora.cli", "deploy", "flow.yml", "-i", "machines.yml", "--detach")
GOOD_FLOW = """\
nodes:
  - id: camera
    path: camera.py
    outputs: [image]
  - id: plot
    path: plot.py
    inputs: {image: camera/image}
"""
GOOD_INVENTORY = "machines:\n  here: {host: embedded}\n"

FLOWS = {
    "an unknown output": (
        GOOD_FLOW.replace("camera/image}", "camera/imgae}"),
        ("flow.yml:7:", "imgae", "'image'"),
    ),
    "an unknown node": (
        GOOD_FLOW.replace("camera/image}", "camra/image}"),
        ("flow.yml:7:", "camra", "camera"),
    ),
    "a duplicate id": (
        GOOD_FLOW.replace("id: plot", "id: camera"),
        ("flow.yml:5:", "camera"),
    ),
    "an unknown key": (
        GOOD_FLOW.replace("outputs: [image]", "output: [image]"),
        ("flow.yml:4:", "output", "outputs"),
    ),
    "a node without a path": (
        GOOD_FLOW.replace("    path: plot.py\n", ""),
        ("flow.yml:5:", "plot", "path"),
    ),
    "a bad timer": (
        GOOD_FLOW.replace("camera/image}", "camera/image, tick: dora/timer/milis/10}"),
        ("flow.yml:7:", "milis", "millis"),
    ),
    "a bad queue size": (
        GOOD_FLOW.replace("camera/image}", "{source: camera/image, queue_size: ten}}"),
        ("flow.yml:7:", "queue_size", "ten"),
    ),
    "a bad queue policy": (
        GOOD_FLOW.replace("camera/image}", "{source: camera/image, queue_policy: drop_old}}"),
        ("flow.yml:7:", "drop_old", "drop_oldest"),
    ),
    "an undefined variable": (
        GOOD_FLOW + "    env: {GAIN: $NO_SUCH_VARIABLE}\n",
        ("flow.yml:8:", "NO_SUCH_VARIABLE"),
    ),
    "a cycle that nothing can start": (
        GOOD_FLOW.replace(
            "    outputs: [image]\n", "    outputs: [image]\n    inputs: {p: plot/p}\n"
        )
        + "    outputs: [p]\n",
        ("flow.yml:", "camera", "plot"),
    ),
    "a syntax error": (GOOD_FLOW + "  - id: [broken\n", ("flow.yml:",)),
    "a key given twice": (
        GOOD_FLOW.replace("    path: plot.py\n", "    path: plot.py\n    path: other.py\n"),
        ("flow.yml:7:", "path"),
    ),
    "no nodes at all": ("env: {}\n", ("flow.yml:1:", "nodes")),
    "an id with a space": (
        GOOD_FLOW.replace("id: plot", "id: my plot"),
        ("flow.yml:5:", "my plot"),
    ),
    "a script that is not there": (
        GOOD_FLOW.replace("path: plot.py", "path: plott.py"),
        ("flow.yml:", "plott.py"),
    ),
    "a machine that the inventory lacks": (
        GOOD_FLOW + "    deploy: {machine: their}\n",
        ("flow.yml:", "their", "here"),
    ),
    "an operator whose code is not there": (
        "nodes:\n  - {id: camera, operators: [{id: op, python: camra.py}]}\n",
        ("flow.yml:2:", "operator op", "camra.py", "camera.py"),
    ),
    "a node that joins by hand": (
        GOOD_FLOW.replace("path: plot.py", "path: dynamic"),
        ("flow.yml:6:", "joins by hand"),
    ),
    "logs as messages": (
        GOOD_FLOW.replace("camera/image}", "dora/logs/error}"),
        ("flow.yml:7:", "dora/logs/error"),
    ),
    "labels that no machine has": (
        GOOD_FLOW + "    deploy: {labels: {gpu: jetson}}\n",
        ("flow.yml:", "gpu", "jetson"),
    ),
}

INVENTORIES = {
    "an unknown key": (
        "machines:\n  here: {hots: embedded}\n",
        ("machines.yml:2:", "hots", "host"),
    ),
    "a bad port": (
        "machines:\n  here: {host: h, port: 99999}\n",
        ("machines.yml:2:", "99999"),
    ),
    "a duplicate machine": (
        "machines:\n  here: {host: a}\n  here: {host: b}\n",
        ("machines.yml:3:", "here"),
    ),
    "a duplicate id in a list": (
        "machines:\n  - {id: a, host: h}\n  - {id: a, host: i}\n",
        ("machines.yml:3:", "'a'"),
    ),
    "no machines": ("defaults: {user: robot}\n", ("machines.yml:1:", "machines")),
    "a host that would be an option": (
        "machines:\n  here: {host: -oProxyCommand=x}\n",
        ("machines.yml:2:", "-oProxyCommand=x"),
    ),
    "a bad list of cores": (
        "machines:\n  here: {host: h, cores: 7-2}\n",
        ("machines.yml:2:", "7-2"),
    ),
    "a bad host key": (
        "machines:\n  here: {host: h, host_key: MD5:aa}\n",
        ("machines.yml:2:", "MD5:aa", "SHA256"),
    ),
    "labels that are no mapping": (
        "machines:\n  here: {host: h, labels: [gpu]}\n",
        ("machines.yml:2:", "labels"),
    ),
    "a bad flag": (
        "machines:\n  here: {host: h, optional: maybe}\n",
        ("machines.yml:2:", "maybe"),
    ),
    "a syntax error": ("machines: {here\n", ("machines.yml:",)),
}


def deploy(
    folder: Path, flow: str, inventory: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    (folder / "flow.yml").write_text(flow)
    (folder / "machines.yml").write_text(inventory)
    for script in ("camera.py", "plot.py", "other.py"):
        (folder / script).write_text("")
    home = folder / "home"
    home.mkdir()
    return subprocess.run(
        [*DEPLOY, *arguments],
        cwd=folder,
        env={**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str], words: tuple[str, ...]) -> None:
    said = done.stderr
    assert done.returncode == 3, said
    assert [word for word in words if word not in said] == [], said
    assert "Traceback" not in said
    assert done.stdout == ""


@pytest.mark.parametrize("kind", FLOWS)
def test_a_broken_flow_file_is_refused(kind: str, tmp_path: Path) -> None:
    """The message has file, line, the offending value, and what would be right."""
    flow, words = FLOWS[kind]
    done = deploy(tmp_path, flow, GOOD_INVENTORY)

    assert_refused(done, words)
    assert list(tmp_path.glob("home/**/deployments/*")) == []


@pytest.mark.parametrize("kind", INVENTORIES)
def test_a_broken_inventory_is_refused(kind: str, tmp_path: Path) -> None:
    """The same for the machines file; no machine is spoken to."""
    inventory, words = INVENTORIES[kind]
    done = deploy(tmp_path, GOOD_FLOW, inventory)

    assert_refused(done, words)
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "their"], ("--limit", "their", "here")),
        (["--name", "a b"], ("--name", "'a b'")),
    ],
)
def test_a_mistake_on_the_command_line_is_one_of_usage(
    arguments: list[str], words: tuple[str, ...], tmp_path: Path
) -> None:
    """Exit code 2, before anything is built."""
    done = deploy(tmp_path, GOOD_FLOW, GOOD_INVENTORY, *arguments)

    assert done.returncode == 2, done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """One run, all mistakes."""
    flow = GOOD_FLOW.replace("camera/image}", "camra/image}").replace("outputs:", "outputz:")
    done = deploy(tmp_path, flow, GOOD_INVENTORY)

    assert_refused(done, ("flow.yml:4:", "outputz", "flow.yml:7:", "camra"))
