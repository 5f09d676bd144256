"""The begin of a chain: keeps $BENCH_WINDOW messages of $BENCH_SIZE bytes under way.

The end asks for more. When nothing was asked for between two ticks, messages were lost (or none was
ever sent): then as many are sent again.
"""

import os

import pyarrow as pa

from dora import DoraStatus

WINDOW = int(os.environ["BENCH_WINDOW"])


class Operator:
    def __init__(self):
        self.value = pa.array(bytes(int(os.environ["BENCH_SIZE"])), pa.uint8())
        self.asked = False

    def on_event(self, dora_event, send_output):
        count = 0
        if dora_event["type"] == "INPUT":
            if dora_event["id"] == "more":
                self.asked = True
                count = WINDOW // 2
            else:
                count = 0 if self.asked else WINDOW
                self.asked = False
        for _ in range(count):
            send_output("out", self.value)
        return DoraStatus.CONTINUE
