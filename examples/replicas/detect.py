"""Takes its time for each frame, as a model would."""

import os
import time

from dora import Node

SECONDS = float(os.environ.get("SECONDS_PER_FRAME", "0.02"))


def main() -> None:
    node = Node()
    for event in node:
        if event["type"] == "INPUT":
            time.sleep(SECONDS)
            node.send_output("boxes", b"", event["metadata"])
        elif event["type"] == "STOP":
            break  # whatever was given to this replica is done by now


if __name__ == "__main__":
    main()
