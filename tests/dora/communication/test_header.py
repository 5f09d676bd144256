"""What travels beside a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.communication.base import Kind
from dora.communication.header import pack_closed, pack_data, pack_notice, unpack


def test_a_header_comes_back() -> None:
    """Kind, time, form, metadata and how the queue should take it."""
    header = unpack(pack_data("int64", {"a": 1, "flush": True, "request_id": "x"}, 5))
    assert (Kind.DATA, 5, "int64", True, True) == (
        header.kind,
        header.timestamp,
        header.form,
        header.flush,
        header.precious,
    )
    assert {"a": 1, "flush": True, "request_id": "x"} == header.read_metadata()
    assert {} == unpack(pack_data("ipc", {}, 5)).read_metadata()
    assert (Kind.CLOSED, 7) == unpack(pack_closed(7))[:2]


@pytest.mark.parametrize("kind", [Kind.RESTARTED, Kind.FAILED])
def test_a_notice_names_the_process_and_what_it_died_of(kind: Kind) -> None:
    """No more of a long error than makes a header."""
    header = unpack(pack_notice(kind, "7.1", "x" * 10_000, 5))
    assert (kind, 5) == header[:2]
    assert {"process": "7.1", "error": "x" * 500} == header.read_metadata()


def test_a_sender_numbers_its_messages() -> None:
    """Modulo 2 to the 32; a message of nobody has sender 0."""
    header = unpack(pack_data("int64", {}, 5, 3, 2**32 + 4))
    assert (3, 4) == (header.sender, header.number)
    header = unpack(pack_closed(5, 2**32 - 1, 4))
    assert (2**32 - 1, 4) == (header.sender, header.number)
    assert 0 == unpack(pack_closed(5)).sender


@pytest.mark.parametrize(
    "data", [b"", b"\1", b"\1" + bytes(20), b"\2\0\xff" + bytes(16), b"\2\0\0" + b"\xff" * 16]
)
def test_a_damaged_header_is_refused(data: bytes) -> None:
    """Too short, of another version, with a wrong length or time."""
    with pytest.raises(ValueError, match="header"):
        unpack(data)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    """Nothing else ever comes of them."""
    try:
        unpack(data).read_metadata()
    except ValueError:
        pass  # refused
