"""Sends the same bytes on `routed` and `direct` in turn: $BENCH_SIZES, $BENCH_COUNT of each."""

import json
import os
import time

import numpy as np

from dora import Node

node = Node()
time.sleep(1.0)  # links settle
for _ in range(20):  # so is everybody's first message
    for output in ("routed", "direct"):
        node.send_output(output, np.zeros(8, np.uint8), {"size": 0, "sent": time.monotonic_ns()})
        time.sleep(0.02)
for size in json.loads(os.environ["BENCH_SIZES"]):
    data = np.zeros(size, np.uint8)
    pause = max(0.005, size / 50e6)  # s: one message is there before the next is sent
    for _ in range(int(os.environ["BENCH_COUNT"])):
        for output in ("routed", "direct"):
            node.send_output(output, data, {"size": size, "sent": time.monotonic_ns()})
            time.sleep(pause)
