"""The sender: one process that holds both libraries and alternates between them.

So whatever else the machine does hits all of them alike. dora-rs starts it; our configuration is
in $BENCH_CONFIG. Obeys the stage (see `benchmarks.stage`) through the socket $BENCH_SOCKET.
"""

import importlib
import itertools
import mmap
import os
import struct
import sys
import time
from multiprocessing.connection import Client

import numpy as np
import pyarrow as pa
from board import Board, tag

import dora as peer

clock = time.perf_counter_ns
WORD = struct.Struct("<q")
PATIENCE = 2.0  # s until a message counts as lost
FEW = 3
LARGE = 4_000_000  # bytes; from here on a queue holds only a few messages
QUIET = 0.5  # s without a message until a flood counts as over

PEER = ("dora-rs", "dora-rs in place")
LAZY = ("numpy", "in place")
FLOORS = ("floor", "floor in place")
FANS = {"one": 1, "four": 4}


def both_nodes():
    """dora-rs's node and ours: two libraries of one name."""
    theirs = peer.Node()
    for name in [name for name in sys.modules if name.split(".")[0] == "dora"]:
        del sys.modules[name]
    sys.path.insert(0, os.environ["BENCH_ROOT"])
    os.environ["DORA_NODE_CONFIG"] = os.environ["BENCH_CONFIG"]
    ours = importlib.import_module("dora").Node()
    return theirs, ours


