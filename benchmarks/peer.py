"""dora-rs in an environment of its own, which also has what our library needs beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import environment

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
    folder = environment(f"dora-rs-{VERSION}", REQUIREMENTS)
    return Peer(folder / "bin" / "python", folder / "bin" / "dora")
