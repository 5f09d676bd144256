"""What an input is named is what this operator does. The same as probe.c and probe.wat."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    CONTINUE = 0
    STOP = 1
    STOP_ALL = 2
    NONSENSE = 7


class Operator:
    def __init__(self):
        self.count = 0

    def __del__(self):
        self.kvs_write("dropped", b"yes")

    def restore_state(self, state):
        self.count = state["count"][0]

    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT_CLOSED":
            send_output("closed", dora_event["id"].encode())
        if dora_event["type"] == "STOP":
            send_output("out", b"stop")
        if dora_event["type"] != "INPUT":
            return Status.CONTINUE
        if dora_event["id"] == "echo":
            send_output("out", dora_event["value"])
        elif dora_event["id"] == "twice":
            send_output("out", b"1")
            send_output("other", b"2")
        elif dora_event["id"] == "count":
            self.count += 1
            send_output("out", bytes([self.count]))
        elif dora_event["id"] == "fail":
            raise RuntimeError("no such luck")
        elif dora_event["id"] == "save":
            self.save_state("count", bytes([self.count]))
        elif dora_event["id"] == "write":
            self.kvs_write("shared", dora_event["value"].to_numpy().tobytes())
        elif dora_event["id"] == "read":
            send_output("out", self.kvs_read("shared") or b"nothing")
        elif dora_event["id"] == "stop":
            return Status.STOP
        elif dora_event["id"] == "stop_all":
            return Status.STOP_ALL
        elif dora_event["id"] == "nonsense":
            return Status.NONSENSE
        return Status.CONTINUE
