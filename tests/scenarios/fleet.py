"""A user at a laptop, for whole stories: runs the real `dora`, and looks at the machines' disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.supervisor.layout import Layout

PATIENCE = 120.0  # seconds, for what takes a moment, or many on a busy machine


class Fleet:
    """`home` is the laptop's home folder, `inventory` the file that names the machines."""

    def __init__(self, home: Path, inventory: Path, *, cache: Path) -> None:
        self.home = home
        self.inventory = inventory
        self.env = {
            **os.environ,
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(cache),
            "DORA_INVENTORY": str(inventory),
            "NO_COLOR": "1",
            "DORA_STANDBY": "0",
        }
        # Wheels that were fetched once are not fetched again for each test's home.
        self.env.setdefault("UV_CACHE_DIR", os.path.expanduser("~/.cache/uv"))

    def command(self, *arguments: str | Path) -> list[str]:
        words = list(map(str, arguments))
        if words[0] in ("deploy", "rollback", "scale") and "--window" not in words:
            words += ["--window", "0.5"]  # most stories are not about units that die later
        return [sys.executable, "-m", "dora.cli", *words]

    def dora(
        self, *arguments: str | Path, code: int = 0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs `dora` to its end and checks its exit code."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.env,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = f"dora {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        assert code == done.returncode, said
        assert "Traceback" not in done.stderr, said
        return done

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Runs `dora` in the background; the caller ends it."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        """The JSON on stdout, which must be nothing but that."""
        return json.loads(self.dora(*arguments, "--json", code=code).stdout)

    def deploy(self, flow: Path, *arguments: str, code: int = 0) -> Any:
        return self.json("deploy", flow, "--detach", *arguments, code=code)

    def nodes(self, deployment: str | None = None, *, code: int = 0) -> dict[str, dict[str, Any]]:
        """Node -> its row of `dora status`."""
        names = [deployment] if deployment else []
        return {row["node"]: row for row in self.json("status", *names, code=code)["nodes"]}

    def pids(self, *, code: int = 0) -> dict[str, int]:
        """Node or router@machine -> pid."""
        result = self.json("status", code=code)
        rows = [*result["nodes"], *result["routers"]]
        return {f"{row['node']}@{row['machine']}": row["pid"] for row in rows}

    def lines(self, node: str, *, code: int = 0) -> list[str]:
        done = self.dora("logs", "--node", node, "--tail", "100000", "--json", code=code)
        return [json.loads(row)["line"] for row in done.stdout.splitlines()]

    def assert_nothing_is_left(self) -> None:
        """No process of the embedded machines, no socket, no pipe."""
        wait_until(lambda: not processes_below(self.home), "the last process to end")
        machines = (self.home / "data/dora/embedded").glob("*/.local/share/dora")
        runs = [Layout(str(root)).run for root in machines]  # a short path, often in /tmp
        found = [path for root in (self.home, *runs) for path in root.rglob("*")]
        assert [path for path in found if path.is_socket() or path.is_fifo()] == []


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Polls until `condition()` is true. Raises AssertionError, naming `what`, if it never is."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process of this machine runs (a zombie does not)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def processes_below(folder: Path) -> dict[int, str]:
    """Processes of this machine whose command line names something below `folder`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = os.fsdecode((entry / "cmdline").read_bytes().replace(b"\0", b" "))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(folder) in line and alive(int(entry.name)):
                found[int(entry.name)] = line
    return found


def write_flow(folder: Path, scripts: Mapping[str, str], flow: str) -> Path:
    """A folder with a flow file and its scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(text)
    file = folder / "flow.yml"
    file.write_text(flow)
    return file
