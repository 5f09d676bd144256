"""Fails when a file that runs on robots needs a newer Python than robots have.

The supervisor and all it pulls in: Python 3.8. What nodes import: Python 3.10. Which files these
are is read from the import-rule test's table, so that the two cannot disagree.
"""

from __future__ import annotations

import subprocess
import sys

from tests.test_architecture import NODE_SIDE, ROBOT_SIDE, ROOT, files_of


def main() -> int:
    status = 0
    for version, modules in (("3.8-", ROBOT_SIDE), ("3.10-", NODE_SIDE)):
        files = [str(path) for path in files_of(modules)]
        command = ["vermin", f"-t={version}", "--no-tips", "--violations", "--eval-annotations"]
        # Annotations are not evaluated: `from __future__ import annotations` is in every file.
        command.remove("--eval-annotations")
        result = subprocess.run([*command, *files], cwd=ROOT, check=False)
        status = status or result.returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
