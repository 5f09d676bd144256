"""The laptop's end of `machine_query`: a program on a machine that looks and changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.connection.base import Channel
from deploy.errors import MachineError
from deploy.session import Session
from dora.coordinator import machine_query
from dora.coordinator.machine_query import TCP as TCP
from dora.coordinator.machine_query import UDP as UDP

CLOCK_LOOKS = 3  # the quickest answer tells the most


@dataclass(frozen=True)
class Clock:
    """How far a machine's clock is ahead of ours, and how far off that may be; seconds."""

    ahead: float
    error: float


@dataclass(frozen=True)
class Reached:
    """Whether a port answered. `error`: None, or `timeout`, `refused`, `no_route`, `dns`."""

    milliseconds: float | None = None
    error: str | None = None
    text: str = ""


class Onlooker:
    """Requests are answered in turn. Every method raises MachineError."""

    def __init__(self, machine: str, channel: Channel) -> None:
        self._machine = machine
        self._channel = channel

    async def facts(self, root: str) -> dict[str, Any]:
        return await self._ask(what="facts", root=root)

    async def clock(self) -> Clock:
        found: Clock | None = None
        for _ in range(CLOCK_LOOKS):
            before = time.time()
            there = float((await self._ask(what="clock"))["time"])
            after = time.time()
            look = Clock(there - (before + after) / 2, (after - before) / 2)
            if found is None or look.error < found.error:
                found = look
        assert found is not None
        return found

    async def listen(
        self, ports: Collection[int], protocols: Collection[str] = (UDP,)
    ) -> int | None:
        """The first of these ports that is free by all of the protocols, and answers from now on;
        None if none is."""
        answer = await self._ask(what="listen", ports=list(ports), protocols=list(protocols))
        port = answer["port"]
        return None if port is None else int(port)

    async def halted(self, pids: Collection[int]) -> frozenset[int]:
        """Those of the processes that a signal (SIGSTOP) or a debugger has stopped."""
        return frozenset((await self._ask(what="halted", pids=list(pids)))["pids"])

    async def reach(self, targets: Sequence[tuple[str, int, str]]) -> list[Reached]:
        """Of each (host, port, protocol). By TCP it is enough that the connection comes about."""
        answer = await self._ask(what="reach", targets=list(targets))
        return [
            Reached(it.get("ms"), it.get("error"), it.get("text", "")) for it in answer["targets"]
        ]

    async def _ask(self, **request: Any) -> dict[str, Any]:
        await self._channel.write(json.dumps(request).encode() + b"\n")
        line = await self._channel.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise MachineError(
                self._machine,
                f"what looks at it for us said {line[:200]!r}",
                hint="does the login shell of this user print something?",
            )
        return answer


@asynccontextmanager
async def onlooker(session: Session) -> AsyncIterator[Onlooker]:
    """A program on the machine, which ends at the end. Raises MachineError."""
    source = Path(machine_query.__file__).read_text()
    command = [session.facts.python, "-EsSc", source]
    channel = await session.connection.open_command(command)
    try:
        yield Onlooker(session.machine.id, channel)
    finally:
        await channel.close()
