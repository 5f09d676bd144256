"""Other processes that publish and subscribe, for tests: forked quickly, killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.dora.harness import ROOT, wait_until

# Has nothing open that a fork could disturb. Each line on stdin becomes a child that runs the
# line's code; its pid is the answer.
_NURSERY = """
import os, signal, sys
import numpy as np, pyarrow as pa
import dora.communication.shm.layer
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        exec(eval(line), {})
        os._exit(0)
    print(child, flush=True)
"""

# What all children begin with.
_START = """
import json, os, select, signal, sys, time
import numpy as np, pyarrow as pa
from dora.communication.base import Kind
from dora.communication.shm.layer import ShmLayer
ROUTE, T = "flow/node/output", 1
def say(**what):
    with open(LOG, "a") as file:
        file.write(json.dumps(what) + "\\n")
def wait(subscription):
    poll = select.poll()
    poll.register(subscription.fileno(), select.POLLIN)
    while (message := subscription.receive()) is None:
        poll.poll()
    return message
"""


class Peer:
    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Returns when it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        wait_until(lambda: not Path(f"/proc/{self.pid}").exists(), f"the end of {self.pid}")

    def said(self) -> list[dict[str, Any]]:
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]

    def wait_for(self, key: str) -> Any:
        """The last value that it said for `key`."""

        def look() -> list[Any]:
            return [line[key] for line in self.said() if key in line]

        return wait_until(look, f"{key!r} from {self.pid}")[-1]


class Nursery:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self._peers: list[Peer] = []
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        )

    def start(self, code: str) -> Peer:
        """Runs `code` in a new process; FOLDER is where the sockets are."""
        self._count += 1
        log = self.folder / f"peer-{self._count}.log"
        text = f"FOLDER, LOG = {str(self.folder)!r}, {str(log)!r}\n{_START}\n{code}"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(repr(text) + "\n")
        self._process.stdin.flush()
        peer = Peer(int(self._process.stdout.readline()), log)
        self._peers.append(peer)
        return peer

    def end(self) -> None:
        for peer in self._peers:
            try:
                peer.signal(signal.SIGKILL)
            except ProcessLookupError:
                pass  # has ended
        self._process.kill()
        self._process.communicate()


@contextmanager
def nursery(folder: Path) -> Iterator[Nursery]:
    peers = Nursery(folder)
    try:
        yield peers
    finally:
        peers.end()
