"""One client of the supervisor's socket: its requests in turn, and its streams. Python >= 3.8."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Dict, List, Optional, Set

from deploy.supervisor import storekeeper
from deploy.supervisor.control import Lines, Refusal, Request, bad, encode, parse
from deploy.supervisor.key import Key
from deploy.supervisor.logs import Follower, tail
from deploy.supervisor.logtimes import LEVELS, Line, read
from deploy.supervisor.operations import Operations

log = logging.getLogger(__name__)

HEARTBEAT = 1.0  # seconds
PATIENCE = 30.0  # seconds for which a client may read nothing until it is cut off
POLL = 0.1  # seconds between looks at followed logs
BLOCK = 64 * 1024


class Session:
    """Serves one connection until it ends. Locks that it took end with it."""

    def __init__(
        self, operations: Operations, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._operations = operations
        self._reader = reader
        self._writer = writer
        self._changed: Set[Key] = set()
        self._wake = asyncio.Event()
        self._watching: Optional[str] = None

    async def serve(self) -> None:
        lines = Lines()
        try:
            while True:
                data = await self._reader.read(BLOCK)
                if not data:
                    return
                for line in lines.feed(data):
                    self._operations.locks.heard(self, busy=True)
                    if not await self._line(line):
                        return
                    self._operations.locks.heard(self, busy=False)
        except (ConnectionError, asyncio.TimeoutError):  # noqa: UP041 (differs in 3.8)
            return  # the client went, or reads nothing
        finally:
            self._operations.locks.release_all(self)
            self._operations.leasing.release_all(self)
            if self._writer.transport.get_write_buffer_size() > 0:
                self._writer.transport.abort()  # who does not read is not waited for
            else:
                self._writer.close()

    def changed(self, keys: Set[Key]) -> None:
        """Units changed; a watching client hears of it when it is ready to."""
        if self._watching is not None:
            self._changed |= keys
            self._wake.set()

    async def _line(self, line: Optional[bytes]) -> bool:
        """Answers; False when the connection is to end."""
        try:
            if line is None:
                raise Refusal("too_long", "the request is too long; it was not read")
            request = parse(line)
            if request.op == "watch":
                await self._watch(request)
                return False
            if request.op == "logs":
                await self._logs(request)
                return False
            if request.op == "store":
                await self._store()
                return False
            reply = await self._operations.answer(request, self)
        except Refusal as refusal:
            reply = refusal.to_json()
        except (ConnectionError, asyncio.TimeoutError):  # noqa: UP041
            raise
        except Exception as error:
            log.exception("a request failed")
            reply = Refusal("internal", f"{type(error).__name__}: {error}").to_json()
        await self._send(reply)
        return True

    async def _send(self, data: Dict[str, Any]) -> None:
        self._writer.write(encode(data))
        await asyncio.wait_for(self._writer.drain(), PATIENCE)

    async def _store(self) -> None:
        """From here on the connection is another process's, and so is what comes after our word."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        await self._send({"ok": True})
        connection = self._writer.get_extra_info("socket")
        storekeeper.serve(self._operations.deployments.layout.root, connection.fileno())

    # streams

    async def _watch(self, request: Request) -> None:
        deployment = request.optional_name("deployment")
        engine = self._operations.engine
        self._watching = deployment or ""
        gone = asyncio.ensure_future(self._client_gone())
        try:
            await self._send({"ok": True, "units": engine.states(deployment)})
            beat = time.monotonic() + HEARTBEAT
            while not gone.done():
                await self._pause(gone, max(0.0, beat - time.monotonic()))
                keys = {key for key in self._changed if deployment in (None, key.deployment)}
                self._changed = set()
                self._wake.clear()
                if keys:
                    await self._send({"units": [engine.state(key) for key in sorted(keys)]})
                if time.monotonic() >= beat:
                    beat = time.monotonic() + HEARTBEAT
                    await self._send({"heartbeat": time.time()})
        finally:
            gone.cancel()

    async def _logs(self, request: Request) -> None:
        deployment = request.name("deployment")
        layout = self._operations.deployments.layout
        since = request.seconds("since", 1e12)
        ago = request.seconds("ago")
        if ago:
            since = max(since, time.time() - ago)
        level = request.optional_text("level")
        if level is not None and level not in LEVELS:
            raise bad(f"'level' must be one of {list(LEVELS)}, not {level[:60]!r}")
        count = request.number("tail", None if since else 100)
        follow = request.flag("follow")
        asked = request.names("units")
        there = {p.name[: -len(".log")] for p in layout.logs(deployment).glob("*.log")}
        there |= {state["name"] for state in self._operations.engine.states(deployment)}
        if not there:
            raise Refusal("unknown", f"no logs of a deployment {deployment!r} on this machine")
        if asked is not None and set(asked) - there:
            unknown = sorted(set(asked) - there)
            raise Refusal("unknown", f"no logs of {unknown}; there are: {sorted(there)}")
        names = sorted(there if asked is None else set(asked))
        followers: Dict[str, Follower] = {}
        gone = asyncio.ensure_future(self._client_gone())
        try:
            if follow:
                logs = {name: layout.log(deployment, name) for name in names}
                followers = {name: Follower(it, whole=True) for name, it in logs.items()}
            await self._send({"ok": True})
            for name in names:
                end = followers[name].begin if follow else None
                log_ = layout.log(deployment, name)
                await self._send_lines(name, tail(log_, count, end, since=since, level=level))
            if follow:
                await self._send({"live": True})
            while follow and not gone.done():
                for name, follower in followers.items():
                    lines = [read(text, time.time()) for text in follower.read()]
                    await self._send_lines(name, [it for it in lines if it.matters(level)])
                if asked is None:
                    for name in self._new_units(deployment, followers):
                        log_ = layout.log(deployment, name)
                        followers[name] = Follower(log_, from_start=True)
                await asyncio.wait({gone}, timeout=POLL)
            if not follow:
                await self._send({"end": True})
        finally:
            gone.cancel()
            for follower in followers.values():
                follower.close()

    def _new_units(self, deployment: str, known: Dict[str, Follower]) -> List[str]:
        units = self._operations.engine.units.slots
        return [k.unit for k in units if k.deployment == deployment and k.unit not in known]

    async def _send_lines(self, unit: str, lines: List[Line]) -> None:
        for line in lines:
            row = {"unit": unit, "line": line.text, "time": line.time, "level": line.level}
            self._writer.write(encode(row))
            if self._writer.transport.get_write_buffer_size() > BLOCK:
                await asyncio.wait_for(self._writer.drain(), PATIENCE)
        if lines:
            await asyncio.wait_for(self._writer.drain(), PATIENCE)

    async def _pause(self, gone: asyncio.Future[Any], timeout: float) -> None:
        """Until something changed, the client went, or the time is over."""
        wake: asyncio.Future[Any] = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({wake, gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()

    async def _client_gone(self) -> None:
        """Returns when the client has closed its end; what it says meanwhile is not heard."""
        try:
            while await self._reader.read(BLOCK):
                pass
        except ConnectionError:
            return
