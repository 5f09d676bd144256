"""Who lets readers in, at its end."""

from __future__ import annotations

import select
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack

from dora.communication.direct.calling import ACCEPTED, Call
from dora.communication.direct.line import Line, Outgoing
from dora.communication.direct.listener import MOST_CALLERS, Listener
from dora.communication.direct.transport import Secrecy
from dora.protocol.config import Links


def test_it_may_be_ended_by_its_own_thread() -> None:
    """As it is when the garbage collector happens to run there: what waits is still written."""

    class Last(Line):
        def flush(self) -> bool:
            listener.close()
            return super().flush()

    def attach(call: Call, connection: socket.socket, wants_room: Callable[[Line], None]) -> Line:
        line = Last(connection, call.reader, wants_room, 0)
        line.begin([Outgoing(b"last", b"")])
        return line

    with (
        tempfile.TemporaryDirectory(prefix="dora-") as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), 30) as reader,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door,
    ):
        path = f"{folder}/node"
        listener = Listener(path, Secrecy(Links(insecure=True)), lambda _: True, attach)
        with server.accept()[0] as caller:
            door.connect(path)
            socket.send_fds(door, [b"."], [caller.fileno()])
        reader.sendall(Call("flow/node/output", "reader/in").to_bytes())
        heard = b""
        while more := reader.recv(100):
            heard += more
        assert ACCEPTED + b"last" == heard
        listener.close()


def test_when_many_have_not_said_who_they_are_the_later_have_less_time() -> None:
    """So that strangers who say nothing keep out nobody for long."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dora-"))
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        door = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        secrecy = Secrecy(Links(insecure=True))
        listener = Listener(f"{folder}/node", secrecy, lambda _: False, nobody)
        stack.callback(listener.close)
        door.connect(f"{folder}/node")
        strangers = []
        for _ in range(MOST_CALLERS):
            stranger = socket.create_connection(server.getsockname(), 30)
            strangers.append(stack.enter_context(stranger))
            with server.accept()[0] as caller:
                socket.send_fds(door, [b"."], [caller.fileno()])
        shown_out = select.select([strangers[0], strangers[-1]], [], [], 30)[0]
        assert strangers[-1] in shown_out


def nobody(*_: object) -> Line:
    raise AssertionError("nobody has called")
