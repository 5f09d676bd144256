"""Real routers and node scripts in a temporary folder, for tests; ends every process it started."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from dora.protocol.config import NODE_CONFIG, InputConfig, Links, NodeConfig, OutputConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary
from dora.protocol.router import ROUTER_CONFIG, RouterConfig

PATIENCE = 30.0  # seconds until a wait counts as failed; generous, machines are busy
ROOT = Path(__file__).resolve().parents[2]
_ports = itertools.count()


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true result of `condition`, asked again and again."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.01)
    return result


class Process:
    """One running program; its output is in `text()`."""

    def __init__(self, argv: list[str], env: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                argv,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def text(self) -> str:
        return self.log.read_text()

    def lines(self) -> list[str]:
        """Complete lines only."""
        return self.text().rpartition("\n")[0].splitlines()

    def wait(self, patience: float = PATIENCE) -> int:
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log.stem} did not end; it said:\n{self.text()}") from None

    def wait_for(self, text: str, patience: float = PATIENCE) -> None:
        try:
            wait_until(lambda: text in self.text(), f"{text!r} from {self.log.stem}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said:\n{self.text()}") from None

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """With whatever it has forked: it leads a process group of its own."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all gone already
        self.popen.wait()


class Playground:
    """A machine (or several: one router each) and its nodes; `link` is what nodes are told.

    Nodes are declared by `node`, which also writes the document that routers and nodes read, and
    started by `start`.
    """

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.python = python
        self.processes: list[Process] = []
        self._nodes: dict[str, NodeSummary] = {}
        self._configs: dict[str, NodeConfig] = {}
        self._starts = 0
        self.layer = "zenoh"
        self.descriptor: dict[str, Any] = {}
        (folder / "documents").mkdir()

    def socket(self, machine: str = "here") -> str:
        return str(self.folder / f"{machine}.sock")

    def router(
        self,
        machine: str = "here",
        *,
        ready: bool = True,
        within: Sequence[str] = (),
        **options: Any,
    ) -> Process:
        """Starts a router; with `ready`, returns when it says that it is.

        `within` goes before its command, such as `ip netns exec ...`.
        """
        config = RouterConfig(
            dataflow="flow",
            machine=machine,
            socket=self.socket(machine),
            documents=str(self.folder / "documents"),
            **options,
        )
        return self.program(
            f"router-{machine}",
            ["-m", "dora.communication.router"],
            {ROUTER_CONFIG: config.to_text()},
            ready=ready,
            within=within,
        )

    def node(
        self,
        name: str,
        inputs: Mapping[str, Any] | None = None,
        outputs: tuple[str, ...] | Mapping[str, OutputConfig] = (),
        *,
        machine: str = "here",
        restart: str = "never",
        barrier: float = PATIENCE,  # on a busy machine readers start late
        layer: str | None = None,
        unread: tuple[str, ...] = (),
        links: Links | None = None,
    ) -> None:
        """`inputs`: name -> source, or an InputConfig. Declares; does not start.

        `layer` brings the inputs and takes the outputs that do not say which; None for the
        playground's own. `unread` are outputs besides, which no layer takes.
        """
        layer = layer or self.layer
        wired = {
            key: value if isinstance(value, InputConfig) else InputConfig(value, layer)
            for key, value in (inputs or {}).items()
        }
        self._nodes[name] = NodeSummary(
            machine=machine,
            reason="test",
            inputs={key: value.source for key, value in wired.items()},
            outputs=tuple(outputs),
            restart=restart,
        )
        self._configs[name] = NodeConfig(
            dataflow="flow",
            dataflow_id="0190-test",
            node=name,
            inputs=wired,
            outputs={
                **(
                    outputs
                    if isinstance(outputs, Mapping)
                    else {output: OutputConfig((layer,)) for output in outputs}
                ),
                **{output: OutputConfig(()) for output in unread},
            },
            zenoh=self.socket(machine),
            shm=str(self.folder),
            documents=str(self.folder / "documents"),
            barrier=barrier,
            links=links,
        )
        self.write_document()

    def write_document(self) -> None:
        text = DataflowSummary("flow", self._nodes, descriptor=self.descriptor).to_text()
        temporary = self.folder / "documents" / "new"
        temporary.write_text(text)
        temporary.rename(self.folder / "documents" / DOCUMENT)

    def start(
        self,
        name: str,
        code: str,
        *,
        env: Mapping[str, str] | None = None,
        ready: bool = True,
        log: str | None = None,
    ) -> Process:
        """Runs `code` as the declared node; with `ready`, returns when it is ready."""
        self._starts += 1
        script = self.folder / f"{name}-{self._starts}.py"
        script.write_text(dedent(code))
        control = self.control(name)
        control.unlink(missing_ok=True)
        os.mkfifo(control)
        env = {
            NODE_CONFIG: self._configs[name].to_text(),
            "DEPLOY_CONTROL": str(control),
            **(env or {}),
        }
        return self.program(log or f"{name}-{self._starts}", ["-u", str(script)], env, ready=ready)

    def control(self, name: str) -> Path:
        return self.folder / f"{name}.control"

    def stop(self, name: str) -> None:
        """Asks a node to leave, as the supervisor does. Raises OSError if it does not listen."""
        fd = os.open(self.control(name), os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(fd, b"stop\n")
        finally:
            os.close(fd)

    def program(
        self,
        log: str,
        args: list[str],
        env: Mapping[str, str],
        *,
        ready: bool,
        within: Sequence[str] = (),
    ) -> Process:
        path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        env = {"PYTHONPATH": os.pathsep.join(filter(None, path)), **env}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            if ready:
                address = self.folder / "notify"
                address.unlink(missing_ok=True)
                notify.bind(str(address))
                notify.settimeout(0.05)
                env["NOTIFY_SOCKET"] = str(address)
            process = Process(
                [*within, self.python, *args], env, self.folder / f"{log}.log", cwd=self.folder
            )
            self.processes.append(process)
            if ready:
                wait_until(lambda: self._is_ready(notify, process), f"{log} is ready")
        return process

    @staticmethod
    def _is_ready(notify: socket.socket, process: Process) -> bool:
        ended = process.popen.poll() is not None  # then all that it said is there to be read
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
        except TimeoutError:
            # A program that never became a node is the test's mistake, or the very error.
            assert not ended, f"{process.log.stem} ended too early:\n{process.text()}"
            return False
        return True

    def end(self) -> None:
        for process in reversed(self.processes):
            process.kill()


@contextmanager
def playground(python: str = sys.executable) -> Iterator[Playground]:
    """In a folder with a short name: Unix socket paths are limited to 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="dora-") as folder:
        area = Playground(Path(folder), python)
        try:
            yield area
        finally:
            area.end()


def events(process: Process) -> list[dict[str, Any]]:
    """What a script printed as JSON lines, log lines of the node left out."""
    lines = [json.loads(line) for line in process.lines() if line.startswith("{")]
    return [line for line in lines if "node_id" not in line]


def free_port() -> int:
    """A UDP port of loopback that stays free until it is used: it is none of those that the kernel
    gives to whoever asks for any, and each process that runs tests has a thousand of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = 20_000 + worker % 10 * 1000 + next(_ports) % 1000
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


# Prints every event as a JSON line; `value` as a list.
RECORD = """
    import json
    from dora import Node
    node = Node()
    for event in node:
        shown = {key: event[key] for key in ("type", "id", "error") if key in event}
        if event["type"] == "INPUT":
            shown["value"] = event["value"].to_pylist()
        print(json.dumps(shown), flush=True)
    print("end", flush=True)
"""

KILL = signal.SIGKILL
