"""Messages on a stream: however it is cut into pieces, the same come out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.communication.direct.frames import LONGEST_HEADER, PREFIX, Frames, head

SIZES = st.sampled_from([0, 1, 100, 32_767, 32_768, 65_535, 65_536, 200_000])


class Stream:
    """Gives what it was made with in pieces of these sizes, nothing between them, then the end."""

    def __init__(self, data: bytes, pieces: list[int]) -> None:
        self._data = data
        self._pieces = pieces
        self._turn = 0

    def __call__(self, into: memoryview) -> int:
        self._turn += 1
        if self._turn % 2:
            raise BlockingIOError
        if not self._data:
            return 0
        size = self._pieces[self._turn // 2 % len(self._pieces)]
        piece = self._data[: min(size, len(into))]
        into[: len(piece)] = piece
        self._data = self._data[len(piece) :]
        return len(piece)


def everything(frames: Frames) -> Iterator[tuple[bytes, bytes]]:
    while True:
        try:
            frame = frames.next()
        except EOFError:
            return
        if frame is not None:
            yield frame.header, bytes(memoryview(frame.payload))


@given(
    messages=st.lists(st.tuples(SIZES, SIZES), max_size=5),
    pieces=st.lists(st.integers(1, 300_000), min_size=1, max_size=5),
)
def test_pieces_of_any_size_give_the_same_messages(
    messages: list[tuple[int, int]], pieces: list[int]
) -> None:
    """Headers and payloads of any size."""
    sent = [(bytes([i]) * h, bytes([i + 9]) * p) for i, (h, p) in enumerate(messages)]
    data = b"".join(head(header, len(payload)) + payload for header, payload in sent)
    frames = Frames(Stream(data, [max(it, len(data) // 2000 + 1) for it in pieces]))
    assert sent == list(everything(frames))


@pytest.mark.parametrize("prefix", [(LONGEST_HEADER + 1, 0), (0, 1 << 40)])
def test_impossible_lengths_are_refused(prefix: tuple[int, int]) -> None:
    """Before memory is asked for."""
    frames = Frames(Stream(PREFIX.pack(*prefix), [100]))
    with pytest.raises(ValueError, match="bytes of header"):
        frames.next() or frames.next()
