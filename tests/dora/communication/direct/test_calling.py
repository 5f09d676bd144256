"""What is said when a reader calls."""

from __future__ import annotations

import pytest

from dora.communication.direct.calling import (
    LENGTH_BYTES,
    LONGEST_WANT,
    Call,
    length_of,
    socket_of,
    want,
    wanted,
)


@pytest.mark.parametrize("name", ["a", "n" * 255])
def test_whom_a_reader_wants_is_known_once_all_of_it_is_there(name: str) -> None:
    """And how much of the stream said so."""
    said = want(name)
    assert len(said) <= LONGEST_WANT
    assert [None] * len(said) == [wanted(said[:i]) for i in range(len(said))]
    assert (name, len(said)) == wanted(said + b"\x16\x03\x01")


def test_other_protocols_are_told_from_ours_by_their_first_bytes() -> None:
    """TLS, HTTP, SSH."""
    for said in (b"\x16", b"GET ", b"SSH-2.0", b"DOR4"):
        with pytest.raises(ValueError, match="protocol"):
            wanted(said)
    with pytest.raises(ValueError, match="256 bytes"):
        want("n" * 256)


def test_a_call_is_read_as_it_was_made() -> None:
    """Behind its length."""
    call = Call("flow/a/b", "reader/in", 7, 8, True)
    said = call.to_bytes()
    assert length_of(said[:LENGTH_BYTES]) == len(said) - LENGTH_BYTES
    assert call == Call.from_text(said[LENGTH_BYTES:])


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"route": 1, "reader": ""}', b'{"route": "", "reader": "", "x": 1}'],
)
def test_whatever_is_no_call_is_refused(text: bytes) -> None:
    """With ValueError, whatever it is."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own, too
        Call.from_text(text)


def test_a_nodes_socket_has_no_longer_path_than_the_routers() -> None:
    """However long the node's name; each has its own."""
    router = "/run/x/router.sock"
    found = {socket_of(router, name) for name in ("a", "b", "n" * 200)}
    assert 3 == len(found)
    assert {True} == {len(it) <= len(router) for it in found}
