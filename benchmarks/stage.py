"""Both dataflows, ready to be measured: one sender of both, up to four receivers of each.

dora-rs is started by its own `dora run`; our receivers with the configuration that `dora run` would
give them. Everything runs in dora-rs's environment. Ends every process that it started.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from benchmarks.nodes.board import Board, create_board
from benchmarks.peer import Peer
from dora.protocol.config import NODE_CONFIG, InputConfig, Links, NodeConfig, OutputConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary

ROOT = Path(__file__).resolve().parent.parent
NODES = ROOT / "benchmarks" / "nodes"
READERS = 4
USES = ("eager", "lazy", "steady", "flood", "bulk")
FLOW = "benchmark"
PEER_QUEUE = 10_000  # of dora-rs in floods: it does not block its sender
OUR_QUEUES = {"flood": 64, "bulk": 4}  # of ours: a full queue blocks the sender
PATIENCE = 60.0  # s, for what a busy machine needs long for
PARTING = 10.0  # s


class StageError(RuntimeError):
    """A dataflow did not come up; the text has the last lines of the logs."""


class Stage:
    """A context manager. Subclasses may put the nodes elsewhere (`benchmarks.between`)."""

    layer = "shm"  # that our edges use
    links: Links | None = None
    has_floor = True

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.folder = Path()
        self._sender: Connection | None = None
        self._processes: list[subprocess.Popen[bytes]] = []  # those that end by themselves
        self._servants: list[subprocess.Popen[bytes]] = []  # those that must be told to
        self._stack = ExitStack()
        self._boards: dict[str, list[tuple[Board, str]]] = {}
        self._sender_pid = 0

    def __enter__(self) -> Stage:
        with ExitStack() as stack:
            self._stack = stack
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dora-bench-"))
            self.folder = Path(folder)
            for owner, count in (("dora-rs", READERS), ("ours", READERS), ("floor", READERS)):
                self._boards[owner] = [self._board() for _ in range(count)]
            stack.callback(self._end)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, job: str, **arguments: Any) -> Any:
        """Has the sender do a job (a method of `nodes/sender.py`); its result."""
        assert self._sender is not None
        try:
            self._sender.send((job, arguments))
            return self._sender.recv()
        except (EOFError, OSError) as error:
            raise StageError(f"the sender is gone:\n{self._last_words()}") from error

    def processes(self, way: str) -> list[int]:
        """Those that a message passes through: of dora-rs its daemon, too."""
        owner = way if way in self._boards else "ours"
        pids = [self._sender_pid, self._boards[owner][0][0].pid]
        return pids + (self.peer_processes() if owner == "dora-rs" else [])

    def peer_processes(self) -> list[int]:
        return [self._daemon.pid]

    # Where things are; on one machine, nowhere in particular.

    def machine(self, name: str) -> str:
        """Of a node."""
        return "here"

    def inside(self, machine: str) -> Sequence[str]:
        """What a command line begins with to run there."""
        return []

    def socket(self, machine: str) -> str:
        """Of our router there."""
        return str(self.folder / f"{machine}.sock")

    def door(self, name: str) -> str:
        """Where a node is called by those that read it directly."""
        return ""

    def start_routers(self) -> None:
        return

    def start_peer(self, flow: Path) -> None:
        command = [str(self.peer.cli), "run", "--log-level", "warn", str(flow)]
        self._daemon = self.run("dora-rs", command, {})

    def peer_node(self, name: str) -> dict[str, Any]:
        """What a node of dora-rs's flow file has besides."""
        return {}

    def _start(self) -> None:
        pipes = [self.folder / f"there{number}" for number in range(READERS)]
        pipes.append(self.folder / "back")
        for pipe in pipes:
            os.mkfifo(pipe)
        (self.folder / DOCUMENT).write_text(self._summary().to_text())
        self.start_routers()
        self._start_receivers(pipes)
        address = str(self.folder / "stage")
        with Listener(address, "AF_UNIX") as listener:
            sender = {
                "BENCH_SOCKET": address,
                "BENCH_ROOT": str(ROOT),
                "BENCH_CONFIG": self._config("sender").to_text(),
                "BENCH_PIPES": ":".join(map(str, pipes)) if self.has_floor else "",
                "BENCH_THEIR_BOARDS": ":".join(path for _, path in self._boards["dora-rs"]),
                "BENCH_OUR_BOARDS": ":".join(path for _, path in self._boards["ours"]),
                "BENCH_FLOOR_BOARDS": ":".join(path for _, path in self._boards["floor"]),
            }
            flow = self.folder / "flow.yml"
            flow.write_text(json.dumps(self._peer_flow(sender)))  # JSON is YAML
            self.start_peer(flow)
            self._sender = self._accept(listener)
        self._sender_pid = self._hear()

    def _start_receivers(self, pipes: Sequence[Path]) -> None:
        python = str(self.peer.python)
        for number, (_, path) in enumerate(self._boards["ours"], 1):
            config = self._config(f"reader{number}").to_text()
            self.run(
                f"reader{number}",
                [*self.inside(self.machine("reader")), python, str(NODES / "receiver.py"), path],
                {NODE_CONFIG: config, "PYTHONPATH": str(ROOT)},
            )
        if self.has_floor:
            *there, back = map(str, pipes)
            for pipe, (_, path) in zip(there, self._boards["floor"], strict=True):
                self.run(Path(pipe).name, [python, str(NODES / "floor.py"), path, pipe, back], {})

    def run(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], *, ends: bool = True
    ) -> subprocess.Popen[bytes]:
        """`ends`: whether the process ends by itself when the sender does."""
        base = {k: v for k, v in os.environ.items() if not k.startswith(("DORA_", "PYTHON"))}
        # The script's own environment must not be found first, and dora-rs shall not spend its time
        # on writing logs.
        base["PATH"] = f"{self.peer.python.parent}:{base.get('PATH', os.defpath)}"
        base["RUST_LOG"] = "error"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                env={**base, **env},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self._processes if ends else self._servants).append(process)
        return process

    def _accept(self, listener: Listener) -> Connection:
        socket = listener._listener._socket  # type: ignore[attr-defined]
        socket.settimeout(0.2)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return listener.accept()
            except TimeoutError:
                if time.monotonic() > deadline or any(
                    p.poll() is not None for p in self._processes
                ):
                    raise StageError(f"no sender came up:\n{self._last_words()}") from None

    def _hear(self) -> Any:
        assert self._sender is not None
        if not self._sender.poll(PATIENCE):
            raise StageError(f"the sender does not answer:\n{self._last_words()}")
        try:
            return self._sender.recv()
        except EOFError as error:
            raise StageError(f"the sender is gone:\n{self._last_words()}") from error

    def _end(self) -> None:
        if self._sender is not None:
            try:
                self._sender.send(None)
            except OSError:
                pass  # it is gone already
            self._sender.close()
        # Without a sender nothing ends by itself.
        deadline = time.monotonic() + (0.0 if self._sender is None else PARTING)
        for process in self._processes:
            _end(process, max(deadline - time.monotonic(), 0.1))
        for process in reversed(self._servants):
            process.terminate()
        for process in reversed(self._servants):
            _end(process, PARTING)
        self._boards.clear()

    def _board(self) -> tuple[Board, str]:
        fd, path = create_board()
        self._stack.callback(os.close, fd)
        return Board(path), path

    def _last_words(self) -> str:
        words = []
        for log in sorted(self.folder.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            words += [f"--- {log.stem}", *lines]
        return "\n".join(words)

    # The two dataflows: the same edges under the same names.

    def _summary(self) -> DataflowSummary:
        nodes = {
            name: NodeSummary(
                machine=self.machine(name),
                reason="benchmark",
                inputs={key: wired.source for key, wired in config.inputs.items()},
                outputs=tuple(config.outputs),
            )
            for name, config in ((name, self._config(name)) for name in _NAMES)
        }
        return DataflowSummary(FLOW, nodes)

    def _config(self, name: str) -> NodeConfig:
        inputs = {}
        for wire in _wires(name):
            queue = OUR_QUEUES.get(wire.split("_")[0])
            inputs[wire] = InputConfig(
                source=_source(wire),
                layer=self.layer,
                queue_size=queue or 10,
                queue_policy="backpressure" if queue else "drop_oldest",
                at=self.door(_source(wire).split("/")[0]),
            )
        return NodeConfig(
            dataflow=FLOW,
            dataflow_id="00000000-0000-7000-8000-000000000000",
            node=name,
            inputs=inputs,
            outputs={
                output: OutputConfig((self.layer,), callers=_readers(f"{name}/{output}"))
                for output in _outputs(name)
            },
            links=self.links,
            shm=str(self.folder),
            zenoh=self.socket(self.machine(name)),
            documents=str(self.folder),
            barrier=PATIENCE,
        )

    def _peer_flow(self, sender: Mapping[str, str]) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = []
        for name in _NAMES:
            program = "sender.py" if name == "sender" else "receiver.py"
            node: dict[str, Any] = {"id": name, "path": str(NODES / program)}
            node |= self.peer_node(name)
            if name == "sender":
                node["env"] = dict(sender)
            else:
                node["args"] = self._boards["dora-rs"][int(name[-1]) - 1][1]
            node["outputs"] = list(_outputs(name))
            node["inputs"] = {
                wire: {
                    "source": _source(wire),
                    "queue_size": PEER_QUEUE if wire.split("_")[0] in OUR_QUEUES else 10,
                }
                for wire in _wires(name)
            }
            nodes.append(node)
        return {"nodes": nodes}


_NAMES = ("sender", *(f"reader{number}" for number in range(1, READERS + 1)))


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Waits, asks, insists."""
    for wait, insist in ((patience, process.terminate), (PARTING, process.kill)):
        try:
            process.wait(wait)
            return
        except subprocess.TimeoutExpired:
            insist()
    process.wait()


def _wires(name: str) -> tuple[str, ...]:
    """The inputs of a node."""
    four = tuple(f"{use}_four" for use in USES)
    if name == "sender":
        return ("answer",)
    if name == "reader1":
        return (*(f"{use}_one" for use in USES), *four, "ask")
    return four


def _outputs(name: str) -> tuple[str, ...]:
    if name == "sender":
        return (*(f"{use}_{fan}" for use in USES for fan in ("one", "four")), "ask")
    return ("answer",) if name == "reader1" else ()


def _readers(source: str) -> tuple[str, ...]:
    """The inputs (`node/input`) that read an output."""
    return tuple(f"{name}/{it}" for name in _NAMES for it in _wires(name) if _source(it) == source)


def _source(wire: str) -> str:
    return "reader1/answer" if wire == "answer" else f"sender/{wire}"
