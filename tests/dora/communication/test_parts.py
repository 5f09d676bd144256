"""Large messages are cut into parts and put together again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.communication.header import pack_data, unpack
from dora.communication.parts import MOST_SENDERS, Assembly, split

Parts = list[tuple[bytes, bytes]]


def cut(data: bytes, size: int, sender: int = 1, number: int = 1) -> Parts:
    header = pack_data("uint8", {"sender": sender}, 5, sender, number)
    return list(split(data, header, size))


def feed(assembly: Assembly, parts: Parts) -> list[bytes]:
    """The messages that come out."""
    found = []
    for payload, header in parts:
        whole = assembly.add(unpack(header), payload)
        if whole is not None:
            assert ("uint8", 5) == (whole[0].form, whole[0].timestamp)
            assert {"sender": whole[0].sender} == whole[0].read_metadata()
            found.append(b"".join(whole[1]))
    return found


@given(st.binary(min_size=1, max_size=50), st.integers(1, 60))
def test_what_was_cut_comes_back(data: bytes, size: int) -> None:
    """With form, time and metadata, whatever the size of the parts."""
    assert [data] == feed(Assembly(), cut(data, size))


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_a_message_that_lacks_a_part_never_comes(kept: list[bool]) -> None:
    """Whichever is missing; the next message is whole again."""
    assembly = Assembly()
    parts = cut(bytes(range(len(kept))), 1)
    given = [part for part, there in zip(parts, kept, strict=True) if there]
    assert ([bytes(range(len(kept)))] if all(kept) else []) == feed(assembly, given)
    assert [b"next"] == feed(assembly, cut(b"next", 2, number=2))


def test_parts_of_two_senders_do_not_mix() -> None:
    """A restarted node may meet its own past."""
    one, two = cut(b"aabb", 2, sender=1), cut(b"ccdd", 2, sender=2)
    mixed = [part for pair in zip(one, two, strict=True) for part in pair]
    assert [b"aabb", b"ccdd"] == feed(Assembly(), mixed)


def test_what_dead_senders_began_does_not_pile_up() -> None:
    """However often one dies in the middle of a message."""
    assembly = Assembly()
    begun = [cut(b"aabb", 2, sender=sender) for sender in range(1, MOST_SENDERS + 2)]
    for parts in begun:
        assert [] == feed(assembly, parts[:1])
    assert [] == feed(assembly, begun[0][1:])
    assert [b"aabb"] == feed(assembly, begun[-1][1:])


def test_a_whole_message_ends_one_in_parts() -> None:
    """The rest of which was lost."""
    assembly = Assembly()
    begun = cut(b"aabb", 2)
    assert [b"x"] == feed(assembly, [*begun[:1], (b"x", pack_data("uint8", {"sender": 1}, 5, 1))])
    assert [] == feed(assembly, begun[1:])


@pytest.mark.parametrize("tail", [b"", bytes(4), b"\1\0\0\0\1\0\0\0"])
def test_a_damaged_part_is_refused(tail: bytes) -> None:
    """Cut off, or beyond the last."""
    with pytest.raises(ValueError, match="header"):
        unpack(b"\2\10\0" + bytes(16) + tail)
