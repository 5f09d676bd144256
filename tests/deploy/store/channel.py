"""A channel to the store's end in a process of its own, as an agent would open it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from deploy.errors import ConnectionLost

ROOT = Path(__file__).resolve().parents[3]
SERVE = "import sys; from deploy.store.serve import main; sys.exit(main(sys.argv[1], sys.argv[2:]))"


class ProcessChannel:
    """Implements `deploy.connection.base.Channel`; counts what is written."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.written = 0

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.written += len(data)
        try:
            self.process.stdin.write(data)
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ConnectionLost("m", "the pipe broke") from error

    async def write_eof(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def read(self, limit: int = 262144) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.read(limit)

    async def readline(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.readline()

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


class Machine:
    """Opens store verbs on `root` of this machine. `channels` are all that were opened."""

    def __init__(self, root: Path, channel: type[ProcessChannel] = ProcessChannel) -> None:
        self.root = root
        self.channels: list[ProcessChannel] = []
        self._channel = channel

    async def open_verb(self, *args: str) -> ProcessChannel:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SERVE,
            str(self.root),
            *args,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 26,
        )
        self.channels.append(self._channel(process))
        return self.channels[-1]
