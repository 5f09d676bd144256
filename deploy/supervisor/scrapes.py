"""Answers GET /metrics, and nothing else: bounded in number, size and time. Machine only; >= 3.8.

Lives in the supervisor's own loop: a client costs a few callbacks, and whoever is slow is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Callable, Optional, Set, Tuple

from deploy.supervisor.exposition import CONTENT_TYPE

log = logging.getLogger(__name__)

MOST = 8  # clients at once; others are told to come back
LONGEST = 8192  # bytes of a request
ASK_WITHIN = 5.0  # seconds for a client to say what it wants
TAKE_WITHIN = 10.0  # seconds for it to take the answer
FRESH = 1.0  # seconds for which an answer is not made anew


class Scrapes:
    """`text` makes an answer."""

    def __init__(
        self,
        text: Callable[[], str],
        clock: Callable[[], float],
        *,
        ask_within: float = ASK_WITHIN,
        take_within: float = TAKE_WITHIN,
    ) -> None:
        self._text = text
        self._clock = clock
        self._ask_within = ask_within
        self._take_within = take_within
        self._server: Optional[asyncio.AbstractServer] = None
        self._tasks: Set[asyncio.Task[None]] = set()
        self._made: Optional[Tuple[float, bytes]] = None

    async def open(self, bind: str, port: int) -> None:
        """Raises OSError when nobody can listen there."""
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._server = await asyncio.start_server(
            self._connected, bind, port, family=family, limit=LONGEST, backlog=2 * MOST
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST:
            writer.write(_answer("503 Service Unavailable", b"too many clients\n"))
            writer.close()
            return
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a scrape failed", exc_info=task.exception())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                asked = reader.readuntil(b"\r\n\r\n")
                head = await asyncio.wait_for(asked, self._ask_within)
            except asyncio.LimitOverrunError:
                answer = _answer("431 Request Header Fields Too Large", b"too long\n")
            else:
                answer = self._answer(head.split(b"\r\n", 1)[0])
            writer.transport.set_write_buffer_limits(0)  # so that `drain` waits for all of it
            writer.write(answer)
            await asyncio.wait_for(writer.drain(), self._take_within)
            writer.close()
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, OSError):  # noqa: UP041
            pass  # it is slow, or has gone: nobody to be told
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    def _answer(self, line: bytes) -> bytes:
        method, _, rest = line.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _answer("405 Method Not Allowed", b"only GET\n", "Allow: GET, HEAD\r\n")
        if path != "/metrics":
            return _answer("404 Not Found", b"there is /metrics only\n")
        body = self._body()
        return _answer("200 OK", body, kind=CONTENT_TYPE, head=method == "HEAD")

    def _body(self) -> bytes:
        now = self._clock()
        if self._made is None or now - self._made[0] >= FRESH:
            # what units say may have halves of characters in it, as JSON has
            self._made = now, self._text().encode(errors="replace")
        return self._made[1]


def _answer(
    status: str, body: bytes, more: str = "", *, kind: str = "text/plain", head: bool = False
) -> bytes:
    lines = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n{more}\r\n"
    )
    return lines.encode() + (b"" if head else body)