class Sender:
    def __init__(self):
        self.theirs, self.ours = both_nodes()
        self.boards = {
            "dora-rs": [Board(path) for path in os.environ["BENCH_THEIR_BOARDS"].split(":")],
            "ours": [Board(path) for path in os.environ["BENCH_OUR_BOARDS"].split(":")],
            "floor": [Board(path) for path in os.environ["BENCH_FLOOR_BOARDS"].split(":") if path],
        }
        *there, back = os.environ["BENCH_PIPES"].split(":")
        self.pipes = [os.open(pipe, os.O_WRONLY) for pipe in there]
        self.answers = os.open(back, os.O_RDONLY) if back else -1
        self.series = 0
        self.resize(8)

    def resize(self, size):
        self.size = size
        self.source = np.ones(size, np.uint8)
        self.head = self.source[:8].view(np.int64)
        self.place = np.frombuffer(mmap.mmap(-1, size), np.uint8)
        self.place[:] = 1

    def send(self, way, use, fan, number):
        """Sends one message; the time at which it began."""
        self.head[0] = tag(self.series, number)
        if way == "numpy":
            begin = clock()
            self.ours.send_output(f"{use}_{fan}", self.source)
        elif way == "arrow":
            begin = clock()
            self.ours.send_output(f"{use}_{fan}", pa.array(self.source))
        elif way == "dora-rs":
            begin = clock()
            self.theirs.send_output(f"{use}_{fan}", pa.array(self.source))
        elif way == "floor":
            begin = clock()
            np.copyto(self.place, self.source)
            word = WORD.pack(int(self.head[0]))
            for pipe in self.pipes[: FANS[fan]]:
                os.write(pipe, word)
        elif way == "floor in place":
            begin = clock()
            word = WORD.pack(int(self.head[0]))
            for pipe in self.pipes[: FANS[fan]]:
                os.write(pipe, word)
        elif way == "in place":
            begin = clock()
            sample = self.ours.allocate_output(f"{use}_{fan}", shape=self.size)
            array = sample.array
            spent = clock() - begin
            array[:] = self.source  # the program's own work: it would fill something anyway
            begin = clock() - spent
            sample.send()
        else:
            begin = clock()
            sample = self.theirs.send_output_raw(f"{use}_{fan}", self.size)
            view = sample.as_memoryview()
            spent = clock() - begin
            np.copyto(np.frombuffer(view, np.uint8), self.source)
            view.release()
            begin = clock() - spent
            sample.send()
        return begin

    def readers(self, way, fan):
        owner = "floor" if way in FLOORS else "dora-rs" if way in PEER else "ours"
        return self.boards[owner][: FANS[fan]]

    def latency(self, size, fan, pace, rounds, ways, seconds):
        """Nanoseconds from each send to each reader, None for what was lost: one list of readers
        for each round and way. Between two messages are `pace` seconds, or as much as it takes.
        After `seconds` there are no more rounds than a few."""
        self.resize(size)
        found = {way: [] for way in ways}
        end = time.perf_counter() + seconds
        for number in range(rounds):
            if number >= FEW and time.perf_counter() > end:
                break
            shift = number % len(ways)
            for way in (*ways[shift:], *ways[:shift]):
                found[way].append(self.one(way, fan, pace))
        return found

    def one(self, way, fan, pace):
        """Sends one message and waits for it: nanoseconds to each reader, or None."""
        boards = self.readers(way, fan)
        before = [board.count for board in boards]
        self.series += 1
        time.sleep(pace)
        begin = self.send(way, "lazy" if way in LAZY else "eager", fan, 0)
        deadline = time.perf_counter() + PATIENCE
        while True:
            time.sleep(pace)
            tag = int(self.head[0])
            times = [board.find(tag, count) for board, count in zip(boards, before, strict=True)]
            if None not in times or time.perf_counter() > deadline:
                return [None if time is None else time - begin for time in times]

    def round_trip(self, size, bursts, each, ways, seconds):
        """Nanoseconds from a question to its answer, back to back: lists by way and burst."""
        self.resize(size)
        found = {way: [] for way in ways}
        end = time.perf_counter() + seconds
        for number in range(bursts):
            if number >= FEW and time.perf_counter() > end:
                break
            shift = number % len(ways)
            for way in (*ways[shift:], *ways[:shift]):
                time.sleep(0.02)
                found[way].append([self.ask(way) for _ in range(each)])
        return found

    def ask(self, way):
        if way == "floor":
            begin = clock()
            np.copyto(self.place, self.source)
            os.write(self.pipes[0], WORD.pack(-self.size))
            os.read(self.answers, WORD.size)
            return clock() - begin
        node = self.theirs if way == "dora-rs" else self.ours
        begin = clock()
        node.send_output("ask", self.source if way == "numpy" else pa.array(self.source))
        deadline = time.perf_counter() + PATIENCE
        while (left := deadline - time.perf_counter()) > 0:
            event = node.next(timeout=left)
            if event["type"] == "INPUT" and event["id"] == "answer":
                if way != "numpy":
                    event["value"]
                return clock() - begin
        return None

    def flood(self, size, fan, way, seconds):
        """As many messages as go out in `seconds`: for each reader how many came, in how many
        nanoseconds, and how many of them too late."""
        if self.size != size:
            self.resize(size)
        self.series += 1
        use = "flood" if size < LARGE else "bulk"
        boards = self.readers(way, fan)
        before = [board.count for board in boards]
        send, number, end = self.send, 0, clock() + int(seconds * 1e9)
        while clock() < end:
            send(way, use, fan, number)
            number += 1
        self.drain(boards, before, number)
        return {
            "sent": number,
            "readers": [self.arrived(*it) for it in zip(boards, before, strict=True)],
        }

    def arrived(self, board, before):
        """What a reader got of the current series."""
        came = [(tag, now) for tag, now in board.since(before) if tag >> 32 == self.series]
        late = sum(after < tag for (tag, _), (after, _) in itertools.pairwise(came))
        span = came[-1][1] - came[0][1] if came else 0
        return {"count": len(came), "span": span, "disorder": late}

    def steady(self, size, way, hz, seconds):
        """Messages at a steady rate; how many were sent."""
        if self.size != size:
            self.resize(size)
        self.series += 1
        use = "steady" if way in LAZY else "eager"
        boards = self.readers(way, "one")
        before = [board.count for board in boards]
        begin = time.perf_counter()
        count = int(hz * seconds)
        for number in range(count):
            wait = begin + number / hz - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            self.send(way, use, "one", number)
        self.drain(boards, before, count)
        return count

    def drain(self, boards, before, sent):
        """Until all has arrived, or nothing comes any more."""
        last, quiet = -1, time.perf_counter()
        while True:
            now = sum(board.count - count for board, count in zip(boards, before, strict=True))
            if now >= sent * len(boards):
                return
            if now != last:
                last, quiet = now, time.perf_counter()
            elif time.perf_counter() - quiet > QUIET:
                return
            time.sleep(0.01)


def main():
    with Client(os.environ["BENCH_SOCKET"]) as stage:
        sender = Sender()
        stage.send(os.getpid())
        while (job := stage.recv()) is not None:
            name, arguments = job
            stage.send(getattr(sender, name)(**arguments))


main()
