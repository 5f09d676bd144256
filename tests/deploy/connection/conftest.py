"""A real Unix server for connections that reach this machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.connection.suite import ECHO_SERVER


@pytest.fixture
def echo_socket() -> Iterator[str]:
    """Path of a socket where a process echoes; short, since sun_path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="dora-") as folder:
        path = str(Path(folder, "echo.sock"))
        with subprocess.Popen(
            [sys.executable, "-c", ECHO_SERVER, path], stdout=subprocess.PIPE
        ) as server:
            assert server.stdout is not None
            server.stdout.readline()
            yield path
            server.kill()
