"""The bench of the fault table: one for all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite(*(f"tests.faults.{it}" for it in ("fault", "machines", "processes")))

from tests.faults.bench import Bench, fault_bench  # noqa: E402
from tests.faults.findings import Finding, table  # noqa: E402
from tests.faults.rows import ROWS, SHORT  # noqa: E402

HZ = 25


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with fault_bench(tmp_path_factory.mktemp("faults"), tmp_path_factory.mktemp("c"), hz=HZ) as it:
        yield it


@pytest.fixture
def holds(bench: Bench) -> Callable[[str], None]:
    """`holds(row)` checks a row in its short form; what it found is shown if it does not hold."""

    def check(name: str) -> None:
        finding = Finding(name)
        try:
            ROWS[name](bench, finding, SHORT.get(name, 0))
            finding.verdict = "holds"
        finally:
            print(table([finding]))

    return check
