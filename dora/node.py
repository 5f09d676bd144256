"""The node's API, as existing dora programs use it: `from dora import Node`. Node (>= 3.10)."""

from __future__ import annotations

import math
import re
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dora.communication.shm.shortcut import with_shortcut
from dora.errors import DoraError
from dora.event import TIMEOUT, Event, error_event
from dora.identifiers import uuid7
from dora.log import patch_basic_config, write_line
from dora.metadata import UTC, normalise
from dora.participation import Participation, read_summary
from dora.protocol.config import NODE_CONFIG, NodeConfig
from dora.protocol.updates import Hold
from dora.sample import Draft, Sample, SampleHandler, bytes_of, size_of
from dora.tracing import spans

if TYPE_CHECKING:
    from dora.kvs import Kvs

_OUTPUT_ID = re.compile(r"[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*")


class Node:
    """This process's part in its dataflow: gives its events, sends its outputs.

    The configuration comes from the environment, which also decides the node's id: `node_id` and
    `daemon_port` are accepted for programs that give them. Returns once the nodes that read our
    outputs are there, so that the first message is not lost. Raises RuntimeError outside of a
    dataflow.

    One thread may ask for events while others send. A node ends with its process, or when the last
    reference to it goes; its readers then get INPUT_CLOSED, unless it was stopped or may come back.
    """

    def __init__(self, node_id: str | None = None, daemon_port: int | None = None) -> None:
        try:
            config = NodeConfig.from_environment()
            if config is None:
                raise RuntimeError(
                    f"not part of a dataflow: ${NODE_CONFIG} is not set. "
                    "Name this program in a flow file and start it with `dora run flow.yml`"
                )
            self._config = config
            self._part = Participation(self._config)
        except (ValueError, DoraError) as error:
            raise RuntimeError(str(error)) from error
        self._stream = self._part.stream
        self.shortcuts = self._part.shortcuts
        self._kvs: Kvs | None = None
        # At exit too: a session that is still open when the interpreter goes down aborts it.
        self._end = weakref.finalize(self, self._part.end)
        patch_basic_config(self._config.node)
        traces = spans(self._config.node, self._config.dataflow)
        if traces is not None:
            from dora.traced import trace

            trace(self, traces)

    def __repr__(self) -> str:
        state = "ended" if self._stream.ended else "running"
        return f"<Node {self._config.node} of {self._config.dataflow}, {state}>"

    def __iter__(self) -> Iterator[Event]:
        return self._stream.follow(self)

    def __next__(self) -> Event:
        stream = self._stream
        while (event := stream.take()) is None:
            if stream.ended:
                raise StopIteration
            stream.wait(None)
        return event

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None when there will be none any more.

        After `timeout` seconds without one, an event of type ERROR. Raises ValueError for a
        timeout that is negative or NaN.
        """
        stream = self._stream
        if timeout is None or timeout > 0:
            event = stream.message(timeout)
            if event is not None:
                return event
        deadline = None if timeout is None else _deadline(timeout)
        while (event := stream.take()) is None:
            if stream.ended:
                return None
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return error_event(TIMEOUT)
            stream.wait(left)
        return event

    async def recv_async(self, timeout: float | None = None) -> Event | None:
        """As `next`, while other tasks of the event loop go on."""
        from dora.waiting import let_others_run, readable

        deadline = _deadline(timeout)
        await let_others_run()
        while True:
            event = self._stream.take()
            if event is not None:
                return event
            if self._stream.ended:
                return None
            now = time.monotonic()
            if deadline is not None and deadline <= now:
                return error_event(TIMEOUT)
            ends = [end for end in (deadline, self._stream.deadline()) if end is not None]
            await readable(self._stream.fileno(), max(min(ends) - now, 0.0) if ends else None)

    def try_recv(self) -> Event | None:
        """An event that waits, or None."""
        return self._stream.take()

    def drain(self) -> list[Event]:
        """All events that wait. Raises RuntimeError once the stream has ended."""
        if self._stream.ended:
            raise RuntimeError("the event stream has ended")
        events = []
        while (event := self._stream.take()) is not None:
            events.append(event)
        return events

    def is_empty(self) -> bool:
        """Whether no event waits."""
        return self._stream.is_empty()

    @with_shortcut
    def send_output(
        self, output_id: str, data: Any, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Sends `data` (bytes or an Arrow array; other buffers and numpy arrays too).

        An output that the flow file does not list is dropped with a warning. Raises RuntimeError
        for data that no Arrow array can carry or for an id that no output can have, and TypeError
        for metadata that is no dict.
        """
        if not isinstance(output_id, str):
            raise TypeError(f"output_id must be str, not {type(output_id).__name__}")
        normal = {} if metadata is None else normalise(metadata)
        try:
            self._part.send(output_id, data, normal)
        except KeyError:
            self._reject(output_id)
        except TypeError as error:
            raise RuntimeError(f"output {output_id!r}: {error}") from error

    def send_output_raw(
        self, output_id: str, data_length: int, metadata: Mapping[str, Any] | None = None
    ) -> SampleHandler:
        """`data_length` bytes to fill and send: readers on this machine get them without a copy.

        Raises RuntimeError for an output that the flow file does not list.
        """
        normal = normalise(metadata) if metadata else {}
        return SampleHandler(self._draft(output_id, data_length), normal)

    def allocate_output(
        self,
        output_id: str,
        nbytes: int | None = None,
        *,
        shape: int | Sequence[int] | None = None,
        dtype: Any = "uint8",
        metadata: Mapping[str, Any] | None = None,
    ) -> Sample:
        """Memory for a message, by its size or as a numpy array, to fill in place and send.

        Worth it from about 400 KB on. Raises RuntimeError for an output that the flow file does
        not list, ValueError for a size or type that cannot be.

            with node.allocate_output("image", shape=(480, 640, 3)) as sample:
                camera.read_into(sample.array)
        """
        sizes, form = size_of(nbytes, shape, dtype)
        draft = self._draft(output_id, bytes_of(sizes, form))
        return Sample(draft, sizes, form, normalise(metadata) if metadata else {})

    def _draft(self, output: str, nbytes: int) -> Draft:
        if type(nbytes) is not int or nbytes < 0:
            raise ValueError(f"a message of {nbytes!r} bytes")
        try:
            return self._part.draft(output, nbytes)
        except KeyError:
            outputs = ", ".join(sorted(self._config.outputs)) or "none"
            raise RuntimeError(f"{output!r} is not in the node's output list ({outputs})") from None

    def _reject(self, output: str) -> None:
        if not _OUTPUT_ID.fullmatch(output):
            raise RuntimeError(f"invalid output id {output!r}: use letters, digits, `_`, `-`, `.`")
        outputs = ", ".join(sorted(self._config.outputs)) or "none"
        self.log_warn(f"dropped a message: {output!r} is not in the node's output list ({outputs})")

    def kvs_write(self, key: str, value: bytes) -> None:
        """Keeps `value` for all nodes and operators of this dataflow on this machine, also after a
        restart or a new deployment; durable when it returns.

        Raises StateError past a limit (`dora.storage`) or if the disk cannot be written to.
        """
        self._shared().write(key, value)

    def kvs_read(self, key: str) -> bytes | None:
        """What any of them wrote last under `key`, or None. Raises StateError."""
        return self._shared().read(key)

    def _shared(self) -> Kvs:
        if self._kvs is None:
            from dora.kvs import Kvs  # few programs need it

            self._kvs = Kvs(self._config.state)
        return self._kvs

    def send_service_request(
        self, output_id: str, data: Any, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Sends `data` with a new `request_id` in its metadata, and returns that."""
        request = uuid7()
        self.send_output(output_id, data, {**(metadata or {}), "request_id": request})
        return request

    def send_service_response(self, output_id: str, data: Any, metadata: Mapping[str, Any]) -> None:
        """Sends `data` with the metadata of the request that it answers."""
        if "request_id" not in metadata:
            self.log_warn(f"a response on {output_id!r} has no request_id in its metadata")
        self.send_output(output_id, data, metadata)

    def log(
        self,
        level: str,
        message: str,
        target: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        write_line(self._config.node, level, message, target, fields)

    def log_error(self, message: str, target: str | None = None) -> None:
        self.log("error", message, target)

    def log_warn(self, message: str, target: str | None = None) -> None:
        self.log("warn", message, target)

    def log_info(self, message: str, target: str | None = None) -> None:
        self.log("info", message, target)

    def log_debug(self, message: str, target: str | None = None) -> None:
        self.log("debug", message, target)

    def log_trace(self, message: str, target: str | None = None) -> None:
        self.log("trace", message, target)

    def dataflow_id(self) -> str:
        return self._config.dataflow_id

    def dataflow_descriptor(self) -> dict[str, Any]:
        """The flow file with its defaults filled in; empty if it was not handed out."""
        summary = read_summary(self._config)
        return dict(summary.descriptor) if summary else {}

    def node_config(self) -> dict[str, Any]:
        """This node's inputs (name -> source, queue_size, queue_policy) and outputs."""
        return {
            "inputs": {
                name: {
                    "source": wired.source,
                    "queue_size": wired.queue_size,
                    "queue_policy": wired.queue_policy,
                }
                for name, wired in self._config.inputs.items()
            },
            "outputs": sorted(self._config.outputs),
        }

    def timestamp(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)

    def hold_updates(self, reason: str = "", timeout: float | None = None) -> Hold:
        """From now on no deployment restarts anything on this machine, until the Hold is released,
        or this process ends.

            with node.hold_updates("driving to the dock"):
                drive()

        or `hold = node.hold_updates()`, and `hold.release()` later. While the machine is being
        switched, it waits until that is over: for `timeout` seconds at most, then it raises
        TimeoutError. Raises RuntimeError when the node is asked to stop meanwhile, ValueError for a
        timeout that is negative or NaN.
        """
        _deadline(timeout)
        return self._part.hold_updates(reason, timeout)

    def restart_count(self) -> int:
        return self._part.restarts

    def is_restart(self) -> bool:
        return self._part.restarts > 0


def _deadline(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout must be a number of seconds from 0 up, not {timeout}")
    return time.monotonic() + timeout
