"""What a user sees of a command that a standby does: what the command itself would have shown."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.dora.cli.standby.laptop import Ended, Found, Laptop, children, eventually, served


@pytest.fixture(scope="module")
def laptop() -> Iterator[Laptop]:
    one = Laptop()
    try:
        one.leave_a_standby()
        yield one
    finally:
        one.close()


def by_standby(laptop: Laptop, *words: str, **more: Any) -> Ended:
    """Again, where it has run by itself: a standby that takes two seconds is not waited for."""
    return one_by_standby(laptop, lambda: laptop.dora(*words, **more))


def one_by_standby(laptop: Laptop, run: Callable[[], Found]) -> Found:
    standby = laptop.standby()
    assert standby is not None

    def once() -> Found | None:
        before = served(standby)
        done = run()
        return done if served(standby) > before else None  # who ran it heard of its end there

    return eventually(once)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, ["validate", "flow.yml"]),
        (0, ["graph", "flow.yml", "--mermaid"]),
        (0, ["status", "--help"]),
        (2, ["status", "--nonsense"]),
        (2, ["nonsense"]),
        (3, ["validate", "broken.yml"]),
        (4, ["status"]),
        (4, ["status", "--json"]),
        (4, ["deploy", "flow.yml", "--detach", "--json"]),
    ],
)
def test_words_and_exit_code_are_the_same(laptop: Laptop, status: int, words: list[str]) -> None:
    """stdout, stderr and the exit code, for what succeeds and for what fails."""
    cold = laptop.dora(*words, cold=True)
    assert status == cold.status
    assert cold == by_standby(laptop, *words)


def test_environment_and_folder_are_the_users(laptop: Laptop) -> None:
    """Variables that were set since the standby was started count, and so do those that went."""
    inventory = {"DORA_INVENTORY": "nowhere.yml"}
    cold = laptop.dora("status", env=inventory, cold=True)
    assert cold == by_standby(laptop, "status", env=inventory)
    assert "nowhere.yml" in cold.err
    assert "nowhere.yml" not in by_standby(laptop, "status").err


def test_files_are_written_as_the_umask_says(laptop: Laptop) -> None:
    """And into the folder that the command was called in."""
    page = laptop.project / "page.html"
    before = os.umask(0o027)
    try:
        by_standby(laptop, "graph", "flow.yml", "-o", "page.html")
    finally:
        os.umask(before)
    assert 0o640 == page.stat().st_mode & 0o777


def test_files_that_the_shell_opened_can_be_read(laptop: Laptop) -> None:
    """Process substitution: the inventory is what another program prints."""
    script = "%s status -i <(echo 'machines: {one: {host: 127.0.0.1, port: 1}}')"
    words = script % " ".join(laptop.argv())

    def run(env: dict[str, str]) -> tuple[int, str, str]:
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=laptop.project,
            env={**laptop.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    cold = run({"DORA_STANDBY": "0"})
    assert "one" in cold[2]
    assert cold == one_by_standby(laptop, lambda: run({}))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1]
)
def test_a_signal_ends_it_in_the_same_way(laptop: Laptop, number: signal.Signals) -> None:
    """Whoever waits for it sees the same status, be it a code or a signal."""

    def ended(cold: bool) -> int:
        command = laptop.hang(cold=cold)
        command.send_signal(number)
        command.communicate(timeout=60)
        laptop.hang_up()
        return command.returncode

    assert ended(cold=True) == ended(cold=False)


def test_a_killed_client_takes_the_command_with_it(laptop: Laptop) -> None:
    """kill -9 of `dora` ends what it does, as it does without a standby."""
    standby = laptop.standby()
    assert standby is not None
    command = laptop.hang()
    [child] = children(standby)
    command.kill()
    command.communicate(timeout=60)
    eventually(lambda: child not in children(standby))
    laptop.hang_up()


def test_a_killed_command_ends_the_client_in_the_same_way(laptop: Laptop) -> None:
    """Whoever waits for `dora` sees that it was killed."""
    standby = laptop.standby()
    assert standby is not None
    command = laptop.hang()
    [child] = children(standby)
    os.kill(child, signal.SIGKILL)
    command.communicate(timeout=60)
    laptop.hang_up()
    assert -signal.SIGKILL == command.returncode


def test_ignored_signals_have_it_run_by_itself(laptop: Laptop) -> None:
    """`nohup dora`: the standby does not ignore SIGHUP, so it is not asked."""
    standby = laptop.standby()
    assert standby is not None
    command = subprocess.Popen(
        ["nohup", *laptop.argv("status", "-i", "deaf.yml")],
        cwd=laptop.project,
        env=laptop.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    laptop.await_call()
    assert [] == children(standby)
    command.kill()
    command.communicate()
    laptop.hang_up()
