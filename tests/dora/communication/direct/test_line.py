"""What waits for a link that takes no more, at the sender's end of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dora.communication.direct.frames import Frames, head
from dora.communication.direct.line import WAITING, Line, Outgoing
from dora.communication.direct.transport import reader

SIZE = 100_000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SIZE)
    yield ours, theirs
    ours.close()
    theirs.close()


def message(number: int, *, precious: bool = False) -> Outgoing:
    return Outgoing(head(str(number).encode(), SIZE), bytes(SIZE), precious)


def drained(line: Line, theirs: socket.socket) -> list[int]:
    """The numbers of all that comes while the line is flushed."""
    frames = Frames(reader(theirs))
    found = []
    while True:
        more = line.flush()
        while (frame := frames.next()) is not None:
            found.append(int(frame.header))
        if not more:
            return found


def test_the_newest_wait(ends: tuple[socket.socket, socket.socket]) -> None:
    """Behind what is on the way already; and somebody is asked to write them."""
    asked: list[Line] = []
    line = Line(ends[0], "reader", asked.append, 0)
    for number in range(100):
        line.send(*message(number))
    assert [line] == asked
    assert not line.idle
    found = drained(line, ends[1])
    assert list(range(100 - WAITING, 100)) == found[-WAITING:]
    assert found == sorted(found)
    assert len(found) < 30
    assert line.idle


def test_precious_messages_wait_longest(ends: tuple[socket.socket, socket.socket]) -> None:
    """They make room only for each other."""
    line = Line(ends[0], "reader", lambda _: None, 0)
    for number in range(100):
        line.send(*message(number, precious=number == 50))
    assert 50 in drained(line, ends[1])


def test_of_a_reliable_output_as_much_waits_as_it_keeps(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """However many bytes that are."""
    line = Line(ends[0], "reader", lambda _: None, 300)
    for number in range(300):
        line.send(*message(number))
    assert list(range(300)) == drained(line, ends[1])


def test_what_was_missed_goes_first(ends: tuple[socket.socket, socket.socket]) -> None:
    """And what is sent meanwhile waits behind it."""
    line = Line(ends[0], "reader", lambda _: None, 10)
    line.begin([message(1), message(2)])
    line.send(*message(3))
    assert [1, 2, 3] == drained(line, ends[1])


def test_a_reader_that_hung_up_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    """The line has ended, and takes no more."""
    line = Line(ends[0], "reader", lambda _: None, 0)
    ends[1].close()
    for number in range(3):
        line.send(*message(number))
    assert line.ended
    assert line.idle
    assert not line.flush()
