"""What holds for all tests: which share a worker when several run at once (`pytest -n 3 --dist
loadgroup`), and how Hypothesis looks for examples."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent

# Commands that tests run leave nothing behind, but for those of the standby's own tests.
os.environ["DORA_STANDBY"] = "0"

# The same examples in each run, so that none refuses a change by chance; how long one takes says
# more of the machine than of the code.
# `--hypothesis-profile search` looks further.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("same", PATIENT, derandomize=True, database=None)
settings.register_profile("search", PATIENT, max_examples=1000)
settings.load_profile("same")

# What shares something that there is once, the loopback ports of embedded machines. It takes
# longest and begins first.
TOGETHER = {"embedded": ("scenarios", "interruptions", "dora/runtime/test_deployed.py")}
SLOW = ("lan", "faults")  # then these, each file with a LAN of its own


@pytest.hookimpl(tryfirst=True)  # before the groups are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of such places, else of one file, run one after the other in the same process."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_rank)


def _group(item: pytest.Item) -> str:
    for name, places in TOGETHER.items():
        if _is_in(item, places):
            return name
    return _path(item)


def _rank(item: pytest.Item) -> int:
    return 0 if _group(item) in TOGETHER else 1 if _is_in(item, SLOW) else 2


def _is_in(item: pytest.Item, places: tuple[str, ...]) -> bool:
    path = _path(item)
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).as_posix()
