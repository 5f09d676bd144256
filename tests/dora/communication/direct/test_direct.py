"""The layer past routers, over TCP of loopback: as every layer, and what is its own."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dora.communication.base import Kind
from dora.communication.direct.calling import want
from dora.communication.header import pack_notice
from tests.dora.communication.direct.switchboard import Switchboard, keys
from tests.dora.communication.suite import (
    ROUTE,
    LayerSuite,
    Pair,
    T,
    numbers,
    receive,
    send_numbers,
    settle,
)
from tests.dora.harness import Playground, playground, wait_until


@pytest.fixture(scope="module")
def area() -> Iterator[Playground]:
    with playground() as area:
        area.router()
        yield area


@pytest.fixture(params=["tls", "plain"])
def board(request: pytest.FixtureRequest, area: Playground, tmp_path: Path) -> Iterator[Switchboard]:
    board = Switchboard(area.socket(), tmp_path, secret=request.param == "tls")
    try:
        yield board
    finally:
        board.close()


@pytest.fixture
def pair(board: Switchboard) -> Pair:
    return board.node("node"), board.node("reader")


class TestDirectLayer(LayerSuite):
    pass
