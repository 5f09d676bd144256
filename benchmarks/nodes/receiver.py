"""The receiver of both libraries, and the one that answers: the same program under either.

Arguments: its board. Runs in dora-rs's environment; whose `dora` it imports is decided by the path.
"""

import sys
import time

import numpy  # noqa: F401  # so that no first message pays for it
import pyarrow  # noqa: F401
from board import Board, tag_of

from dora import Node

LATER = 0.002  # s; so that looking into a message delays no other reader's, on as few cores
clock = time.perf_counter_ns

board = Board(sys.argv[1])
node = Node()
board.enter()
for event in node:
    if event["type"] != "INPUT":
        continue
    name = event["id"]
    if name == "ask":
        node.send_output("answer", event["value"])
        continue
    if name.startswith(("lazy", "steady")):
        now = clock()  # the message is here; its value is decoded when somebody looks
        if name.startswith("lazy"):
            time.sleep(LATER)
        value = event["value"]
    else:
        value = event["value"]
        now = clock()
    board.note(tag_of(value), now)
