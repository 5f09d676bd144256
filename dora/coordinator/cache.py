"""Where the laptop keeps what it would otherwise find out or make again. Laptop only."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where the laptop keeps what it would otherwise make again; may be deleted at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "dora"
