# /// script
# dependencies = ["numpy", "matplotlib"]
# ///
"""Prints the fleet's vitals, a line for each second, and keeps a plot of the last minutes.

The plot is `plot.png` in the node's working directory, which it prints when it starts.
"""

import os
from collections import defaultdict, deque

import matplotlib

from dora import Node

matplotlib.use("Agg")
from matplotlib import pyplot

HISTORY = 300  # seconds


def draw(history: dict[str, deque[float]], file: str) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    for name, values in sorted(history.items()):
        axes.plot(range(-len(values) + 1, 1), [100 * value for value in values], label=name)
    axes.set(xlabel="seconds", ylabel="CPU in use, %", ylim=(0, 100))
    axes.legend(loc="best", ncols=2)
    figure.savefig(file + ".part", format="png")
    pyplot.close(figure)
    os.replace(file + ".part", file)  # who looks at it never sees half a picture


def main() -> None:
    node = Node()
    print(f"plot: {os.path.abspath('plot.png')}")
    history: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=HISTORY))
    count = 0
    for event in node:
        if event["type"] != "INPUT":
            continue
        names = event["metadata"]["machines"]
        rows = event["value"].to_numpy().reshape(len(names), 3)
        parts = []
        for name, (load, memory, cpu) in zip(names, rows, strict=True):
            history[name].append(float(cpu))
            parts.append(f"{name}: load {load:.2f}  memory {memory:4.0%}  cpu {cpu:4.0%}")
        print("   ".join(parts))
        if count % 5 == 0:
            draw(history, "plot.png")
        count += 1


if __name__ == "__main__":
    main()
