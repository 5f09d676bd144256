"""A running mean. What it has reached survives the operator, its process and the machine."""

import struct

import pyarrow as pa

from dora import DoraStatus

WEIGHT = 0.2  # of the newest value


class Operator:
    def __init__(self):
        self.mean = None

    def restore_state(self, state):
        (self.mean,) = struct.unpack("<d", state["mean"])

    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            value = dora_event["value"][0].as_py()
            self.mean = value if self.mean is None else self.mean + WEIGHT * (value - self.mean)
            self.save_state("mean", struct.pack("<d", self.mean))
            send_output("mean", pa.array([self.mean]))
        return DoraStatus.CONTINUE
