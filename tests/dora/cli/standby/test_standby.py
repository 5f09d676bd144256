"""When a standby is there, when it goes, and what it holds meanwhile. Real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.cli.standby.client import may_be_served
from tests.dora.cli.standby.laptop import ROOT, Laptop, alive, children, end, eventually

UNCALLED = """
import os, sys
from dora.cli.standby.server import Standby
from dora.cli.standby.sources import Sources
socket, lock = sys.argv[1:]
standby = Standby(socket, os.open(lock, os.O_CREAT | os.O_RDWR), "alike", Sources([]), idle=0.1)
assert os.path.exists(socket)
assert standby.serve() is None
standby.close()
"""


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    one = Laptop()
    try:
        yield one
    finally:
        one.close()


def test_it_holds_nothing_of_its_users(laptop: Laptop) -> None:
    """No file of the command that left it, no folder, no variable but what Python needs."""
    process = Path(f"/proc/{laptop.leave_a_standby()}")
    files = {name: os.readlink(process / "fd" / name) for name in os.listdir(process / "fd")}
    assert ["/dev/null"] * 3 == [files.pop(name) for name in ("0", "1", "2")]
    ours = ("socket:", "pipe:", "anon_inode:[pidfd]", "pidfd:", str(laptop.home / "dora-standby"))
    assert [] == [it for it in files.values() if not it.startswith(ours)]
    assert "/" == os.readlink(process / "cwd")
    assert "TOKEN" not in (process / "environ").read_text()
    modes = [
        path.stat().st_mode & 0o777
        for path in (laptop.home / "dora-standby", *laptop.home.glob("dora-standby/*"))
    ]
    assert [0o700, 0o600, 0o600] == modes
    assert "TOKEN" not in (process / "environ").read_text()


def test_it_can_be_seen_and_stopped(laptop: Laptop) -> None:
    """`dora standby status` names it; after `stop` nothing of it is left."""
    standby = laptop.leave_a_standby()
    assert f"pid {standby}, " in laptop.dora("standby", "status").out
    assert 0 == laptop.dora("standby", "stop").status
    eventually(lambda: not alive(standby))
    assert [] == list((laptop.home / "dora-standby").iterdir())
    assert "there is no standby\n" == laptop.dora("standby", "status").out


def test_none_is_left_where_none_is_wanted(laptop: Laptop) -> None:
    """DORA_STANDBY=0, and commands that asked no machine."""
    laptop.dora("status", cold=True)
    laptop.dora("validate", "flow.yml")
    assert not (laptop.home / "dora-standby").exists()


def test_what_stays_for_long_runs_by_itself() -> None:
    """And what becomes another program."""
    alone = (["run", "flow.yml"], ["coordinator", "flow.yml"], ["standby", "stop"], ["--help"], [])
    assert [] == [words for words in alone if may_be_served(["dora", *words])]
    assert not may_be_served(["dora", "machines", "ssh", "base"])


def test_one_that_was_killed_is_followed_by_another(laptop: Laptop) -> None:
    """Its socket is still there, and nobody listens: the command runs, and leaves a new one."""
    first = laptop.leave_a_standby()
    end(first)
    [socket] = (laptop.home / "dora-standby").glob("*.sock")
    before = socket.stat().st_ctime_ns
    assert 4 == laptop.dora("status").status
    eventually(lambda: socket.exists() and socket.stat().st_ctime_ns != before)
    second = eventually(laptop.standby)
    assert first != second
    command = laptop.hang()
    assert [] != children(second)
    laptop.hang_up()
    command.communicate(timeout=60)


def test_a_command_outlives_its_standby(laptop: Laptop) -> None:
    """kill -9 of the standby: the command goes on, and its exit code arrives."""
    standby = laptop.leave_a_standby()
    command = laptop.hang()
    end(standby)
    laptop.hang_up()
    out, _ = command.communicate(timeout=60)
    assert (4, "deaf: unknown; it has never answered this laptop\n") == (command.returncode, out)


def test_a_standby_that_is_to_end_sees_its_commands_to_their_end(laptop: Laptop) -> None:
    """After SIGTERM it takes no more, but tells clients by which signal theirs ended."""
    standby = laptop.leave_a_standby()
    command = laptop.hang()
    [child] = children(standby)
    os.kill(standby, signal.SIGTERM)
    eventually(lambda: laptop.standby() is None)
    os.kill(child, signal.SIGTERM)
    command.communicate(timeout=60)
    laptop.hang_up()
    assert -signal.SIGTERM == command.returncode
    eventually(lambda: not alive(standby))


def test_one_that_does_not_answer_is_not_waited_for(laptop: Laptop) -> None:
    """A standby that is stopped: the command runs by itself, and says what it would have said."""
    standby = laptop.leave_a_standby()
    cold = laptop.dora("status", cold=True)
    os.kill(standby, signal.SIGSTOP)
    assert cold == laptop.dora("status")


def test_it_ends_when_its_program_changed() -> None:
    """What was loaded is old: the next command runs what is there now, and leaves a new one."""
    laptop = Laptop(program := _copied())
    try:
        standby = laptop.leave_a_standby()
        words = program / "dora" / "cli" / "status.py"
        text = words.read_text().replace('"""Show', '"""Anew show').replace('"Show', '"Anew show')
        words.write_text(text)
        assert 4 == laptop.dora("status").status
        eventually(lambda: not alive(standby))
        assert standby != eventually(laptop.standby)
    finally:
        laptop.close()
        shutil.rmtree(program)


def test_another_program_has_another_standby(laptop: Laptop) -> None:
    """Two checkouts, one user, one terminal: neither does the other's work."""
    laptop.leave_a_standby()
    program = _copied()
    try:
        (program / "dora" / "cli" / "output.py").write_text("raise SystemExit(77)\n")
        assert 77 == laptop.dora("status", env={"PYTHONPATH": str(program)}).status
        assert 4 == laptop.dora("status").status
    finally:
        shutil.rmtree(program)


def test_it_ends_when_nobody_calls(laptop: Laptop) -> None:
    """By itself, and takes its socket along."""
    done = subprocess.run(
        [sys.executable, "-c", UNCALLED, str(laptop.home / "0.sock"), str(laptop.home / "0.lock")],
        timeout=60,
        check=False,
    )
    assert (0, []) == (done.returncode, list(laptop.home.glob("0.*")))


def test_it_ends_with_its_session(laptop: Laptop) -> None:
    """When the terminal's shell has gone, nobody of that session will call again."""
    shell = subprocess.Popen(
        ["sh", "-c", '"$@"; read line', "sh", *laptop.argv("status")],
        cwd=laptop.project,
        env=laptop.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    standby = eventually(laptop.standby)
    assert shell.stdin is not None
    assert shell.pid == os.getsid(standby)
    shell.stdin.close()
    shell.wait(60)
    eventually(lambda: not alive(standby))


def _copied() -> Path:
    """The program in a folder of its own."""
    target = Path(tempfile.mkdtemp(prefix="dora-program-"))
    hidden = shutil.ignore_patterns("__pycache__")
    for package in ("dora", "deploy"):
        shutil.copytree(ROOT / package, target / package, ignore=hidden)
    return target
