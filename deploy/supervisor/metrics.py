"""The machine's figures, served where it was told to, if anywhere. Machine only; >= 3.8."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from typing import Any, Callable, Dict, List, Optional

from deploy.supervisor import measures
from deploy.supervisor.control import Refusal, Request, bad
from deploy.supervisor.engine import Engine
from deploy.supervisor.exposition import render
from deploy.supervisor.layout import Layout
from deploy.supervisor.measures import Measure
from deploy.supervisor.metrics_place import Place, read_place, write_place
from deploy.supervisor.scrapes import Scrapes

log = logging.getLogger(__name__)

RETRY = 10.0  # seconds: whoever has the port may leave it


class Metrics:
    """`agent` is what the supervisor says that it is."""

    def __init__(
        self,
        layout: Layout,
        engine: Engine,
        agent: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._engine = engine
        self._agent = agent
        self._clock = clock
        self._place: Optional[Place] = None
        self._scrapes: Optional[Scrapes] = None
        self._retry: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        """Serves where it was said to before; keeps trying while somebody else listens there."""
        self._place = read_place(self._layout)
        if self._place is not None:
            await self._try(self._place)

    async def set(self, place: Optional[Place]) -> None:
        """From now on, here or nowhere. Raises Refusal if nobody can listen there, and OSError if
        it cannot be noted; then all is as before."""
        if place == self._place and (place is None or self._scrapes is not None):
            return
        scrapes = None if place is None else Scrapes(self._text, self._clock)
        if scrapes is not None and place is not None:
            if self._place is not None and self._place.port == place.port:
                self.close()  # on all addresses, maybe, where it is to be on one now
            try:
                await scrapes.open(*place)
            except OSError as error:
                if self._place is not None and self._scrapes is None:
                    await self._try(self._place)
                reason = f"metrics cannot be served on {place.bind}:{place.port}: {error.strerror}"
                raise Refusal("metrics", reason) from error
        try:
            write_place(self._layout, place)
        except OSError:
            if scrapes is not None:
                scrapes.close()
            raise
        self.close()
        self._place, self._scrapes = place, scrapes

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._scrapes is not None:
            self._scrapes.close()
            self._scrapes = None

    async def answer(self, request: Request, session: object) -> Dict[str, Any]:
        """The operation `metrics`: port (null: nowhere), bind."""
        port = request.number("port")
        if port is not None and not 0 < port < 65536:
            raise bad(f"'port' must be that of TCP, not {port}")
        place = None if port is None else Place(request.text("bind"), port)
        if place is not None:
            try:
                ipaddress.ip_address(place.bind)
            except ValueError:
                raise bad(f"'bind' must be an address, not {place.bind[:60]!r}") from None
        await self.set(place)
        return {"metrics": None if place is None else place._asdict()}

    async def _try(self, place: Place) -> None:
        scrapes = Scrapes(self._text, self._clock)
        try:
            await scrapes.open(*place)
            self._scrapes = scrapes
        except OSError as error:
            log.error("metrics cannot be served on %s:%d yet: %s", *place, error)
            self._retry = asyncio.ensure_future(self._again(place))

    async def _again(self, place: Place) -> None:
        await asyncio.sleep(RETRY)
        await self._try(place)

    def _text(self) -> str:
        states = self._engine.states()
        deployments = {state["deployment"] for state in states}
        known = {name: self._measures(name) for name in deployments}
        return render(states, known, {"agent": self._agent, "root": str(self._layout.root)})

    def _measures(self, deployment: str) -> List[Measure]:
        """Of units that say nothing of themselves, or nothing that can be read, there are none."""
        path = self._layout.documents(deployment) / measures.DOCUMENT
        try:
            return measures.parse(path.read_text())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            log.error("%s: %s", path, error)
            return []
