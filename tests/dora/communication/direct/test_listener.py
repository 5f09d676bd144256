"""Who lets readers in, at its end."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable

from dora.communication.direct.calling import ACCEPTED, Call
from dora.communication.direct.line import Line, Outgoing
from dora.communication.direct.listener import Listener
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
