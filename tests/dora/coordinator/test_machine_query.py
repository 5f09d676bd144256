"""What looks at machines for us: run as it runs there, by a Python without our packages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.connection.embedded import EmbeddedConnector
from deploy.errors import MachineError
from deploy.inventory import Machine
from deploy.session import Session
from dora.coordinator.doctor.evidence import Query
from dora.coordinator.machine_query import halted, options
from dora.coordinator.onlooker import TCP, UDP, Onlooker, onlooker


@pytest.fixture
async def looker(tmp_path: Path) -> AsyncIterator[Onlooker]:
    connector = EmbeddedConnector(tmp_path)
    session = await Session.open(connector, Machine("here", "embedded"))
    async with onlooker(session) as found:
        yield found
    await session.close()
    await connector.close()


async def test_what_is_told_makes_sense(looker: Onlooker) -> None:
    """On this machine, of which the test knows some things itself."""
    query = Query.from_json("here", await looker.facts("/nowhere/yet"))

    assert query.memfd
    assert Path("/dev/shm").exists() is (query.shm_free is not None)
    assert os.access("/", os.W_OK) is query.writable
    assert () == query.missing_modules


async def test_clocks_are_compared(looker: Onlooker) -> None:
    """This machine's with itself: no further apart than the measurement may be wrong."""
    clock = await looker.clock()

    assert abs(clock.ahead) <= clock.error + 0.01


async def test_ports_that_answer_and_that_do_not(looker: Onlooker) -> None:
    """What listens for us answers over both families; a closed port refuses; a silent one waits."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = await looker.listen([silent.getsockname()[1], *range(42000, 42100)])
        assert port is not None
        targets = [
            ("127.0.0.1", port, UDP),
            ("127.0.0.1", 1, UDP),  # no program is given this one by chance
            ("127.0.0.1", silent.getsockname()[1], UDP),
        ]
        reached = await looker.reach(targets)

    assert [None, "refused", "timeout"] == [it.error for it in reached]
    assert reached[0].milliseconds is not None


async def test_ports_are_tried_by_tcp(looker: Onlooker) -> None:
    """What listens for us answers by both; a closed port refuses; one whose queue is full is
    silent. What others have by either protocol is not taken."""
    with socket.socket() as taken, socket.socket() as silent, ExitStack() as crowd:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(2):
            waiting = crowd.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        ports = [taken.getsockname()[1], *range(42100, 42200)]
        port = await looker.listen(ports, (UDP, TCP))
        assert port not in (None, ports[0])
        assert port is not None
        targets = [
            ("127.0.0.1", port, TCP),
            ("127.0.0.1", port, UDP),
            ("127.0.0.1", 1, TCP),
            ("127.0.0.1", silent.getsockname()[1], TCP),
        ]
        reached = await looker.reach(targets)
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            pass

    assert [None, None, "refused", "timeout"] == [it.error for it in reached]
    assert [True] * 2 == [it.milliseconds is not None for it in reached[:2]]
    assert await looker.listen([port], (TCP,)) is None


def test_a_stopped_process_is_told_from_one_that_runs() -> None:
    """By its state in the kernel; one that is gone is neither."""
    program = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert [] == halted([process.pid])
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert [process.pid] == halted([process.pid, 2**22 + 1])
        process.kill()


async def test_nonsense_is_an_error_of_the_machine(looker: Onlooker) -> None:
    """Not a traceback of ours."""
    with pytest.raises(MachineError):
        Query.from_json("here", {"memfd": True})


def test_of_sshds_options_the_first_word_counts() -> None:
    """In any case and form; what stands below `Match` is another's."""
    text = "# MaxSessions 1\nmaxsessions=4\nMaxSessions 9\nPort 22\nMatch User x\nMaxStartups 1\n"

    assert {"maxsessions": "4"} == options(text)
