"""Builds operators as their users do: with a plain C compiler, for tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def include_folder() -> str:
    """As the program that is there for it tells."""
    command = [sys.executable, "-m", "dora.runtime.include"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def cc(*arguments: str | Path) -> None:
    """Fails with what the compiler said, also when it only warns."""
    command = ["cc", "-Wall", "-Wextra", "-Werror", f"-I{include_folder()}", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == result.returncode, result.stderr


def shared_library(source: Path, target: Path) -> Path:
    cc("-shared", "-fPIC", "-O1", source, "-o", target)
    return target
