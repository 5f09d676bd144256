"""Sends a numbered frame of one of several tracks with every tick."""

import os

from dora import Node

TRACKS = 8
LIMIT = int(os.environ.get("FRAMES", "0"))  # 0: for ever


def main() -> None:
    node = Node()
    number = 0
    for event in node:
        if event["type"] == "INPUT":
            node.send_output("frames", b"", {"track": number % TRACKS, "number": number // TRACKS})
            number += 1
            if number == LIMIT:
                break
        elif event["type"] == "STOP":
            break


if __name__ == "__main__":
    main()
