"""Reads from /proc how busy the machine is, whenever its timer ticks."""

from pathlib import Path

import pyarrow as pa

from dora import DoraStatus


class Operator:
    def __init__(self):
        self.before = cpu_times()

    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            now = cpu_times()
            busy, idle = (new - old for new, old in zip(now, self.before, strict=True))
            self.before = now
            send_output("cpu", pa.array([100 * busy / max(busy + idle, 1)]))
            send_output("memory", pa.array([memory_in_use()]))
        return DoraStatus.CONTINUE


def cpu_times():
    """Busy and idle ticks since the machine started."""
    user, nice, system, idle, wait, *rest = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return user + nice + system + sum(rest[:3]), idle + wait


def memory_in_use():
    """Percent."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    size = {words[0]: int(words[1]) for words in lines}
    return 100 * (1 - size["MemAvailable:"] / size["MemTotal:"])
