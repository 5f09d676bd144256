# /// script
# dependencies = ["numpy"]
# ///
"""Sends this machine's load, memory in use and CPU use, at every tick."""

import os
import socket

import numpy as np

from dora import Node


def cpu_times() -> tuple[int, int]:
    """Busy and total jiffies since boot, of all cores (proc(5), /proc/stat)."""
    with open("/proc/stat") as file:
        times = [int(field) for field in file.readline().split()[1:9]]
    idle = times[3] + times[4]
    return sum(times) - idle, sum(times)


def memory_used() -> float:
    """Fraction of memory that is not available (proc(5), /proc/meminfo)."""
    with open("/proc/meminfo") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return 1 - sizes["MemAvailable"] / sizes["MemTotal"]


def main() -> None:
    node = Node()
    busy_before, total_before = cpu_times()
    for event in node:
        if event["type"] != "INPUT":
            continue
        busy, total = cpu_times()
        cpu = (busy - busy_before) / max(total - total_before, 1)
        busy_before, total_before = busy, total
        vitals = np.array([os.getloadavg()[0], memory_used(), cpu])
        node.send_output("vitals", vitals, {"host": socket.gethostname(), "pid": os.getpid()})


if __name__ == "__main__":
    main()
