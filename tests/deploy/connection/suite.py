"""What every Connection must do; each kind runs all of it.

A kind's test class inherits `ConnectionSuite` and has a fixture `bench`. Commands are words that
every machine knows (cat, printf, sleep, sh, head, true); `SCRIPTS` are all the `sh -c` there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.connection.base import Channel, Connection
from deploy.errors import CommandFailed, ConnectionLost, MachineError

PATIENCE = 60.0  # seconds; never measured
MEGABYTE = 1 << 20

# What `sh -c` is given: stdout, stderr, status.
SCRIPTS: dict[str, tuple[bytes, str, int]] = {
    "echo out; echo err >&2; exit 3": (b"out\n", "err\n", 3),
    "printf 'last words'; echo why >&2; exit 9": (b"last words", "why\n", 9),
    "kill -9 $$": (b"", "", 137),
}

# A Unix server at the path argv[1]: sends back what it gets, then "end", then ends its side.
ECHO_SERVER = """
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(50)
print("ready", flush=True)
while True:
    client, _ = server.accept()
    if os.fork() == 0:
        while data := client.recv(65536):
            client.sendall(data)
        client.sendall(b"end")
        os._exit(0)
    client.close()
"""


@dataclass
class Bench:
    """A connection under test, and what its machine has."""

    connection: Connection
    echo: str  # path of a socket with ECHO_SERVER's behaviour
    end: Callable[[], Awaitable[None]] | None = None  # ends the server, if it is ours


async def soon(work: asyncio.Task[Any]) -> Any:
    return await asyncio.wait_for(work, PATIENCE)


async def read_to_end(channel: Channel) -> bytes:
    got = b""
    while data := await channel.read():
        got += data
    return got


async def send(channel: Channel, data: bytes) -> None:
    await channel.write(data)
    await channel.write_eof()


class ConnectionSuite:
    async def test_run_tells_status_stdout_and_stderr(self, bench: Bench) -> None:
        """A command's end is told in full, and a bad status is no exception."""
        done = await bench.connection.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert (3, b"out\n", "err\n") == (done.status, done.stdout, done.stderr)

    async def test_a_signal_is_a_status_above_128(self, bench: Bench) -> None:
        """A killed command's status is 128 + the signal, as shells have it."""
        assert 137 == (await bench.connection.run(["sh", "-c", "kill -9 $$"])).status

    async def test_a_missing_program_is_status_127(self, bench: Bench) -> None:
        """What is not there is said as a shell says it."""
        done = await bench.connection.run(["no-such-program"])
        assert 127 == done.status
        assert "no-such-program" in done.stderr
        assert "not found" in done.stderr

    async def test_binary_stdin_comes_back_unchanged(self, bench: Bench) -> None:
        """Every byte passes both ways as it is."""
        data = bytes(range(256)) * 5 + b"\r\n\0\x1a\x04"
        done = await bench.connection.run(["cat"], data)
        assert (0, data) == (done.status, done.stdout)

    async def test_ten_megabytes_pass_both_ways_at_once(self, bench: Bench) -> None:
        """More than all buffers together, in one run."""
        data = bytes(range(251)) * (10 * MEGABYTE // 251)
        assert data == (await bench.connection.run(["cat"], data)).stdout

    async def test_a_command_need_not_read_its_stdin(self, bench: Bench) -> None:
        """A command that ends with its stdin unread has just ended."""
        assert 0 == (await bench.connection.run(["true"], b"x" * 3 * MEGABYTE)).status

    @pytest.mark.parametrize(
        "words",
        [
            ["", " ", "a b", "  two  "],
            ["'", '"', "\\", "`id`", "$HOME", "$(id)", "'; exit 7; '"],
            ["*", "~", "-n", "--", "!", "#no", "&", "|", ">x", "a\nb", "\t"],
            ["größe", "日本"],
        ],
    )
    async def test_no_word_of_argv_is_interpreted(self, bench: Bench, words: list[str]) -> None:
        """Whatever a word holds, the command gets exactly it."""
        done = await bench.connection.run(["printf", "%s\\0", *words])
        assert [*words, ""] == done.stdout.decode().split("\0")

    async def test_a_command_that_does_not_end_is_given_up(self, bench: Bench) -> None:
        """After the timeout the error names the command, and the connection goes on."""
        with pytest.raises(MachineError, match=r"`sleep 60` has not ended after 1\.5 s"):
            await bench.connection.run(["sleep", "60"], timeout=1.5)
        assert 0 == (await bench.connection.run(["true"])).status

    async def test_a_channel_carries_a_conversation(self, bench: Bench) -> None:
        """Lines go to and fro while the command runs; it ends after our end."""
        channel = await bench.connection.open_command(["cat"])
        for line in (b"one\n", b"two\n"):
            await channel.write(line)
            assert line == await channel.readline()
        await channel.write(b"three\nrest")
        await channel.write_eof()
        assert b"three\n" == await channel.readline()
        assert b"rest" == await channel.readline()
        assert b"" == await channel.readline()
        assert b"" == await channel.read()
        await channel.close()

    async def test_reads_keep_to_their_limit(self, bench: Bench) -> None:
        """A read gives at least one byte and at most what was asked for."""
        channel = await bench.connection.open_command(["cat"])
        await send(channel, b"x" * 1000)
        sizes = []
        while data := await channel.read(64):
            sizes.append(len(data))
        assert 1000 == sum(sizes)
        assert 64 >= max(sizes)
        await channel.close()

    async def test_a_line_may_be_longer_than_every_buffer(self, bench: Bench) -> None:
        """Five megabytes without a newline are one line."""
        channel = await bench.connection.open_command(["cat"])
        line = b"x" * 5 * MEGABYTE + b"\n"
        _, got = await asyncio.gather(send(channel, line + b"next\n"), channel.readline())
        assert line == got
        assert b"next\n" == await channel.readline()
        await channel.close()

    async def test_ten_megabytes_stream_both_ways_at_once(self, bench: Bench) -> None:
        """A channel streams in both directions at the same time."""
        channel = await bench.connection.open_command(["cat"])
        data = bytes(range(251)) * (10 * MEGABYTE // 251)
        _, got = await asyncio.gather(send(channel, data), read_to_end(channel))
        assert data == got
        await channel.close()

    async def test_a_writer_waits_for_its_reader(self, bench: Bench) -> None:
        """What nobody reads does not pile up: writing waits."""
        channel = await bench.connection.open_command(["cat"])
        writing = asyncio.create_task(channel.write(b"x" * 60 * MEGABYTE))
        done, _ = await asyncio.wait([writing], timeout=0.5)
        assert not done
        writing.cancel()
        await channel.close()

    async def test_the_end_of_a_failed_command_is_an_error(self, bench: Bench) -> None:
        """Output comes first, then the failure with its stderr instead of a clean end."""
        script = "printf 'last words'; echo why >&2; exit 9"
        channel = await bench.connection.open_command(["sh", "-c", script])
        assert b"last words" == await channel.read()
        with pytest.raises(CommandFailed, match="why") as caught:
            await channel.read()
        assert 9 == caught.value.status
        await channel.close()

    async def test_writing_to_a_command_that_ended_is_an_error(self, bench: Bench) -> None:
        """Bytes never vanish in silence."""
        channel = await bench.connection.open_command(["true"])
        assert b"" == await channel.read()

        async def write_on() -> None:
            while True:
                await channel.write(b"x" * 100_000)

        with pytest.raises(ConnectionLost, match="closed the channel"):
            await write_on()
        await channel.close()

    async def test_a_socket_carries_both_ends_of_stream(self, bench: Bench) -> None:
        """Our end of stream reaches the server, what it says after that reaches us."""
        channel = await bench.connection.open_socket(bench.echo)
        await channel.write(b"hello")
        assert b"hello" == await channel.read()
        await channel.write_eof()
        assert b"end" == await channel.read()
        assert b"" == await channel.read()
        await channel.close()

    async def test_a_socket_streams_both_ways_at_once(self, bench: Bench) -> None:
        """Ten megabytes there and back."""
        channel = await bench.connection.open_socket(bench.echo)
        data = bytes(range(251)) * (10 * MEGABYTE // 251)
        _, got = await asyncio.gather(send(channel, data), read_to_end(channel))
        assert data + b"end" == got
        await channel.close()

    async def test_a_missing_socket_is_said_so(self, bench: Bench) -> None:
        """Nobody listens: an error with the path; the connection goes on."""
        with pytest.raises(MachineError, match=r"nobody listens at /nowhere\.sock"):
            await bench.connection.open_socket("/nowhere.sock")
        assert 0 == (await bench.connection.run(["true"])).status

    async def test_twelve_commands_run_at_once(self, bench: Bench) -> None:
        """More than OpenSSH's ten sessions: the rest wait for their turn."""
        numbers = [str(i) for i in range(12)]
        done = await asyncio.gather(
            *(bench.connection.run(["cat"], number.encode()) for number in numbers)
        )
        assert numbers == [one.stdout.decode() for one in done]

    async def test_closing_twice_is_closing_once(self, bench: Bench) -> None:
        """Channels and connections are closed as often as one likes."""
        channel = await bench.connection.open_command(["cat"])
        await channel.close()
        await channel.close()
        with pytest.raises(ConnectionLost):
            await channel.write(b"x")
        with pytest.raises(ConnectionLost):
            await channel.read()
        assert 0 == (await bench.connection.run(["true"])).status
        await bench.connection.close()
        await bench.connection.close()
        await channel.close()

    async def test_closed_returns_when_closed_and_not_before(self, bench: Bench) -> None:
        """Waiting for the end of a connection ends with it."""
        waiting = asyncio.create_task(bench.connection.closed())
        await bench.connection.run(["true"])
        assert not waiting.done()
        await bench.connection.close()
        await soon(waiting)

    async def test_a_closed_connection_does_nothing(self, bench: Bench) -> None:
        """Every operation says that the connection is lost; open channels end with it."""
        channel = await bench.connection.open_command(["cat"])
        socket = await bench.connection.open_socket(bench.echo)
        pending = [
            asyncio.create_task(channel.read()),
            asyncio.create_task(socket.readline()),
            asyncio.create_task(bench.connection.run(["sleep", "60"])),
        ]
        await asyncio.sleep(0.1)
        await bench.connection.close()
        for task in pending:
            with pytest.raises(ConnectionLost):
                await soon(task)
        await raises_lost(bench.connection, bench.echo, channel)


class CutSuite:
    """For kinds whose link can be cut: inherit this as well, with a fixture `cut`."""

    async def test_a_cut_link_is_noticed_by_all(self, bench: Bench, cut: asyncio.Event) -> None:
        """Whatever waits, and whatever comes later, hears that the connection is lost, soon."""
        channel = await bench.connection.open_command(["cat"])
        socket = await bench.connection.open_socket(bench.echo)
        pending = [
            asyncio.create_task(channel.read()),
            asyncio.create_task(socket.readline()),
            asyncio.create_task(bench.connection.run(["sleep", "60"])),
        ]
        closed = asyncio.create_task(bench.connection.closed())
        await asyncio.sleep(0.1)
        assert not closed.done()
        cut.set()
        started = asyncio.create_task(bench.connection.run(["true"]))  # nobody knows yet
        for task in [*pending, started]:
            with pytest.raises(ConnectionLost):
                await soon(task)
        await soon(closed)
        await raises_lost(bench.connection, bench.echo, channel)
        await bench.connection.close()

    async def test_a_push_over_a_cut_link_ends(self, bench: Bench, cut: asyncio.Event) -> None:
        """Bulk data under way does not hide that the link is dead."""
        channel = await bench.connection.open_command(["cat"])

        async def push() -> None:
            while True:
                await channel.write(b"x" * MEGABYTE)

        pushing = asyncio.create_task(push())
        await channel.read()
        cut.set()
        with pytest.raises(ConnectionLost):
            await soon(pushing)


async def raises_lost(connection: Connection, echo: str, channel: Channel) -> None:
    with pytest.raises(ConnectionLost):
        await connection.run(["true"])
    with pytest.raises(ConnectionLost):
        await connection.open_command(["cat"])
    with pytest.raises(ConnectionLost):
        await connection.open_socket(echo)
    with pytest.raises(ConnectionLost):
        await channel.write(b"x")
    with pytest.raises(ConnectionLost):
        await channel.read()
