# /// script
# dependencies = ["numpy"]
# ///
"""Keeps the newest vitals of each machine and sends them together, once a second."""

import numpy as np

from dora import Node


def main() -> None:
    node = Node()
    newest: dict[str, list[float]] = {}
    for event in node:
        if event["type"] != "INPUT":
            continue
        if event["id"] == "second":
            if newest:
                names = sorted(newest)
                table = np.array([newest[name] for name in names]).ravel()
                node.send_output("fleet", table, {"machines": names})
        else:
            newest[event["id"]] = event["value"].to_pylist()


if __name__ == "__main__":
    main()
