"""A node's health commands become data of its unit, with the scripts that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.deployment import Files
from deploy.unit import HealthCommand
from dora.compile.health import CHECKS, health_commands
from dora.dataflow.load import loads
from dora.dataflow.model import Dataflow
from dora.errors import DoraError
from tests.dora.compile.test_compile import compiled
from tests.dora.compile.test_dataplane import facts

FLOW = """\
nodes:
  - id: n
    path: n.py
    health: [check.py --fast "$HOME", python3 tools/deep.py, tools/look, "curl -f localhost:80"]
    health_timeout: 2s
"""


def dataflow(folder: Path, flow: str = FLOW) -> Dataflow:
    (folder / "tools").mkdir()
    (folder / "check.py").write_text("import limits\n")
    (folder / "limits.py").write_text("")
    (folder / "tools/deep.py").write_text("")
    (folder / "tools/look").write_text("#!/bin/sh\n")
    return loads(flow, directory=str(folder)).dataflow


def test_scripts_travel_and_programs_are_the_machines(tmp_path: Path) -> None:
    """With the modules that they import; nothing is expanded, the text is what people know."""
    flow = dataflow(tmp_path)
    commands, sources = health_commands(flow, flow.nodes["n"], facts("a"))
    python = "/usr/bin/python3"
    assert [
        ((python, "-u", "${checks}/check.py", "--fast", "$$HOME"), 'check.py --fast "$HOME"'),
        ((python, "-u", "${checks}/tools/deep.py"), "python3 tools/deep.py"),
        (("${checks}/tools/look",), "tools/look"),
        (("curl", "-f", "localhost:80"), "curl -f localhost:80"),
    ] == [(command.argv, command.text) for command in commands]
    assert {2.0} == {command.timeout for command in commands}
    code = sources[CHECKS]
    assert isinstance(code, Files)
    assert {"check.py", "limits.py", "tools/deep.py", "tools/look"} == set(code.entries)


def test_a_script_with_packages_of_its_own_is_refused(tmp_path: Path) -> None:
    """It would not find them."""
    flow = dataflow(tmp_path)
    script = "# /// script\n# dependencies = ['rich']\n# ///\n"
    (tmp_path / "check.py").write_text(script)
    with pytest.raises(DoraError, match="inline dependencies") as caught:
        health_commands(flow, flow.nodes["n"], facts("a"))
    assert "`requirements:`" in str(caught.value.hint)


def test_a_node_without_health_commands_is_the_unit_that_it_was(tmp_path: Path) -> None:
    """One with them has them in its unit, and their scripts among its sources."""
    spec = compiled(tmp_path).machines["a"].units[1]
    assert () == spec.unit.health
    assert CHECKS not in spec.sources
    flow = "nodes: [{id: camera, path: camera.py, health: camera.py}, {id: plot, path: camera.py}]"
    spec = compiled(tmp_path, flow).machines["a"].units[-1]
    argv = ("/usr/bin/python3", "-u", "${checks}/camera.py")
    assert (HealthCommand(argv, "camera.py", 10.0),) == spec.unit.health
    assert CHECKS in spec.sources
