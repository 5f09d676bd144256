"""A machine's store, spoken to over a channel: ask what lacks, send just that. Laptop only."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from deploy import answers
from deploy.connection.base import Channel
from deploy.errors import ConnectionLost, MachineError
from deploy.store import packing
from deploy.store.archive import encode
from deploy.store.base import Objects, objects_of
from deploy.store.collect import Collected
from deploy.store.outgoing import beginnings, items
from deploy.store.outline import Outline
from deploy.store.path import Manifest
from deploy.store.verify import Verified

Said = TypeVar("Said")

BLOCK = 4096  # bytes
SMALL = 1_000_000  # bytes that do not need a connection of their own
PATIENCE = 300.0  # seconds without a word: a slow disk flushes much at once, one that dies for ever
REMOVING = 12  # times as long for what is removed file by file
LAST_WORDS = 5.0  # seconds in which a machine that hung up on us may still say why


class OpenVerb(Protocol):
    """Opens a channel to `deploy.store.serve` on the machine, with these arguments."""

    def __call__(self, *args: str) -> Awaitable[Channel]: ...


@dataclass(frozen=True)
class Missing:
    """What a machine lacks of some trees. `objects` maps digests to bytes; `free` is in bytes."""

    trees: tuple[str, ...]
    objects: Mapping[str, int]
    free: int

    @property
    def bytes(self) -> int:
        return sum(self.objects.values())

    @property
    def disk(self) -> int:
        """Bytes of disk that they take: every file has blocks of its own."""
        return sum(-(-size // BLOCK) * BLOCK for size in self.objects.values())


@dataclass(frozen=True)
class Look:
    """What a machine lacks, and what it has: outlines of trees by name. The conversation goes on
    where it was when this is given to `send`."""

    missing: Missing
    outlines: Mapping[str, Outline]
    channel: Channel
    small: bool = False  # the channel is not for what is long

    async def close(self) -> None:
        """May be called twice."""
        await self.channel.close()


class RemoteStore:
    """The store of one machine. Methods raise MachineError or ConnectionLost.

    `open_small`, if given, opens channels for questions, and for what has less than SMALL bytes. A
    store that neither says nor takes anything for `patience` seconds is given up.
    """

    def __init__(
        self,
        machine: str,
        open_verb: OpenVerb,
        open_small: OpenVerb | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.machine = machine
        self._patience = patience
        self._open = open_verb
        self._open_small = open_small

    def __repr__(self) -> str:
        return f"<RemoteStore of {self.machine}>"

    async def missing(self, manifests: Iterable[Manifest]) -> Missing:
        """What `send` would have to send."""
        look = await self.look(manifests)
        await look.close()
        return look.missing

    async def look(self, manifests: Iterable[Manifest], trees: Iterable[str] = ()) -> Look:
        """What `send` would have to send, and outlines of those of `trees` that are there. Whoever
        looks closes the Look."""
        channel = await (self._open_small or self._open)("session")
        try:
            outlines = {}
            if names := sorted(trees):
                await self._say(channel, op="outlines", trees=names)
                outlines = self._outlines(await self._hear(channel))
            missing = await self._missing(channel, {each.name: each for each in manifests})
        except BaseException:
            await channel.close()
            raise
        return Look(missing, outlines, channel, small=self._open_small is not None)

    def _outlines(self, reply: Mapping[str, Any]) -> dict[str, Outline]:
        with self._reading():
            rows = reply["outlines"].items()
            return {str(name): Outline.from_json(data) for name, data in rows}

    async def send(
        self,
        source: Objects,
        manifests: Iterable[Manifest],
        on_progress: Callable[[int, int], None] | None = None,
        *,
        packed: bool | None = None,
        look: Look | None = None,
    ) -> int:
        """Makes sure that these trees are on the machine; returns the bytes of content sent.

        `on_progress(done, total)` counts what the machine has got, in bytes. `packed` says whether
        to compress; None: if that is quicker, by what is measured (see `packing`). `look`, of the
        same manifests, saves asking once more. Raises BuildError when a file has changed since it
        was built; MachineError when it does not fit. What arrived is kept in any case, so that the
        next attempt goes on from there.
        """
        wanted = {manifest.name: manifest for manifest in manifests}
        sent = 0
        # Twice, since a collector may come between the question and the archive.
        for last in (False, True):
            look = look or await self.look(wanted.values())
            missing, channel = look.missing, look.channel
            try:
                if look.small and missing.bytes > SMALL:
                    await channel.close()
                    channel = await self._open("session")
                    missing = await self._missing(channel, wanted)
                if not missing.trees:
                    return sent
                self._check_space(missing)
                contents = items(source, missing.objects, [wanted[name] for name in missing.trees])
                report = on_progress or _ignore
                report(0, missing.bytes)
                if packed is None:
                    packed = await self._packing_pays(channel, source, missing)
                await self._say(channel, op="receive")
                await self._transfer(
                    channel, encode(contents, packed=packed), missing.bytes, report
                )
                report(missing.bytes, missing.bytes)
                return sent + missing.bytes
            except _ObjectsGone as error:
                if last:
                    raise MachineError(self.machine, str(error)) from error
                sent += missing.bytes
            finally:
                await channel.close()
                look = None
        raise AssertionError("unreachable")

    async def collect(self, keep: Iterable[str] = (), agents: Iterable[str] = ()) -> Collected:
        """Removes there what neither one of its generations nor `keep` (tree names) needs; and all
        agents but for `agents` (their hashes), if any is given."""
        channel = await self._open("session")
        try:
            await self._say(channel, op="collect", keep=sorted(keep), agents=sorted(agents))
            reply = await self._hear(channel, REMOVING * self._patience)  # it says nothing before
            with self._reading():
                return Collected(
                    int(reply["trees"]),
                    int(reply["objects"]),
                    int(reply["bytes"]),
                    int(reply.get("agents", 0)),
                )
        finally:
            await channel.close()

    async def verify(
        self, *, repair: bool = False, on_progress: Callable[[int], None] | None = None
    ) -> Verified:
        """Has everything there read and compared with its name; with `repair`, what is damaged is
        removed. `on_progress(bytes)` counts what was read."""
        channel = await self._open("session")
        try:
            await self._say(channel, op="verify", repair=repair)
            while "checked" in (reply := await self._hear(channel)):
                if on_progress is not None:
                    on_progress(self._count(reply, "checked"))
            with self._reading():
                return Verified.from_json(reply)
        finally:
            await channel.close()

    async def _missing(self, channel: Channel, wanted: Mapping[str, Manifest]) -> Missing:
        # Names first: mostly nothing lacks, and then no manifest needs to be sent.
        await self._say(channel, op="missing", trees=list(wanted))
        reply = await self._hear(channel)
        with self._reading():
            trees = tuple(name for name in reply["trees"] if name in wanted)
        if not trees:
            return Missing((), {}, self._count(reply, "free"))
        manifests = [wanted[name] for name in trees]
        await self._say(channel, op="offer")
        for piece in await asyncio.to_thread(lambda: list(encode(manifests))):
            await self._in_time(channel.write(piece))
        reply = await self._hear(channel)
        known = objects_of(manifests)
        with self._reading():
            digests = [digest for digest in reply["objects"] if digest in known]
        lacking = {digest: known[digest][0] for digest in digests}
        return Missing(trees, lacking, self._count(reply, "free"))

    async def _packing_pays(self, channel: Channel, source: Objects, missing: Missing) -> bool:
        if missing.bytes < packing.LARGE:
            return False
        data = await asyncio.to_thread(beginnings, source, missing.objects, packing.MEASURED)
        if not data:
            return False
        await self._discarded(channel, packing.WARM_UP)
        answer = await self._discarded(channel, 0)
        seconds = await self._discarded(channel, packing.MEASURED)
        link = packing.link_rate(packing.MEASURED, seconds, answer)
        return packing.pays(link, await asyncio.to_thread(packing.take_sample, data))

    async def _discarded(self, channel: Channel, size: int) -> float:
        """Seconds until the machine had got so many bytes, and had said so."""
        began = time.perf_counter()
        await self._say(channel, op="discard", bytes=size)
        await self._in_time(channel.write(os.urandom(size)))
        await self._hear(channel)
        return time.perf_counter() - began

    def _check_space(self, missing: Missing) -> None:
        if error := no_room(self.machine, missing):
            raise error

    async def _transfer(
        self,
        channel: Channel,
        pieces: Iterator[bytes],
        total: int,
        report: Callable[[int, int], None],
    ) -> None:
        """Sends and listens at once: a machine that gives up says so while we still send."""
        sending = asyncio.create_task(_pump(channel, pieces))
        hearing = asyncio.create_task(self._hear_out(channel, total, report))
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_EXCEPTION)
            if sending.done() and isinstance(sending.exception(), MachineError):
                # It hung up on us, or the line is cut. Its last words say more than that.
                await asyncio.wait({hearing}, timeout=LAST_WORDS)
            for task in (hearing, sending):
                if task.done():
                    task.result()
        finally:
            for task in (sending, hearing):
                task.cancel()
            await asyncio.gather(sending, hearing, return_exceptions=True)

    async def _hear_out(
        self, channel: Channel, total: int, report: Callable[[int, int], None]
    ) -> None:
        while "received" in (reply := await self._hear(channel)):
            report(min(self._count(reply, "received"), total), total)

    async def _say(self, channel: Channel, **request: Any) -> None:
        await self._in_time(channel.write(json.dumps(request).encode() + b"\n"))

    async def _in_time(self, talking: Awaitable[Said], patience: float | None = None) -> Said:
        patience = self._patience if patience is None else patience
        try:
            async with asyncio.timeout(patience):
                return await talking
        except TimeoutError as error:
            raise MachineError(
                self.machine,
                f"its store has not moved for {patience:g} s; what runs there was not touched",
                hint=f"does its disk still answer? dora machines exec {self.machine} -- dmesg",
            ) from error

    async def _hear(self, channel: Channel, patience: float | None = None) -> dict[str, Any]:
        line = await self._in_time(channel.readline(), patience)
        if not line:
            raise ConnectionLost(self.machine, "its store hung up")
        reply = answers.parse(self.machine, line, "its store")
        if reply.get("ok") is False:
            raise self._failure(str(reply.get("code")), str(reply.get("error")))
        return reply

    def _reading(self) -> AbstractContextManager[None]:
        return answers.reading(self.machine, "its store")

    def _count(self, reply: Mapping[str, Any], name: str) -> int:
        with self._reading():
            return int(reply[name])

    def _failure(self, code: str, error: str) -> Exception:
        if code == "missing":
            return _ObjectsGone(error)
        if code == "full":
            return MachineError(
                self.machine,
                f"its disk is full ({error}); what runs there was not touched",
                hint="`dora gc` removes what no generation needs; then run the same command again: "
                "it goes on where it stopped",
            )
        if code == "busy":
            return MachineError(
                self.machine, error, hint="wait until it is done, then run the same command again"
            )
        return MachineError(self.machine, f"its store: {error}")


class _ObjectsGone(Exception):
    """Objects that were there when asked have been collected since."""


async def _pump(channel: Channel, pieces: Iterator[bytes]) -> None:
    """Reads ahead by one piece, in a thread, while the one before is on its way."""
    ahead = asyncio.create_task(asyncio.to_thread(next, pieces, None))
    try:
        while (piece := await ahead) is not None:
            ahead = asyncio.create_task(asyncio.to_thread(next, pieces, None))
            await channel.write(piece)
        await channel.write_eof()
    finally:
        # A thread cannot be cancelled: wait for its one piece, so that files get closed.
        await asyncio.gather(ahead, return_exceptions=True)


def no_room(machine: str, missing: Missing) -> MachineError | None:
    """Why it cannot be sent at all; None when it can."""
    if missing.disk <= missing.free:
        return None
    return MachineError(
        machine,
        f"needs {_megabytes(missing.disk)} more in its store, where "
        f"{_megabytes(missing.free)} are free; nothing was changed",
        hint="`dora gc` removes what no generation needs",
    )


def _ignore(done: int, total: int) -> None:
    pass


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
