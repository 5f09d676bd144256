"""A machine for tests: a root of its own, a detached supervisor, clients, and an end to all of it.

`$SUPERVISOR_PYTHON` names another Python for the machine's side (3.8 or newer).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from deploy import agent
from deploy.profile import Profile
from deploy.supervisor import cgroups
from deploy.supervisor.journal import find_orphans
from deploy.supervisor.layout import Layout
from deploy.unit import RestartPolicy, StopPolicy, Unit

PYTHON = os.environ.get("SUPERVISOR_PYTHON", sys.executable)
PATIENCE = 25.0  # seconds; less than the half minute for which a supervisor waits for work

Value = TypeVar("Value")


def until(question: Callable[[], Value | None], what: str = "it") -> Value:
    """The first true answer; fails after a while."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:g} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def removed(group: Path) -> bool:
    """Whether the control group has gone; its last process may still be on its way out."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Client:
    """A control connection, in lines."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, **fields: Any) -> None:
        self.socket.sendall(json.dumps(fields).encode() + b"\n")

    def line(self) -> dict[str, Any]:
        line = self._file.readline()
        assert line, "the supervisor hung up"
        data = json.loads(line)
        assert isinstance(data, dict)
        return data

    def lines(self) -> Iterator[dict[str, Any]]:
        for line in self._file:
            yield json.loads(line)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        self.send(op=op, **fields)
        return self.line()

    def ok(self, op: str, **fields: Any) -> dict[str, Any]:
        reply = self.ask(op, **fields)
        assert reply["ok"] is True, reply
        return reply

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Machine:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
        self.layout = Layout(str(self.folder / "root"))
        self._pids: set[int] = set()

    # the agent

    def call(
        self, verb: str, *args: str, root: str | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """A verb of the agent, shipped as over SSH."""
        argv = agent.command(PYTHON, root or str(self.layout.root), verb, *args)
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline() == b"need\n":
                process.stdin.write(agent.bundle().packed)
                process.stdin.flush()
                assert process.stdout.readline() == b"ready\n"
            output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(argv, process.returncode, output, errors)

    def start(self) -> int:
        """Makes sure that a supervisor runs; its pid."""
        done = self.call("start")
        reply = json.loads(done.stdout or b"{}")
        assert reply.get("ok") is True, (done, self.supervisor_log())
        self._pids.add(reply["pid"])
        return int(reply["pid"])

    def kill(self) -> None:
        """kill -9 of the supervisor."""
        pid = self.ask("hello")["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), "the end of the supervisor")

    def supervisor_log(self) -> str:
        path = self.layout.supervisor_log
        return path.read_text() if path.exists() else ""

    def upgrade(self, agent: str) -> None:
        """Returns when the supervisor goes on as that agent, of another name than the last one."""
        assert {"ok": True} == self.ask("upgrade", agent=agent)

        def upgraded() -> bool:
            try:
                return bool(self.ask("hello")["agent"] == agent)
            except (AssertionError, OSError):  # it hung up on us to be replaced
                return False

        until(upgraded, "the upgrade")

    # requests

    def client(self) -> Client:
        return Client(self.layout.socket)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        with self.client() as client:
            return client.ask(op, **fields)

    def activate(self, *units: Unit, deployment: str = "flow", **fields: Any) -> dict[str, Any]:
        profile = self.profile(*units, deployment=deployment)
        with self.client() as client:
            client.ok("lock", deployment=deployment, owner="ada@laptop")
            current = client.ok("deployments")["deployments"].get(deployment, {})
            request = {
                "deployment": deployment,
                "profile": profile.to_json(),
                "creator": "ada@laptop",
                "expected": current.get("hash"),
                **fields,
            }
            return client.ask("activate", **request)

    def stop(self, deployment: str = "flow") -> dict[str, Any]:
        with self.client() as client:
            client.ok("lock", deployment=deployment, owner="ada@laptop")
            return client.ok("stop", deployment=deployment)

    def profile(self, *units: Unit, deployment: str = "flow") -> Profile:
        return Profile(deployment=deployment, machine="rover", units=units)

    def states(self, deployment: str = "flow") -> dict[str, dict[str, Any]]:
        return {u["name"]: u for u in self.ask("status", deployment=deployment)["units"]}

    def wait(self, unit: str, state: str, deployment: str = "flow") -> dict[str, Any]:
        """The unit's record once it is in that state."""

        def there() -> dict[str, Any] | None:
            record = self.states(deployment).get(unit)
            return record if record is not None and record["state"] == state else None

        try:
            return until(there, f"{unit} {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.states(deployment)}") from None

    def log(self, unit: str, deployment: str = "flow") -> str:
        path = self.layout.log(deployment, unit)
        return path.read_text() if path.exists() else ""

    def processes(self, unit: str) -> list[int]:
        return [o.pid for o in find_orphans(self.layout) if o.key.unit == unit]

    # units

    def unit(self, name: str, script: str, **fields: Any) -> Unit:
        """A unit that runs a Python script (without start-up costs)."""
        return Unit(
            name=name,
            argv=(PYTHON, "-I", "-S", "-u", "-c", script),
            cwd=str(self.layout.state("flow", name)),
            **{"stop": StopPolicy(term_after=5, kill_after=5), **fields},
        )

    def sleeper(self, name: str, **fields: Any) -> Unit:
        """Runs until it is told to leave."""
        return Unit(
            name=name,
            argv=("sleep", "1000"),
            cwd=str(self.layout.state("flow", name)),
            **{"restart": RestartPolicy(when="on-failure"), **fields},
        )

    def secret(self, name: str, value: bytes) -> dict[str, Any]:
        text = base64.b64encode(value).decode()
        with self.client() as client:
            client.ok("lock", deployment="flow", owner="ada@laptop")
            return client.ask("secret", deployment="flow", name=name, value=text)

    # the end

    def close(self) -> None:
        """No process, socket or file of this machine stays."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            pids = {o.pid for o in find_orphans(self.layout)} | self._supervisors()
            if not pids:
                break
            for pid in pids:
                try:
                    os.killpg(pid, signal.SIGKILL)
                except ProcessLookupError:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            time.sleep(0.02)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.layout.run, ignore_errors=True)
        groups = cgroups.find(self.layout.root)
        if groups is not None and groups.base.is_dir():
            left = [path for path in groups.base.iterdir() if path.is_dir()]
            until(lambda: not [path for path in left if not removed(path)], "the groups' end")
            groups.close()

    def _supervisors(self) -> set[int]:
        """Every process whose command line names our root."""
        root = os.fsencode(str(self.layout.root))
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if root in words and alive(int(folder.name)):
                    found.add(int(folder.name))
        return found


READY = """
import os, socket
def ready():
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
"""

# Leaves when it is asked on the control pipe.
POLITE = """
import os
pipe = os.open(os.environ["DEPLOY_CONTROL"], os.O_RDWR)
print("up", flush=True)
print("told", os.read(pipe, 100), flush=True)
"""


def variable(pid: int, name: str) -> str | None:
    """Of the environment that the process began with."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    values = dict(entry.decode().partition("=")[::2] for entry in entries)
    return values.get(name)
