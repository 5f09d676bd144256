"""Runtime nodes become units: their operators' files, what they need, what they are told."""

from __future__ import annotations

from pathlib import Path

from deploy.deployment import Files, MachineSpec, PythonEnvironment, UnitSpec
from deploy.inventory import Machine
from dora.compile.compile import Site, compile_dataflow, summarise
from dora.compile.operators import CONFIG, runtime_config
from dora.compile.packaging import Closure
from dora.dataflow.load import loads
from dora.placement.model import Assignment, Placement
from dora.protocol.config import NODE_CONFIG, NodeConfig
from dora.protocol.dataflow import DataflowSummary, NodeSummary
from dora.protocol.runtime import OperatorConfig, RuntimeConfig
from dora.protocol.ways import DOCUMENT as WAYS
from dora.protocol.ways import from_text
from tests.dora.compile.test_dataplane import facts

FLOW = """\
nodes:
  - id: camera
    path: camera.py
    outputs: [image]
  - id: rt
    scheduler: edf
    requirements: [six]
    operators:
      - id: detect
        python: ops/detect.py
        inputs: {image: {source: camera/image, deadline: 20ms}}
        outputs: [boxes]
        priority: 3
        budget: 5ms
        restart_policy: on-failure
        max_restarts: 4
        restart_window: 1m
      - {id: again, python: ops/detect.py, inputs: {image: camera/image}, deadline: 1s}
      - {id: filter, wasm: filter.wasm, inputs: {boxes: detect/boxes}, thread: true}
"""


def compiled(tmp_path: Path, flow: str = FLOW) -> MachineSpec:
    (tmp_path / "ops").mkdir()
    (tmp_path / "camera.py").write_text("")
    script = "# /// script\n# dependencies = ['rich']\n# ///\nimport boxes\n"
    (tmp_path / "ops/detect.py").write_text(script)
    (tmp_path / "ops/boxes.py").write_text("")
    (tmp_path / "filter.wasm").write_bytes(b"\0asm")
    dataflow = loads(flow, directory=str(tmp_path)).dataflow
    placement = Placement({node: Assignment("a", "named") for node in dataflow.nodes})
    sites = {"a": Site(Machine("a", "10.0.0.1"), facts("a"))}
    return compile_dataflow("flow", dataflow, placement, sites, {}, Closure()).machines["a"]


def runtime(machine: MachineSpec) -> UnitSpec:
    return next(it for it in machine.units if it.unit.name == "rt")


def test_a_runtime_carries_its_operators(tmp_path: Path) -> None:
    """The files of all of them with what they import, what their kinds and scripts require."""
    spec = runtime(compiled(tmp_path))
    code, packages = spec.sources["code"], spec.sources["packages"]

    assert ("/usr/bin/python3", "-u", "-m", "dora.runtime") == spec.unit.argv
    assert f"${{code}}/{CONFIG}" == spec.unit.reload
    assert isinstance(code, Files)
    assert {"ops/detect.py", "ops/boxes.py", "filter.wasm", CONFIG} == set(code.entries)
    assert isinstance(packages, PythonEnvironment)
    assert {"six", "rich"} < set(packages.requirements)
    assert any(it.startswith("wasmtime") for it in packages.requirements)
    assert not any(it.startswith("cffi") for it in packages.requirements)


def test_a_runtime_is_told_how_to_schedule(tmp_path: Path) -> None:
    """All that the flow file says of its operators; edges inside it go by memory."""
    machine = compiled(tmp_path)
    spec = runtime(machine)
    code = spec.sources["code"]
    assert isinstance(code, Files)
    content = code.entries[CONFIG]
    assert isinstance(content, bytes)
    told = RuntimeConfig.from_text(content.decode())

    assert ("edf", False) == (told.scheduler, told.bare_outputs)
    detect, again, filter = told.operators
    assert (
        OperatorConfig(
            id="detect",
            kind="python",
            code="ops/detect.py",
            inputs=("image",),
            outputs=("boxes",),
            priority=3,
            deadlines={"image": 0.02},
            budget=0.005,
            restart="on-failure",
            max_restarts=4,
            restart_window=60.0,
        )
        == detect
    )
    assert (1.0, True) == (again.deadline, filter.thread)
    config = NodeConfig.from_text(spec.unit.render(_values()).env[NODE_CONFIG])
    config = from_text(machine.documents[WAYS])["rt"].laid(config)
    assert {"detect/image": "shm", "again/image": "shm", "filter/boxes": "memory"} == {
        name: it.layer for name, it in config.inputs.items()
    }


def test_what_a_runtime_takes_over_while_it_runs_is_left_out_of_the_rest(tmp_path: Path) -> None:
    """Files of Python operators, unless others import them: anything else needs a restart."""
    rest = runtime(compiled(tmp_path)).sources["rest"]
    assert isinstance(rest, Files)
    assert {"ops/boxes.py", "filter.wasm", CONFIG} == set(rest.entries)


def test_what_thousands_of_operators_are_told_travels_as_a_file(tmp_path: Path) -> None:
    """No environment variable could hold it."""
    many = "".join(
        f"      - {{id: o{n}, python: ops/detect.py, inputs: {{image: camera/image}}}}\n"
        for n in range(1000)
    )
    spec = runtime(compiled(tmp_path, FLOW + many))
    config = spec.sources["config"]

    assert "@${config}/node.json" == spec.unit.env[NODE_CONFIG]
    assert max(map(len, spec.unit.env.values())) < 1000
    assert isinstance(config, Files)
    content = config.entries["node.json"]
    assert isinstance(content, bytes)
    assert 1003 == len(NodeConfig.from_text(content.decode()).inputs)


def _values() -> dict[str, str]:
    names = ("code", "library", "packages", "rest", "root", "state")
    return {name: f"/{name}" for name in names}


def counts(tmp_path: Path, clause: str, running: int | None) -> tuple[int, bool, dict[str, str]]:
    """Of an operator: how many there are to be, and what its runtime is told of that."""
    flow = f"""\
nodes:
  - {{id: camera, path: camera.py, outputs: [image]}}
  - id: rt
    operators:
      - {{id: detect, python: ops/detect.py, inputs: {{image: camera/image}}, {clause}}}
      - {{id: show, python: ops/detect.py, inputs: {{image: camera/image}}}}
"""
    dataflow = loads(flow, directory=str(tmp_path)).dataflow
    placement = Placement({node: Assignment("a", "named") for node in dataflow.nodes})
    now = None
    if running is not None:
        now = DataflowSummary("flow", {"rt": NodeSummary("a", "", operators={"detect": running})})
    its = summarise("flow", dataflow, placement, {}, now).nodes["rt"].operators
    told = runtime_config(dataflow.nodes["rt"], lambda operator: operator.code).operators
    assert ["detect"] == list(its)
    assert [False] == [it.replicated for it in told if it.id == "show"]
    return its["detect"], told[0].replicated, dict(told[0].balanced)


def test_operators_that_scale_themselves_keep_their_number(tmp_path: Path) -> None:
    """Through a deployment, within their bounds; they begin with the least. Their runtime is told
    the same as of any operator with replicas: how many there are does not restart it."""
    bounds = "autoscale: {min: 2, max: 3, target_queue: 5}"
    for now, then in ((None, 2), (1, 2), (2, 2), (3, 3), (5, 3)):
        assert (then, True, {"image": ""}) == counts(tmp_path, bounds, now)
    assert (4, True, {"image": ""}) == counts(tmp_path, "replicas: 4", 2)
