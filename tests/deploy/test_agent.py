"""The agent: the same bytes everywhere, shipped once, honest where it cannot run."""

from __future__ import annotations

import ast
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy import agent
from deploy.connection.local import LocalConnection
from deploy.errors import MachineError
from deploy.inventory import Machine
from tests.deploy.supervisor.machine import PYTHON
from tests.deploy.supervisor.machine import Machine as Bench
from tests.test_architecture import ROBOT_SIDE, ROOT, files_of


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[LocalConnection]:
    connection = LocalConnection(Machine(id="here", host="here"), tmp_path)
    yield connection
    await connection.close()


def test_the_bundle_is_what_runs_on_machines_and_nothing_else() -> None:
    """Entry points and all that they import; no laptop code, no tests."""
    with zipfile.ZipFile(io.BytesIO(agent.bundle().data)) as archive:
        inside = set(archive.namelist())
    allowed = {str(path.relative_to(ROOT)) for path in files_of(ROBOT_SIDE)}
    assert set() == inside - allowed - {"__main__.py"}
    assert {"deploy/__init__.py", "deploy/supervisor/main.py", "deploy/unit.py"} <= inside


def test_the_bundle_is_the_same_in_every_process() -> None:
    """Its hash is the agent's name: two laptops of one version agree on it."""
    program = "from deploy import agent; print(agent.bundle().hash)"
    agent.bundle.cache_clear()  # of sources that may have been edited since
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert agent.bundle().hash == done.stdout.strip()


async def test_a_first_contact_ships_it_and_a_second_does_not(
    connection: LocalConnection, tmp_path: Path
) -> None:
    """The same channel brings the agent and the verb's answer; nobody else can read it there."""
    place = tmp_path / "root" / "agent" / agent.bundle().hash
    times = []
    for _ in range(2):
        channel = await agent.start(connection, PYTHON, "~/root", "version")
        assert agent.bundle().hash == json.loads(await channel.readline())["agent"]
        assert b"" == await channel.read()
        await channel.close()
        times.append(place.stat().st_mtime_ns)
    assert times[0] <= times[1]
    assert [place.name] == os.listdir(place.parent)
    assert 0 == stat.S_IMODE((tmp_path / "root").stat().st_mode) & 0o077


async def test_probe_tells_the_facts_without_a_supervisor(connection: LocalConnection) -> None:
    """Absolute paths, cores, ports; nothing is started."""
    channel = await agent.start(connection, PYTHON, "~/root", "probe")
    facts = json.loads(await channel.readline())
    await channel.close()
    root = facts["root"]
    assert os.path.isabs(root)
    assert sorted(os.sched_getaffinity(0)) == facts["cores"]
    assert 8 == len(facts["free_ports"])
    assert (False, {}) == (facts["supervisor"]["running"], facts["deployments"])
    assert not os.path.exists(facts["run"])


async def test_a_machine_without_that_python_is_told_what_to_do(
    connection: LocalConnection,
) -> None:
    """The message names it; the hint names the key of the inventory."""
    with pytest.raises(MachineError, match="no-such-python") as caught:
        await agent.start(connection, "no-such-python", "~/root", "version")
    assert "python:" in (caught.value.hint or "")


async def test_a_python_that_is_too_old_says_its_version(
    connection: LocalConnection, tmp_path: Path
) -> None:
    """Boot stops before it needs anything that the old one lacks."""
    old = tmp_path / "old-python"
    program = "import sys; sys.version_info = (3, 5, 9); exec(sys.argv.pop(2))"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{program}' \"$@\"\n")
    old.chmod(0o755)
    with pytest.raises(MachineError, match=r"3\.8 or newer is needed.*3\.5\.9"):
        await agent.start(connection, str(old), "~/root", "version")


def test_boot_parses_on_old_pythons() -> None:
    """It says which Python it found, so it must get as far as that on any."""
    source = (ROOT / "deploy/supervisor/boot.py").read_text()
    tree = ast.parse(source, feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal)
    keywords = [
        a for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) for a in n.args.kwonlyargs
    ]
    returns = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.returns]
    causes = [n for n in ast.walk(tree) if isinstance(n, ast.Raise) and n.cause]
    assert [] == [node for node in ast.walk(tree) if isinstance(node, newer)]
    assert [] == [*keywords, *returns, *causes]
    assert source.isascii()


def test_an_agent_that_was_damaged_on_its_way_is_not_installed(tmp_path: Path) -> None:
    """The hash is checked before anything is written."""
    argv = agent.command(PYTHON, str(tmp_path / "root"), "version")
    packed = agent.Agent("", b"something else").packed
    done = subprocess.run(argv, input=packed, capture_output=True)
    assert b"need\n" == done.stdout
    assert b"damaged" in done.stderr
    assert not (tmp_path / "root").exists()


def test_an_interrupted_shipment_leaves_nothing(tmp_path: Path) -> None:
    """The next one starts afresh."""
    argv = agent.command(PYTHON, str(tmp_path / "root"), "version")
    done = subprocess.run(argv, input=agent.bundle().packed[:1000], capture_output=True)
    assert b"hung up" in done.stderr
    assert not (tmp_path / "root").exists()


async def test_the_bridge_speaks_to_the_supervisor(connection: LocalConnection) -> None:
    """Where SSH may not forward sockets, a command does."""
    bench = Bench()
    try:
        bench.start()
        root = str(bench.layout.root)
        channel = await agent.start(connection, PYTHON, root, "bridge")
        for _ in range(3):
            await channel.write(b'{"op": "hello"}\n')
            assert root == json.loads(await channel.readline())["root"]
        await channel.write_eof()
        assert b"" == await channel.read()
        await channel.close()
    finally:
        bench.close()


def test_the_bundle_holds_all_that_its_modules_import() -> None:
    """What a parser finds in them is in it, too: nothing is missed that runs on machines."""
    with zipfile.ZipFile(io.BytesIO(agent.bundle().data)) as archive:
        inside = set(archive.namelist())
        sources = [archive.read(name) for name in inside]
    needed = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                needed |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                needed |= {f"{node.module}.{alias.name}" for alias in node.names}
                needed.add(str(node.module))
    paths = {f"{name.replace('.', '/')}{end}" for name in needed for end in (".py", "/__init__.py")}
    assert {path for path in paths if (ROOT / path).is_file()} <= inside
