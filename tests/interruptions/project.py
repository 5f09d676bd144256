"""What the user of the interruption test deploys: a flow whose every version moves new bytes.

`count` on the one robot feeds `print` on the other; both are new in every version, beside files of
random size and number. `steady-*` are the same in all: they must never lose their process.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.scenarios.fleet import write_flow

# The disk that is full is the log's, too: what cannot be said must not end the node.
SAY = """
import os
def say(text):
    try:
        os.write(1, text.encode() + b"\\n")
    except OSError:
        pass
"""
COUNT = """
from dora import Node
node = Node()
count = 0
for event in node:
    if event["type"] == "INPUT":
        count += 1
        node.send_output("count", bytes([count % 256]), {"version": "VERSION"})
"""
PRINT = """
from dora import Node
for event in Node():
    if event["type"] == "INPUT":
        say("VERSION got " + event["metadata"]["version"])
"""
STEADY = """
from dora import Node
for event in Node():
    pass
"""
BROKEN = "raise SystemExit('broken')\n"
FLOW = """\
nodes:
  - id: count
    path: count.py
    files: [count-files/*]
    inputs: {{tick: dora/timer/millis/50}}
    outputs: [count]
    deploy: {{machine: {0}}}
  - id: print
    path: print.py
    files: [print-files/*]
    inputs: {{count: count/count}}
    deploy: {{machine: {1}}}
  - id: steady-{0}
    path: steady.py
    inputs: {{tick: dora/timer/millis/500}}
    deploy: {{machine: {0}}}
  - id: steady-{1}
    path: steady.py
    inputs: {{tick: dora/timer/millis/500}}
    deploy: {{machine: {1}}}
"""


class Project:
    """A folder with a flow file; `change` makes it the next version."""

    name = "soak"

    def __init__(self, folder: Path, robots: Sequence[str], chance: random.Random) -> None:
        self._folder = folder / self.name
        self._robots = robots
        self._chance = chance
        self.number = 0

    @property
    def version(self) -> str:
        return f"v{self.number}"

    def change(self, *, broken: bool = False) -> Path:
        """The flow file of the next version; when `broken`, one of its nodes ends at once."""
        self.number += 1
        victim = self._chance.choice(("count", "print")) if broken else None
        scripts = {
            f"{name}.py": BROKEN if name == victim else SAY + text.replace("VERSION", self.version)
            for name, text in (("count", COUNT), ("print", PRINT))
        }
        flow = write_flow(
            self._folder, {**scripts, "steady.py": STEADY}, FLOW.format(*self._robots)
        )
        for node in ("count", "print"):
            self._write_files(self._folder / f"{node}-files")
        return flow

    def _write_files(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for number in range(self._chance.choice((1, 20, 200))):
            (folder / f"small-{number}").write_bytes(self._chance.randbytes(300))
        size = self._chance.choice((1_000, 2_000_000, 20_000_000))
        (folder / "large").write_bytes(self._chance.randbytes(size))
