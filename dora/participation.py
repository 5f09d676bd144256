"""A node's part in a dataflow, from its first subscription to its last word. Node (>= 3.10)."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dora.communication.shm.shortcut import with_shortcut
from dora.edges import Edges
from dora.errors import DoraError
from dora.protocol.comeback import comeback, comes_back
from dora.protocol.config import NodeConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary
from dora.protocol.supervision import (
    NOTIFY_SOCKET,
    RESTARTS,
    ControlPipe,
    notify_done,
    notify_ready,
    notify_status,
)
from dora.protocol.traffic import Traffic
from dora.protocol.updates import Hold
from dora.pulse import Pulse
from dora.reporter import Reporter
from dora.rewiring import EVERY, Rewiring, WaysFile
from dora.sample import Draft
from dora.stream import EventStream

logger = logging.getLogger("dora")

PARENT = "DORA_RUN_PARENT_PID"

CALLS = 0.02  # s between two looks at who has called
BARRIER_AFTER_RESTART = 1.0  # s; the readers are there already, or have ended for good


class Participation:
    """Subscribed and announced once constructed; `end` takes everything back.

    The constructor returns when the nodes that read our outputs are there, or after
    `config.barrier` seconds. Raises DoraError if a layer cannot be opened.

    `lasting`: the event stream goes on when all inputs have closed. `tell` may add to what is
    reported about the node's traffic, from another thread; `rewired` is told there when edges have
    changed their way.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        lasting: bool = False,
        tell: Callable[[Traffic], Traffic] = lambda traffic: traffic,
        rewired: Callable[[NodeConfig], None] = lambda config: None,
    ) -> None:
        self._ways = WaysFile(config)
        self._wanted: NodeConfig | None = None  # other ways, told while we waited for readers
        config = self._ways.read() or config
        self.config = config
        self._tell = tell
        self.restarts = _restarts()
        self._process = os.getpid()
        self._sent = dict.fromkeys(config.outputs, 0)  # two threads at once may miss one
        self._end = threading.Lock()
        self._dataflow_ends = False  # we said so
        self._told_to_stop = False  # seen while something waited; the event stream hears it, too
        summary = read_summary(config)  # not kept: it tells of the whole dataflow
        node = summary.nodes.get(config.node) if summary else None
        self._restart = node.restart if node else "never"
        self._readers = (summary.consumers(config.node) if summary else frozenset()) - {config.node}
        shared = {name for name, output in config.outputs.items() if "shm" in output.layers}
        # (reader, output) -> how many inputs, of readers on this machine
        self._expected = (
            summary.listeners(config.node, shared, self._ways.not_shm) if summary and node else {}
        )
        self.ignores_timers_at_end = bool(
            summary and summary.descriptor.get("exit_when_nodes_finish")
        )
        self._returns = comeback(self._restart, time.monotonic_ns())
        self._pulse = Pulse.from_environment()
        # the short way tells nobody that something was sent
        self._edges = Edges(config, returns=self._returns, short=self._pulse is None)
        self._publishers = self._edges.publishers
        self.shortcuts = self._edges.shortcuts
        self._layers = self._edges.layers
        try:
            self._edges.announce()
            self._control = ControlPipe.from_environment()
            if self._control is not None:
                self._layers.heed(self._control.fileno(), self._asked_to_stop)
            notify_ready()
            if PARENT in os.environ:
                die_with(int(os.environ[PARENT]))
            self._await_readers()
        except BaseException:
            self._layers.close()
            raise
        self.stream = EventStream(
            config.inputs,
            self._edges.subscriptions,
            self._control,
            ignore_timers_at_end=self.ignores_timers_at_end,
            lasting=lasting,
            pulse=self._pulse,
        )
        supervised = NOTIFY_SOCKET in os.environ
        self._reporter = Reporter(self._traffic, notify_status) if supervised else None
        self._rewiring: Rewiring | None = None
        if self._ways.exists:
            self._rewiring = Rewiring(
                self._ways, self._edges, self.stream, rewired, wanted=self._wanted
            )

    @with_shortcut
    def send(self, output: str, value: Any, metadata: Mapping[str, Any]) -> None:
        """Raises KeyError for an output that the node does not have, TypeError for a bad value."""
        timestamp = time.time_ns()
        for publisher in self._publishers[output]:
            publisher.send(value, metadata, timestamp)
        self._sent[output] += 1
        if self._pulse is not None:
            self._pulse.sign()

    def draft(self, output: str, nbytes: int) -> Draft:
        """Memory for one message. Raises KeyError for an output that the node does not have."""
        return Draft(self._publishers[output], nbytes, lambda: self._count(output))

    def _count(self, output: str) -> None:
        self._sent[output] += 1
        if self._pulse is not None:
            self._pulse.sign()

    def _traffic(self) -> Traffic:
        sent = dict(self._sent)
        for name in sent:
            sent[name] += self._edges.taken(name)
        sizes = {
            name: max(getattr(it, "size", 0) for it in publishers)
            for name, publishers in list(self._publishers.items())
            if sent[name] and publishers  # what nobody reads is not even encoded
        }
        return self._tell(Traffic.of(self.stream.traffic(), sent, sizes))

    def end_dataflow(self) -> bool:
        """Asks all nodes of the dataflow to end, and not to come back; this one, too. Machines
        whose link is cut at the moment, or to which no edge leads, do not hear it. Whether a
        supervisor here does, which then stops this node, too."""
        self._dataflow_ends = True
        if self._edges.config.zenoh is not None:
            from dora.communication.presence import tell_end

            layer: Any = self._layers.get("zenoh")
            tell_end(layer.session, self.config.dataflow)
        heard = notify_done()
        if not heard:
            logger.warning("no supervisor hears that the dataflow is to end; only this node does")
        return heard

    def finish(self, output: str) -> None:
        """Tells the readers of one output that nothing more will come. May be called twice.
        Raises KeyError for an output that the node does not have."""
        self._edges.finish(output)

    def hold_updates(self, reason: str, timeout: float | None) -> Hold:
        """Raises TimeoutError, and RuntimeError when the node is asked to leave meanwhile."""
        return Hold(reason, timeout, self._asked_to_stop)

    def _asked_to_stop(self) -> bool:
        if self._told_to_stop or self.stream.stopped:
            return True
        if self._control is None or not self._control.asked_to_stop():
            return False
        self._told_to_stop = True
        self._control.remind()  # the event stream may wait for it in another thread
        return True

    def end(self, *, failed: bool | None = None) -> None:
        """Closes the outputs unless the node may come back, then gives everything back.

        `failed`: whether the process is about to end with an error; None if only an uncaught
        exception would tell. May be called twice. Does nothing in a forked child: what there is
        belongs to the parent.
        """
        if os.getpid() != self._process or not self._end.acquire(blocking=False):
            return
        if self._reporter is not None:
            self._reporter.end()
        if self._rewiring is not None:
            self._rewiring.end()
        if failed is None:
            failed = getattr(sys, "last_type", None) is not None  # an uncaught exception
        why, error = self._why(failed), _error() if failed else ""
        if why == "finished":
            self._finish(None)
        elif why == "failed" and not comes_back(self._returns):
            self._finish(error)
        if self._edges.presence is not None:
            from dora.communication.presence import Left

            self._edges.presence.leave(Left(why), error)
        if self._layers.shm is not None:
            self._layers.shm.leave(why, error)
        self.stream.close()
        self._layers.close()  # which looks whether it is to wait for slow readers
        if self._control is not None:
            self._control.close()

    def _finish(self, error: str | None) -> None:
        for output in self._publishers:
            self._edges.finish(output, error)

    def _why(self, failed: bool) -> str:
        """Why the node leaves, as far as the process itself can know (see `presence.Left`)."""
        if self.stream.stopped or self._told_to_stop or self._dataflow_ends:
            return "stopped"
        if failed or (self._restart == "always" and comes_back(self._returns)):
            return "failed"
        return "finished"

    def _await_readers(self) -> None:
        readers = self._readers
        if not readers:
            return
        limit = min(self.config.barrier, BARRIER_AFTER_RESTART if self.restarts else float("inf"))
        deadline = time.monotonic() + limit
        poll = select.poll()
        if self._control is not None:
            poll.register(self._control.fileno(), select.POLLIN)
        with ExitStack() as stack:
            attendances: list[Any] = [
                stack.enter_context(source.attendance())
                for source in (self._edges.presence, self._layers.shm)
                if source is not None
            ]
            for attendance in attendances:
                poll.register(attendance.fileno(), select.POLLIN)
            while attendances and (missing := self._missing(readers, attendances)):
                left = deadline - time.monotonic()
                if left <= 0:
                    text = ", ".join(sorted(missing))
                    logger.warning("starting although nobody is there yet to read: %s", text)
                    return
                if self._pulse is not None:
                    self._pulse.sign()
                    due = self._pulse.due
                    left = left if due is None else min(left, max(due - time.monotonic(), 0.0))
                pause = CALLS if self._edges.uncalled() else EVERY
                ready = {fd for fd, _ in poll.poll(min(left, pause) * 1000 + 1)}
                asked = self._control is not None and self._control.fileno() in ready
                if asked and self._control is not None and self._control.asked_to_stop():
                    return  # the event stream will say so
                if self._others_have_moved():
                    return

    def _others_have_moved(self) -> bool:
        """Whether edges are to go other ways: who is waited for may have gone to read there."""
        found = self._ways.read()
        if found is None or found == self._edges.config:
            return False
        self._wanted = found
        return True

    def _missing(self, readers: frozenset[str], attendances: list[Any]) -> set[str]:
        """Who is not there by any layer, or here, and not yet with all of its inputs."""
        missing = set(readers.difference(*[attendance.present() for attendance in attendances]))
        missing |= {caller.split("/", 1)[0] for caller in self._edges.uncalled()}
        here = next((it for it in attendances if hasattr(it, "subscriptions")), None)
        if here is not None and self._expected:
            there = here.subscriptions()
            missing |= {
                reader
                for (reader, output), count in self._expected.items()
                if there[reader, self._edges.route(output)] < count
            }
        return missing


def read_summary(config: NodeConfig) -> DataflowSummary | None:
    """The dataflow as it is now; None if this node was started without documents.

    Raises DoraError if the document is there but damaged.
    """
    if config.documents is None:
        return None
    path = Path(config.documents, DOCUMENT)
    try:
        return DataflowSummary.from_text(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DoraError(f"{path}: {error}") from error


def _error() -> str:
    """What this process fails with, in one line."""
    found = getattr(sys, "last_value", None)
    if found is None:
        return "it ended with an error"
    return " ".join(f"{type(found).__name__}: {found}".split())


def die_with(parent: int) -> None:
    """Kills this process as soon as `parent` is gone, whatever the program is doing then."""

    def watch() -> None:
        try:
            fd = os.pidfd_open(parent)
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGKILL)
        except OSError:  # a kernel before 5.3
            while os.path.exists(f"/proc/{parent}"):
                time.sleep(0.5)
        else:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="dora-parent", daemon=True).start()


def _restarts() -> int:
    text = os.environ.get(RESTARTS, "0")
    return int(text) if text.isascii() and text.isdigit() else 0
