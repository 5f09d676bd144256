"""The end of a chain: counts, asks for more, and writes down every tick how many came."""

import os
import time

import pyarrow as pa

from dora import DoraStatus

HALF = int(os.environ["BENCH_WINDOW"]) // 2


class Operator:
    def __init__(self):
        self.count = 0
        self.nothing = pa.array([0], pa.uint8())
        self.notes = open(os.environ["BENCH_NOTES"], "a")  # noqa: SIM115  # until the end

    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            if dora_event["id"] == "tick":
                self.notes.write(f"{time.monotonic_ns()} {self.count}\n")
                self.notes.flush()
            else:
                self.count += 1
                if self.count % HALF == 0:
                    send_output("more", self.nothing)
        return DoraStatus.CONTINUE
