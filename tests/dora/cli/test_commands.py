"""The commands as a whole: each can be loaded, and ends as it should."""

from __future__ import annotations

import subprocess
import sys

from dora.cli.commands import COMMANDS

PROGRAM = """
import sys
from dora.cli.commands import main
for name in sys.argv[1:]:
    main([name, "--help"], prog_name="dora", standalone_mode=False)
"""


def test_every_command_loads_beside_all_others() -> None:
    """None of their modules hides a name that the next one needs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *COMMANDS], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert len(COMMANDS) == done.stdout.count("Usage: dora ")
