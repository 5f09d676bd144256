"""What a deployment is called if nobody says so. Pure; laptop only."""

from __future__ import annotations

import re
from pathlib import Path


def deployment_name(file: str) -> str:
    """`quickstart` for quickstart/flow.yml, `mapping` for mapping.yml."""
    path = Path(file).resolve()
    stem = path.parent.name if path.stem in ("flow", "dataflow") else path.stem
    return re.sub(r"[^a-zA-Z0-9_.-]", "-", stem).lstrip(".-")[:63] or "dataflow"
