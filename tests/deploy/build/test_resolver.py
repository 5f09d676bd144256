"""uv: found, whoever else asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In a process of its own: only whoever is the first to ask can meet others.
PROGRAM = """
import sys, threading
import uv
from deploy.build.resolver import find_uv
sys.setswitchinterval(1e-6)
found, together = [], threading.Barrier(8)
def look():
    together.wait()
    found.append(find_uv())
threads = [threading.Thread(target=look) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len(set(found)))
"""


def test_uv_is_found_by_many_threads_at_once() -> None:
    """As when the environments of several machines are asked for together."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "8 1\n" == done.stdout, done.stderr
