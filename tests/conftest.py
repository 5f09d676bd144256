"""Which tests share a worker when several run at once (`pytest -n 3 --dist loadgroup`)."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent

# Whole folders that share what is costly to make: a LAN of robots, machines with closures on them.
# They take longest, so they begin first.
TOGETHER = ("lan", "scenarios", "interruptions")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of such a folder, else of one file, run one after the other in the same process."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: _rank(item))


def _group(item: pytest.Item) -> str:
    path = item.path.relative_to(ROOT)
    return path.parts[0] if path.parts[0] in TOGETHER else path.as_posix()


def _rank(item: pytest.Item) -> int:
    group = _group(item)
    return TOGETHER.index(group) if group in TOGETHER else len(TOGETHER)
