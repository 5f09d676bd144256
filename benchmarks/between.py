"""The stage across two machines: the sender on one, all receivers on the other.

dora-rs runs its coordinator and two daemons, ours two routers, both over plain TCP. Once our edges
go through the routers, once past them (`link: direct`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.network import SIDES, Network
from benchmarks.peer import Peer
from benchmarks.stage import PATIENCE, ROOT, Stage, StageError
from dora.compile.dataplane import dials
from dora.protocol.config import Links
from dora.protocol.router import ROUTER_CONFIG, RouterConfig

PORT = 7447
DOOR = 7448
COORDINATOR_PORT = 6013


class BetweenStage(Stage):
    layer = "zenoh"
    has_floor = False

    def __init__(self, peer: Peer, network: Network) -> None:
        super().__init__(peer)
        self.network = network
        self._daemons: list[subprocess.Popen[bytes]] = []

    def machine(self, name: str) -> str:
        return "near" if name == "sender" else "far"

    def inside(self, machine: str) -> Sequence[str]:
        return self.network.inside(machine)

    def start_routers(self) -> None:
        for side in SIDES:
            other = SIDES[1 - SIDES.index(side)]
            config = RouterConfig(
                dataflow="benchmark",
                machine=side,
                socket=self.socket(side),
                listen=f"{self.network.address(side)}:{PORT}",
                connect={other: f"{self.network.address(other)}:{PORT}"}
                if dials(side, other)
                else {},
                insecure=True,  # as dora-rs
                documents=str(self.folder),
                door=f"{self.network.address(side)}:{DOOR}",
            )
            command = [str(self.peer.python), "-m", "dora.communication.router"]
            env = {ROUTER_CONFIG: config.to_text(), "PYTHONPATH": str(ROOT)}
            self.run(f"router-{side}", [*self.inside(side), *command], env, ends=False)

    def start_peer(self, flow: Path) -> None:
        cli, near = str(self.peer.cli), self.network.address("near")
        at = ["--coordinator-addr", near]
        coordinator = [cli, "coordinator", "--interface", near, "--store", "memory", "--quiet"]
        self.run("coordinator", [*self.inside("near"), *coordinator], {}, ends=False)
        for side in SIDES:
            self._await_coordinator()
            daemon = [cli, "daemon", "--machine-id", side, *at, "--quiet"]
            self._daemons.append(
                self.run(f"daemon-{side}", [*self.inside(side), *daemon], {}, ends=False)
            )
        deadline = time.monotonic() + PATIENCE
        while not all(side in self._peer_says("cluster", "status", *at) for side in SIDES):
            if time.monotonic() > deadline:
                raise StageError("dora-rs's daemons did not come up")
            time.sleep(0.1)
        start = [cli, "start", str(flow), *at, "--attach"]
        self.run("dora-rs", [*self.inside("near"), *start], {})

    def peer_processes(self) -> list[int]:
        return [daemon.pid for daemon in self._daemons]

    def peer_node(self, name: str) -> dict[str, Any]:
        return {"deploy": {"machine": self.machine(name)}}

    def _peer_says(self, *arguments: str) -> str:
        return subprocess.run(
            [*self.inside("near"), str(self.peer.cli), *arguments],
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    def _await_coordinator(self) -> None:
        connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])))"
        address = [self.network.address("near"), str(COORDINATOR_PORT)]
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(
            [*self.inside("far"), sys.executable, "-c", connect, *address],
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode:
            if time.monotonic() > deadline:
                raise StageError("dora-rs's coordinator did not come up")
            time.sleep(0.1)


class DirectStage(BetweenStage):
    layer = "direct"
    links = Links(insecure=True)

    def door(self, name: str) -> str:
        return f"{self.network.address(self.machine(name))}:{DOOR}"
