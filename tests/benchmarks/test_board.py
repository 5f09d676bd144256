"""What the sender of a benchmark sees of its receivers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyarrow as pa
import pytest

from benchmarks.nodes.board import RING, Board, create_board, tag, tag_of


@pytest.fixture
def board() -> Iterator[tuple[Board, Board]]:
    """The receiver's and the sender's view of one board."""
    fd, path = create_board()
    try:
        yield Board(path), Board(path)
    finally:
        os.close(fd)


def test_a_message_is_found_by_its_tag(board: tuple[Board, Board]) -> None:
    """With its time, among those after a count; others are not."""
    receiver, sender = board
    receiver.note(tag(1, 0), 100)
    before = sender.count
    receiver.note(tag(2, 0), 200)
    assert (1, 2, 200, None) == (
        before,
        sender.count,
        sender.find(tag(2, 0), before),
        sender.find(tag(1, 0), before),
    )


def test_the_ring_keeps_the_latest(board: tuple[Board, Board]) -> None:
    """As many as it has room for, in order."""
    receiver, sender = board
    for number in range(RING + 3):
        receiver.note(tag(1, number), number)
    kept = sender.since(0)
    assert (RING, (tag(1, 3), 3), (tag(1, RING + 2), RING + 2)) == (len(kept), kept[0], kept[-1])


def test_who_enters_is_known_by_its_process(board: tuple[Board, Board]) -> None:
    """So that its CPU time can be asked for."""
    receiver, sender = board
    assert 0 == sender.pid
    receiver.enter()
    assert os.getpid() == sender.pid


def test_a_tag_travels_in_the_first_bytes_of_a_value() -> None:
    """Also of an array that begins in the middle of its buffer."""
    mark = tag(7, 9)
    plain = pa.array(list(mark.to_bytes(8, "little") + bytes(8)), pa.uint8())
    shifted = pa.array([1, 2, *mark.to_bytes(8, "little")], pa.uint8()).slice(2)
    assert [mark, mark] == [tag_of(plain), tag_of(shifted)]
