"""A dataflow and its placement become units: what each process is told follows from the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError
from deploy.inventory import Machine
from dora.compile.compile import Site, compile_dataflow
from dora.compile.dataplane import ROUTER
from dora.compile.naming import deployment_name
from dora.compile.packaging import Closure
from dora.dataflow.load import loads
from dora.errors import DoraError
from dora.placement.model import Assignment, Placement
from dora.protocol.config import NODE_CONFIG, NodeConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, RouterSummary
from dora.protocol.ways import DOCUMENT as WAYS
from dora.protocol.ways import from_text
from dora.tracing import REQUIREMENTS
from tests.dora.compile.test_dataplane import facts

FLOW = """\
env: {SITE: lab, PRICE: '5$'}
nodes:
  - id: camera
    path: camera.py
    args: --fps 30 "$HOME"
    inputs: {tick: dora/timer/millis/100}
    outputs: [image]
    restart_policy: on-failure
    max_restarts: 3
    health_check_timeout: 5s
    deploy: {memory: 1MiB}
    max_log_size: 1KB
    max_rotated_files: 0
    cpu_affinity: [1]
  - id: plot
    path: nodes/plot.py
    inputs: {image: {source: camera/image, queue_size: 2}}
"""


def compiled(  # type: ignore[no-untyped-def]
    tmp_path: Path, flow: str = FLOW, *, plot: str = "b", **changes: object
):
    (tmp_path / "nodes").mkdir(exist_ok=True)
    (tmp_path / "camera.py").write_text("import lens\n")
    (tmp_path / "lens.py").write_text("")
    script = "# /// script\n# dependencies = ['rich']\n# ///\n"
    (tmp_path / "nodes/plot.py").write_text(script)
    dataflow = loads(flow, directory=str(tmp_path)).dataflow
    placement = Placement({"camera": Assignment("a", "named"), "plot": Assignment(plot, "free")})
    sites = {
        name: Site(Machine(name, f"10.0.0.{name}"), replace(facts(name), **changes))
        for name in ("a", "b")
    }
    routers = {name: RouterSummary(f"10.0.0.{name}", 7447, "PEM") for name in sites}
    return compile_dataflow("flow", dataflow, placement, sites, routers, Closure())


def test_each_machine_gets_its_nodes_and_a_router(tmp_path: Path) -> None:
    """The router starts first."""
    machines = compiled(tmp_path).machines

    assert {"a": [ROUTER, "camera"], "b": [ROUTER, "plot"]} == {
        name: [spec.unit.name for spec in machine.units] for name, machine in machines.items()
    }
    assert [0, 1] == [spec.unit.order for spec in machines["a"].units]


def test_a_unit_says_all_that_the_process_needs(tmp_path: Path) -> None:
    """Command, arguments without expansion, environment, cores, restarts; code with its imports."""
    spec = compiled(tmp_path).machines["a"].units[1]
    unit = spec.unit.render(
        {"code": "/t/code", "library": "/t/lib", "packages": "/t/py", "root": "/r", "state": "/s"}
    )

    assert ("/usr/bin/python3", "-u", "/t/code/camera.py", "--fps", "30", "$HOME") == unit.argv
    assert {"SITE": "lab", "PRICE": "5$"}.items() <= unit.env.items()
    assert "/t/lib:/t/py" == unit.env["PYTHONPATH"]
    assert "/s" == unit.cwd
    assert (1,) == unit.cores
    assert ("on-failure", 3) == (unit.restart.when, unit.restart.max_restarts)
    limits = (unit.watchdog, unit.memory, unit.log_size, unit.log_files)
    assert (5.0, 2**20, 1000, 0) == limits
    assert {"camera.py", "lens.py"} == set(spec.sources["code"].entries)


def test_requirements_are_the_librarys_and_the_scripts(tmp_path: Path) -> None:
    """PEP 723 metadata in the script counts."""
    packages = compiled(tmp_path).machines["b"].units[1].sources["packages"]

    assert isinstance(packages, PythonEnvironment)
    assert {"rich"} < set(packages.requirements)
    assert any(it.startswith("pyarrow") for it in packages.requirements)


def test_a_node_is_told_its_inputs_and_nothing_of_the_rest(tmp_path: Path) -> None:
    """What the rest looks like is in a document, so that it may change under a running node."""
    machine = compiled(tmp_path).machines["b"]
    config = NodeConfig.from_text(machine.units[1].unit.render(_values()).env[NODE_CONFIG])

    assert "plot" == config.node
    assert ["image"] == list(config.inputs)
    assert ("camera/image", 2) == (
        config.inputs["image"].source,
        config.inputs["image"].queue_size,
    )
    summary = DataflowSummary.from_text(machine.documents[DOCUMENT])
    assert {"camera": "a", "plot": "b"} == {n: it.machine for n, it in summary.nodes.items()}
    assert frozenset({"plot"}) == summary.consumers("camera")


def test_where_others_run_changes_no_unit(tmp_path: Path) -> None:
    """Only by which way they are reached, which is told in a document."""
    apart, together = compiled(tmp_path), compiled(tmp_path, plot="a")
    camera = [it.machines["a"].units for it in (apart, together)]
    assert camera[0][1].unit.fingerprint == camera[1][0].unit.fingerprint
    assert [("zenoh",), ("shm",)] == [
        from_text(it.machines["a"].documents[WAYS])["camera"].outputs["image"].layers
        for it in (apart, together)
    ]


def test_a_further_node_changes_no_other_unit(tmp_path: Path) -> None:
    """Promise 5 begins here."""
    before = compiled(tmp_path).machines["a"].units
    more = FLOW + "  - {id: extra, path: camera.py, inputs: {tick: dora/timer/secs/1}}\n"
    dataflow = loads(more, directory=str(tmp_path)).dataflow
    placement = Placement(
        {"camera": Assignment("a", ""), "plot": Assignment("b", ""), "extra": Assignment("a", "")}
    )
    sites = {name: Site(Machine(name, f"10.0.0.{name}"), facts(name)) for name in ("a", "b")}
    routers = {name: RouterSummary(f"10.0.0.{name}", 7447, "PEM") for name in sites}
    after = compile_dataflow("flow", dataflow, placement, sites, routers, Closure())

    units = [spec.unit.fingerprint for spec in after.machines["a"].units]
    assert [spec.unit.fingerprint for spec in before] == units[:2]


def test_an_old_python_is_named_before_anything_is_built(tmp_path: Path) -> None:
    """The message says which machine, which version, and where to name another."""
    with pytest.raises(DoraError, match=r"machine 'a' has Python 3\.8\.10"):
        compiled(tmp_path, python_version=(3, 8, 10))


def test_a_script_that_vanished_is_named(tmp_path: Path) -> None:
    """Between the check and the build."""
    flow = FLOW.replace("nodes/plot.py", "nodes/plto.py")
    with pytest.raises((DoraError, BuildError), match=r"nodes/plto\.py"):
        compiled(tmp_path, flow)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/x/quickstart/flow.yml", "quickstart"),
        ("/x/dataflow.yaml", "x"),
        ("/x/mapping.yml", "mapping"),
        ("/x/my flow.yml", "my-flow"),
    ],
)
def test_a_deployment_is_named_after_its_file_or_folder(file: str, name: str) -> None:
    """`flow.yml` says nothing; its folder does."""
    assert name == deployment_name(file)


def _values() -> dict[str, str]:
    names = ("code", "library", "packages", "root", "state")
    return {name: f"/{name}" for name in names}


def test_nodes_that_are_to_be_traced_have_what_that_needs(tmp_path: Path) -> None:
    """Their environment asks for it, as OpenTelemetry defines; others do without."""
    flow = FLOW.replace(
        "path: nodes/plot.py", "path: nodes/plot.py\n    env: {OTEL_TRACES_EXPORTER: otlp}"
    )
    machines = compiled(tmp_path, flow).machines
    plain, traced = (machines[name].units[1].sources["packages"] for name in ("a", "b"))

    assert isinstance(plain, PythonEnvironment)
    assert isinstance(traced, PythonEnvironment)
    assert set(REQUIREMENTS) <= set(traced.requirements)
    assert not set(REQUIREMENTS) & set(plain.requirements)
