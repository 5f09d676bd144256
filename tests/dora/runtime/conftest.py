"""What tests of whole runtimes stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.fleet import Fleet


@pytest.fixture
def laptop(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, tmp_path / "machines.yml", cache=tmp_path / "cache")
