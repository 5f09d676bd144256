"""A soak: kills a runtime under load again and again, and compares what it kept with what it said.

    python -m tests.dora.runtime.killing [--seconds 60] [--seed N]

Twenty operators save as quickly as they can. Whatever an operator has said to be saved before a
kill -9 must be what it gets back, or what it was just about to say.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

OPERATORS = 20
OPERATOR = """
import os
import pyarrow as pa
from dora import DoraStatus

class Operator:
    name = count = None

    def restore_state(self, state):
        self.count, self.name = int(state["count"]), state["name"].decode()
        print(f"restored {self.name} {self.count} {os.getpid()}", flush=True)

    def on_event(self, event, send_output):
        if event["type"] == "INPUT":
            if self.name is None:
                self.count, self.name = 0, event["id"]
                self.save_state("name", self.name.encode())
            self.count += 1
            self.save_state("count", str(self.count).encode())
            print(f"saved {self.name} {self.count} {os.getpid()}", flush=True)
            send_output("count", pa.array([self.count]))
        return DoraStatus.CONTINUE
"""
SINK = "from dora import Node\nfor event in Node():\n    pass\n"
LINE = re.compile(r"(saved|restored) (t\d+) (\d+) (\d+)")


def flow() -> str:
    names = [f"t{number}" for number in range(OPERATORS)]
    operators = "".join(
        f"      - {{id: {name}, python: op.py, outputs: [count], "
        f"inputs: {{{name}: dora/timer/millis/2}}}}\n"
        for name in names
    )
    inputs = "".join(f"      {name}: runtime/{name}/count\n" for name in names)
    return (
        "nodes:\n  - id: runtime\n    restart_policy: always\n    operators:\n"
        + operators
        + "  - id: sink\n    path: sink.py\n    inputs:\n"
        + inputs
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    print(f"seed {chosen.seed}")
    with tempfile.TemporaryDirectory(prefix="dora-killing-") as folder:
        Path(folder, "flow.yml").write_text(flow())
        Path(folder, "op.py").write_text(OPERATOR)
        Path(folder, "sink.py").write_text(SINK)
        running = subprocess.Popen(
            [sys.executable, "-m", "dora.cli", "run", f"{folder}/flow.yml"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            return _watch(running, dice, chosen.seconds)
        finally:
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=60)


def _watch(running: subprocess.Popen[str], dice: random.Random, seconds: float) -> int:
    said: dict[str, int] = {}
    killed: set[int] = set()
    kills = restored = 0
    faults: list[str] = []
    current = 0
    end = time.monotonic() + seconds
    lock = threading.Lock()

    def kill() -> None:
        nonlocal kills
        while time.monotonic() < end:
            time.sleep(dice.uniform(0.2, 1.5))
            with lock:
                pid = current
            if pid and pid not in killed:
                killed.add(pid)
                kills += 1
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert running.stdout is not None
    for line in running.stdout:
        if (found := LINE.search(line)) is None:
            continue
        what, name, count, pid = found[1], found[2], int(found[3]), int(found[4])
        with lock:
            current = pid
        before = said.get(name, 0)
        if what == "restored":
            restored += 1
            if count not in (before, before + 1):
                faults.append(f"{name} said {before} and got {count} back")
        elif count != before + 1:
            faults.append(f"{name} said {count} after {before}")
        said[name] = count
        if time.monotonic() > end and restored:
            break
    killer.join()
    print(f"{kills} kills, {restored} states given back, {sum(said.values())} saves")
    for fault in faults[:20]:
        print(fault)
    return int(bool(faults) or not kills or not restored)


if __name__ == "__main__":
    sys.exit(main())
