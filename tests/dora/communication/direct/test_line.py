"""What waits for a link that takes no more, at the sender's end of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from dora.communication.direct.frames import Frames, head
from dora.communication.direct.line import STUCK, WAITING, Line, Outgoing
from dora.communication.direct.publisher import Route
from dora.communication.direct.transport import reader
from tests.dora.harness import wait_until

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


def test_a_reader_that_takes_little_holds_up_nobody(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Though it takes something all the time: it has by far not all when the sender goes on."""
    line = Line(ends[0], "reader", lambda _: None, 0)
    ends[1].setblocking(True)
    over = threading.Event()

    def take() -> None:
        while not over.wait(0.005):
            ends[1].recv(10_000)

    taking = threading.Thread(target=take)
    taking.start()
    try:
        line.send(b"head", bytes(100_000_000))
        assert not line.idle
    finally:
        line.end()
        over.set()
        taking.join()


def test_a_reader_that_paused_holds_the_sender_back_again(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """What was sent meanwhile waits, the newest of it; from then on nothing is lost."""
    line = Line(ends[0], "reader", lambda _: None, 0, hold=True)
    over = threading.Event()

    def flush() -> None:
        while not over.wait(0.001):
            line.flush()

    for number in range(50):
        line.send(*message(number))
    frames = Frames(reader(ends[1]))
    found = []

    def take() -> None:
        while not found or found[-1] < 149:
            if (frame := frames.next()) is not None:
                found.append(int(frame.header))
            over.wait(0.001)

    threads = [threading.Thread(target=it) for it in (flush, take)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(found) > 3, "the reader's return")
    for number in range(50, 150):
        line.send(*message(number))
    threads[1].join()
    over.set()
    threads[0].join()
    assert list(range(50, 150)) == found[-100:]


def test_a_line_is_stuck_when_nothing_of_what_waits_has_gone_for_a_while(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """With nothing that waits it never is."""
    now = [0.0]
    line = Line(ends[0], "reader", lambda _: None, 10, clock=lambda: now[0])
    line.send(b"head", b"")
    now[0] += STUCK + 1
    assert not line.stuck
    for number in range(5):
        line.send(*message(number))
    assert not line.stuck
    now[0] += STUCK + 1
    assert line.stuck
    ends[1].recv(2 * SIZE)
    line.flush()
    assert not line.stuck


def test_who_calls_again_has_done_with_the_line_that_is_stuck(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Others that are stuck stay: their readers have not called."""
    now = [0.0]
    route = Route()
    lines = [Line(ends[0].dup(), name, lambda _: None, 10, clock=lambda: now[0]) for name in "ab"]
    for line in lines:
        route.attach(line, 0, 0)
        for number in range(5):
            line.send(*message(number))
    now[0] += STUCK + 1
    again = Line(ends[0].dup(), "a", lambda _: None, 10)
    route.attach(again, 0, 0)
    assert [True, False] == [line.ended for line in lines]
    assert (lines[1], again) == route.lines
    for line in (*lines, again):
        line.close()


def test_a_line_that_ended_keeps_its_descriptor_until_it_is_closed(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Whoever watches it would take the next one with that number for it."""
    line = Line(ends[0].dup(), "reader", lambda _: None, 0)
    line.end()
    assert line.ended
    assert line.fileno() >= 0
    assert b"" == ends[1].recv(1)
    line.close()
    assert -1 == line.fileno()


def test_a_reader_that_hung_up_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    """The line has ended, and takes no more."""
    line = Line(ends[0], "reader", lambda _: None, 0)
    ends[1].close()
    for number in range(3):
        line.send(*message(number))
    assert line.ended
    assert line.idle
    assert not line.flush()
