"""Which tests share a worker when several run at once (`pytest -n 3 --dist loadgroup`)."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent

# What shares something costly (a LAN of robots, machines with closures on them), or something that
# there is once (the loopback ports of embedded machines). These take longest: they begin first.
TOGETHER = {
    "lan": ("lan", "faults"),
    "embedded": ("scenarios", "interruptions", "dora/runtime/test_deployed.py"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of such places, else of one file, run one after the other in the same process."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: _rank(item))


def _group(item: pytest.Item) -> str:
    path = item.path.relative_to(ROOT).as_posix()
    for name, places in TOGETHER.items():
        if any(path == place or path.startswith(f"{place}/") for place in places):
            return name
    return path


def _rank(item: pytest.Item) -> int:
    return [*TOGETHER, _group(item)].index(_group(item))
