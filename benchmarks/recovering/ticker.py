"""Sends who it is, and when its program began, every two milliseconds, until it is killed."""

import os
import time

born = time.monotonic_ns()

from dora import Node  # noqa: E402

node = Node()
while True:
    node.send_output("tick", b"x", {"pid": os.getpid(), "born": born})
    time.sleep(0.002)
