"""Python operators keep what operators of every kind promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from dora.runtime.python import PythonLoader
from tests.dora.runtime.suite import PROBES, LoaderSuite


@pytest.fixture
def loader() -> PythonLoader:
    return PythonLoader(dict)


@pytest.fixture
def probe() -> Path:
    return PROBES / "probe.py"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.py"
    file.write_text("class Operator(:\n")
    return file


class TestPython(LoaderSuite):
    """What all kinds promise."""
