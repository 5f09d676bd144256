"""What a node's process finds around itself."""

from __future__ import annotations

from pathlib import Path

from deploy.inventory import Machine
from dora.compile.packaging import Closure
from dora.dataflow.load import loads
from tests.dora.compile.test_dataplane import facts

FLOW = "nodes:\n  - {id: n, path: n.py, env: {PYTHONPATH: /opt/ros, GAIN: 1}}\n"


def test_a_node_that_sets_pythonpath_still_finds_dora(tmp_path: Path) -> None:
    """Its folders come behind those of the closure."""
    (tmp_path / "n.py").write_text("from dora import Node\n")
    dataflow = loads(FLOW, directory=str(tmp_path)).dataflow
    package = Closure().node(dataflow, dataflow.nodes["n"], Machine("a", "a"), facts("a"))

    assert "${library}:${packages}:/opt/ros" == package.env["PYTHONPATH"]
    assert "1" == package.env["GAIN"]
