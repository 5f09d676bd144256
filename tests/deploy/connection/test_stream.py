"""What arrives, and how much of it: a machine that never comes to an end costs no memory."""

from __future__ import annotations

import asyncio

import pytest

from deploy.connection.stream import Inbox, Tail
from deploy.errors import MachineError


@pytest.mark.parametrize("read", ["readline", "read_all"])
async def test_what_has_no_end_is_the_machines_error(read: str) -> None:
    """It is told soon after it is too much, and from then on; nothing of it is kept."""
    inbox = Inbox("rover", most=1000)
    reading = asyncio.create_task(getattr(inbox, read)())
    for _ in range(20):
        await asyncio.sleep(0)
        inbox.feed(b"x" * 100)
    with pytest.raises(MachineError, match="rover: said more than"):
        await asyncio.wait_for(reading, 20)
    inbox.feed(b"\n" * 5000)
    with pytest.raises(MachineError, match="rover: said more than"):
        await inbox.read(1)
    assert "0 bytes" in repr(inbox)


async def test_lines_that_end_may_be_many() -> None:
    """Only what has no end counts."""
    inbox = Inbox("rover", most=1000)
    inbox.feed(b"line\n" * 1000)
    inbox.end()
    assert [b"line\n"] * 1000 + [b""] == [await inbox.readline() for _ in range(1001)]


def test_a_tail_is_the_end_of_what_was_fed() -> None:
    """However it came."""
    tail = Tail(5)
    for piece in (b"a", b"bcdefgh", b"ijklmnopqrstuvwxyz", b"", b"12"):
        tail.feed(piece)
    assert "xyz12" == tail.text
