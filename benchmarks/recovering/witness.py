"""Writes down when the first message of each process of the sender came, and other events."""

import json
import os
import time

from dora import Node

last = None
with open(os.environ["BENCH_NOTES"], "a", buffering=1) as notes:
    for event in Node():
        now = time.monotonic_ns()
        if event["type"] != "INPUT":
            notes.write(json.dumps({"at": now, "type": event["type"]}) + "\n")
            continue
        sender = event["metadata"]
        if sender["pid"] != last:
            last = sender["pid"]
            row = {"at": now, "type": "FIRST", "pid": last, "born": sender["born"]}
            notes.write(json.dumps(row) + "\n")
