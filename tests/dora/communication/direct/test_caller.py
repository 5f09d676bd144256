"""Who calls senders: how often, when they answer and hang up."""

from __future__ import annotations

import socket
import threading
import time

from dora.communication.direct.caller import FIRST, Caller
from dora.communication.direct.calling import ACCEPTED, Call
from dora.communication.direct.transport import Secrecy
from dora.protocol.config import Links
from tests.dora.harness import wait_until


def test_a_sender_that_takes_calls_and_hangs_up_is_called_ever_less_often() -> None:
    """As one that does not answer: neither of the two is kept busy by it. Who hangs up first is the
    same; here it is the reader, who does so at once."""
    calls: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(5):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(ACCEPTED)
                    while connection.recv(1000):
                        pass

        answering = threading.Thread(target=answer)
        answering.start()

        def answered(connection: socket.socket) -> None:
            calls.append(time.monotonic())
            connection.close()
            caller.again()

        at = f"127.0.0.1:{server.getsockname()[1]}"
        secrecy = Secrecy(Links(insecure=True))
        caller = Caller(at, "node", secrecy, lambda: Call("a/b/c", "d/e"), answered)
        wait_until(lambda: len(calls) == 5, "five calls")
        caller.end()
        answering.join()
    assert calls[-1] - calls[0] >= FIRST * (1 + 2 + 4 + 8)
