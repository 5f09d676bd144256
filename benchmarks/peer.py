"""dora-rs in an environment of its own, which also has what our library needs beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

VERSION = "1.1.0"
REQUIREMENTS = (
    f"dora-rs=={VERSION}",
    f"dora-rs-cli=={VERSION}",
    "numpy>=1.26",
    "pyarrow>=15",
    "eclipse-zenoh>=1.10",
)


@dataclass(frozen=True)
class Peer:
    python: Path
    cli: Path


def install() -> Peer:
    """Makes the environment once, in the cache folder. Raises RuntimeError with uv's words."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = f"dora-rs-{VERSION}-python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = cache / "dora-benchmarks" / name
    peer = Peer(folder / "bin" / "python", folder / "bin" / "dora")
    complete = folder / "complete"
    if complete.exists():
        return peer
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--quiet", "--python", str(peer.python), *REQUIREMENTS)
    complete.touch()
    return peer


def _uv(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)} failed:\n{result.stderr.strip()}")
