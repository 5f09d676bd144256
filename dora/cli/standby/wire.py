"""What `dora` and a standby say to each other, over a Unix socket. Laptop only.

Each side says words, a line each:

    here        heir -> client   somebody listens: files that nobody takes would stay open
    a Request   client -> heir   with its open files beside the first byte
    pid N       heir -> client   the command's process, which waits for
    go          client -> heir   from here on the client does nothing of its own
    exit N      heir, standby    the command ended so
    signal N    standby          a signal ended it
    stopped N   standby          a signal stopped it (Ctrl-Z)

Where the connection ends before `go`, nothing has happened.
"""

import array
import os
import socket
import struct

MOST_FILES = 200  # the kernel passes 253
LONGEST = 64 * 1024 * 1024  # bytes of a request; argv and environment have their limits below it


class Request:
    """What makes a process the command that a user has called."""

    def __init__(
        self,
        likeness: str,
        prog_name: str,
        argv: list[str],
        environment: dict[bytes, bytes],
        umask: int,
        numbers: list[int],
    ) -> None:
        """`numbers`: of the files that go with it: the lifeline and the working folder, which are
        nowhere in particular (-1), then what each has in the client."""
        self.likeness = likeness
        self.prog_name = prog_name
        self.argv = argv
        self.environment = environment
        self.umask = umask
        self.numbers = numbers

    def to_bytes(self) -> bytes:
        """Nothing of it can have a zero byte in it: so come words and variables from the system."""
        fields = [
            os.fsencode(self.likeness),
            os.fsencode(self.prog_name),
            b"%d" % self.umask,
            b" ".join(b"%d" % it for it in self.numbers),
            b"%d" % len(self.argv),
            *map(os.fsencode, self.argv),
            *(name + b"=" + value for name, value in self.environment.items()),
        ]
        return b"\0".join(fields)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Request":
        """Raises ValueError."""
        likeness, prog_name, umask, numbers, count, *rest = data.split(b"\0")
        words, variables = rest[: int(count)], rest[int(count) :]
        pairs = (it.partition(b"=") for it in variables)
        return cls(
            os.fsdecode(likeness),
            os.fsdecode(prog_name),
            list(map(os.fsdecode, words)),
            {name: value for name, _, value in pairs},
            int(umask),
            [int(it) for it in numbers.split()],
        )


def send(connection: socket.socket, request: Request, files: list[int]) -> None:
    """Raises OSError."""
    data = request.to_bytes()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    connection.sendmsg([struct.pack("!I", len(data))], rights)
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[Request, list[int]]:
    """With the files, in the order in which they were sent. Raises OSError, ValueError."""
    size = array.array("i").itemsize
    room = socket.CMSG_SPACE(MOST_FILES * size)
    head, rights, flags, _ = connection.recvmsg(4, room, socket.MSG_CMSG_CLOEXEC)
    files = array.array("i")
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(data[: len(data) - len(data) % size])
    (missing,) = struct.unpack("!I", head) if len(head) == 4 else (LONGEST + 1,)
    if flags & socket.MSG_CTRUNC or missing > LONGEST:
        raise ValueError("not a request")
    parts = []
    while missing:
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            raise ValueError("the request broke off")
        parts.append(part)
        missing -= len(part)
    request = Request.from_bytes(b"".join(parts))
    if len(request.numbers) != len(files):
        raise ValueError("files are missing")
    return request, list(files)


def say(connection: socket.socket, word: str, number: int = 0) -> None:
    """Raises OSError."""
    connection.send(f"{word} {number}\n".encode(), socket.MSG_NOSIGNAL)


class Words:
    """What the other side says, a word at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def next(self) -> tuple[str, int] | None:
        """Waits for it; None when the connection has ended. Raises OSError, ValueError."""
        while b"\n" not in self._rest:
            data = self._connection.recv(4096)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        word, number = line.split()
        return word.decode(), int(number)

    @property
    def waiting(self) -> bool:
        """Whether there is one already that was received."""
        return b"\n" in self._rest


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end; who listens, at the client's. Raises OSError."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", data)
    return pid, uid
