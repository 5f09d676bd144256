"""Works for some time on every tick, and counts the ticks that it answered too late.

$BENCH_LOAD: JSON, name of an input -> [work in seconds, deadline in seconds]. Every operator has
one input of its own name.
"""

import json
import os
import time

from dora import DoraStatus

LOAD = json.loads(os.environ["BENCH_LOAD"])
NOTES = open(os.environ["BENCH_NOTES"], "a")  # noqa: SIM115  # until the process ends


class Operator:
    def __init__(self):
        self.calls = 0
        self.late = 0

    def on_event(self, dora_event, send_output):
        if dora_event["type"] != "INPUT":
            return DoraStatus.CONTINUE
        name = dora_event["id"]
        work, deadline = LOAD[name]
        end = time.thread_time() + work
        while time.thread_time() < end:
            pass
        age = time.time() - dora_event["metadata"]["timestamp"].timestamp()
        self.calls += 1
        self.late += age > deadline
        NOTES.write(f"{name} {self.calls} {self.late}\n")
        NOTES.flush()
        return DoraStatus.CONTINUE
