"""What a replica that is asked to leave does first: it works off what it was given."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dora.communication.base import Kind, Message
from dora.protocol.config import InputConfig
from dora.protocol.supervision import STOP, ControlPipe
from dora.stream import DRAIN, EventStream


class Subscription:
    """What one replica is given, without anybody who gives."""

    def __init__(self, count: int) -> None:
        self._wake = os.eventfd(1, os.EFD_NONBLOCK)
        self._messages = deque(range(count))
        self.dropped = 0
        self.drained = False
        self.told: list[str] = []

    @property
    def waiting(self) -> int:
        return len(self._messages)

    def fileno(self) -> int:
        return self._wake

    def receive(self) -> Message | None:
        if not self._messages:
            return None
        number = self._messages.popleft()
        self.told.append(f"took {number}")
        return Message(Kind.DATA, 0, {"n": number}, lambda: None)

    def done(self) -> None:
        self.told.append("done")

    def drain(self) -> None:
        self.told.append("drain")

    def close(self) -> None:
        os.close(self._wake)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlPipe]:
    path = tmp_path / "control"
    os.mkfifo(path)
    pipe = ControlPipe(str(path))
    with path.open("w") as writer:
        writer.write(f"{STOP}\n")
        writer.flush()
        yield pipe
    pipe.close()


INPUTS = {"work": InputConfig("node/work", "shm", share="it/work")}


def kinds(stream: EventStream) -> list[str]:
    found = []
    while (event := stream.take()) is not None:
        found.append(event["type"])
    return found


def test_the_stop_comes_behind_what_was_given(control: ControlPipe) -> None:
    """The senders are told at once; the program hears of it when nothing more comes."""
    subscription: Any = Subscription(3)
    stream = EventStream(INPUTS, {"work": subscription}, control)
    assert ["INPUT"] * 3 == kinds(stream)
    assert stream.stopped
    assert not stream.ended
    subscription.drained = True
    assert ["STOP"] == kinds(stream)
    assert stream.ended
    assert 1 == subscription.told.count("drain")
    stream.close()
    subscription.close()


def test_a_message_is_done_when_the_next_event_is_asked_for(control: ControlPipe) -> None:
    """Not when it is taken."""
    subscription: Any = Subscription(2)
    stream = EventStream(INPUTS, {"work": subscription}, control)
    subscription.told.clear()
    stream.take()
    assert "took 0" == subscription.told[-1]
    stream.take()
    assert ["took 0", "done", "took 1"] == subscription.told[-3:]
    stream.close()
    subscription.close()


def test_it_does_not_take_for_ever(control: ControlPipe) -> None:
    """Then the stop comes with the rest of the queue behind it."""
    now = [time.monotonic_ns()]
    subscription: Any = Subscription(5)
    stream = EventStream(INPUTS, {"work": subscription}, control, clock=lambda: now[0])
    first = stream.take()
    assert first is not None
    assert "INPUT" == first["type"]
    now[0] += round((DRAIN + 1) * 1e9)
    assert ["STOP", "INPUT", "INPUT", "INPUT", "INPUT"] == kinds(stream)
    stream.close()
    subscription.close()
