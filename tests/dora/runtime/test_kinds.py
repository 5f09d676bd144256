"""Python operators keep what operators of every kind promise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dora.protocol.runtime import OperatorConfig
from dora.runtime.python import PythonLoader
from tests.dora.runtime.suite import PROBES, Desk, LoaderSuite


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


SLOW = """
import time
from pathlib import Path
with Path(__file__).with_suffix(".log").open("a") as log:
    log.write("executed ")
time.sleep(0.2)
class Operator:
    def on_event(self, dora_event, send_output):
        pass
"""


def test_threads_that_load_one_file_at_once_execute_it_once(
    tmp_path: Path, loader: PythonLoader
) -> None:
    """As replicas with threads of their own do: all get its class, none half of the file."""
    file = tmp_path / "slowly_executed.py"
    file.write_text(SLOW)
    configs = [OperatorConfig(f"op.{n}", "python", str(file)) for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda config: loader.load(config, Desk()), configs))

    assert 1 == len({type(it.operator) for it in made})
    assert "executed " == file.with_suffix(".log").read_text()
