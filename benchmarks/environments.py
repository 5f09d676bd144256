"""Environments of the peers: each in a folder of its own below the cache folder, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def environment(name: str, requirements: tuple[str, ...]) -> Path:
    """The folder of a virtual environment that has `requirements`. Raises RuntimeError with uv's
    words."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = cache / "dora-benchmarks" / f"{name}-{version}"
    complete = folder / "complete"
    if not complete.exists():
        _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        python = str(folder / "bin" / "python")
        _uv("pip", "install", "--quiet", "--compile-bytecode", "--python", python, *requirements)
        complete.touch()
    return folder


def add_packages(name: str, requirements: tuple[str, ...]) -> None:
    """Makes `requirements` importable in this process, for a peer that is a library; what is there
    already comes first. Raises RuntimeError as `environment`."""
    folder = environment(name, requirements)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = str(folder / "lib" / version / "site-packages")
    if packages not in sys.path:
        sys.path.append(packages)


def _uv(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)} failed:\n{result.stderr.strip()}")
