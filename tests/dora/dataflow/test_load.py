"""Flow files: what they become, and what is said about those that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dora.dataflow.load import LoadedDataflow, load, loads
from dora.dataflow.model import (
    Deploy,
    Input,
    LogSource,
    Mark,
    Node,
    OutputSource,
    Quality,
    Realtime,
    Restart,
    TimerSource,
)
from dora.errors import DataflowError

HERE = Path(__file__).parent
BROKEN = HERE / "broken"
EXAMPLES = HERE / "examples"


def example(name: str) -> LoadedDataflow:
    return load(EXAMPLES / f"{name}.yml", environ={})


def said(loaded: LoadedDataflow) -> list[str]:
    return [str(issue).removeprefix(f"{EXAMPLES}/") for issue in loaded.warnings]


def node(text: str, environ: dict[str, str] | None = None) -> Node:
    """The only node of a flow file that begins with its id."""
    loaded = loads(f"nodes:\n  - id: a\n{text}", "f.yml", environ=environ or {})
    return loaded.dataflow.nodes["a"]


def error(text: str) -> list[str]:
    with pytest.raises(DataflowError) as caught:
        loads(text, "f.yml", environ={})
    return str(caught.value).splitlines()


@pytest.mark.parametrize("file", sorted(BROKEN.glob("*.yml")), ids=lambda file: file.stem)
def test_what_is_wrong_is_said_with_its_place(file: Path) -> None:
    """Every problem of a file at once; `<name>.issues` holds the whole text."""
    with pytest.raises(DataflowError) as caught:
        loads(file.read_text(), file.name, environ={})
    assert file.with_suffix(".issues").read_text() == f"{caught.value}\n"


def test_a_missing_flow_file_names_its_path(tmp_path: Path) -> None:
    """No traceback for a mistyped name."""
    with pytest.raises(DataflowError) as caught:
        load(tmp_path / "flow.yml")
    assert f"{tmp_path}/flow.yml:1:1: cannot be read: no such file or directory" == str(
        caught.value
    )


def test_how_outputs_travel() -> None:
    """Those that are not named: newest wins. Readers of a reliable one have room for a backlog,
    unless they say what they want."""
    dataflow = loads(
        """\
nodes:
  - id: a
    path: a.py
    outputs: [plain, sure, kept]
    output_qos:
      sure: {delivery: reliable, priority: high}
      kept: {delivery: reliable, cache: 5}
  - id: b
    path: b.py
    inputs: {plain: a/plain, sure: a/sure, kept: a/kept, own: {source: a/sure, queue_size: 3}}
""",
        environ={},
    ).dataflow
    a, b = dataflow.nodes.values()
    assert [
        Quality("drop", 1000, "normal"),
        Quality("reliable", 1000, "high"),
        Quality("reliable", 5, "normal"),
    ] == [a.quality(output) for output in a.outputs]
    assert [0, 1000, 5] == [a.quality(output).kept for output in a.outputs]
    assert [10, 2000, 10, 3] == [wired.queue_size for wired in b.inputs.values()]


def test_doras_python_example_loads() -> None:
    """Inputs of both lengths, environment with numbers, hub nodes."""
    loaded = example("python-dataflow")
    camera, detection, plot = loaded.dataflow.nodes.values()
    assert {"CAPTURE_PATH": "0", "IMAGE_WIDTH": "640", "IMAGE_HEIGHT": "480"} == camera.env
    assert TimerSource(20_000_000, "dora/timer/millis/20") == camera.inputs["tick"].source
    assert "pip install dora-yolo" == detection.build
    assert 1 == detection.inputs["image"].queue_size
    assert {
        "image": OutputSource("camera", "image"),
        "boxes2d": OutputSource("object-detection", "bbox"),
    } == {name: wired.source for name, wired in plot.inputs.items()}
    assert [] == [line for line in said(loaded) if "has no effect" not in line]


def test_doras_operator_examples_load() -> None:
    """A single operator, several in one runtime, a shared library, and a dynamic node."""
    nodes = example("operators").dataflow.nodes
    webcam, runtime, viewer = nodes.values()
    assert webcam.single_operator
    assert ("image",) == webcam.all_outputs
    assert [("cxx-operator", "shared-library", "build/liboperator_cxx.so")] == [
        (it.id, it.kind, it.code) for it in runtime.operators[:1]
    ]
    assert ("cxx-operator/status",) == runtime.all_outputs
    assert OutputSource("webcam", "image") == runtime.operators[0].inputs["image"].source
    assert OutputSource("runtime-node", "status", "cxx-operator") == (
        viewer.inputs["status"].source
    )
    assert "dynamic" == viewer.path


def test_doras_benchmark_loads() -> None:
    """Queues with backpressure, time-outs, restarts and logs."""
    sink = example("benchmark").dataflow.nodes["sink"]
    file = str(EXAMPLES / "benchmark.yml")
    assert Input(
        "latency",
        OutputSource("node", "latency"),
        Mark(file, 13, 17),
        queue_size=1000,
        queue_policy="backpressure",
    ) == sink.inputs["latency"]  # fmt: skip
    assert 5.0 == sink.inputs["throughput"].input_timeout
    assert Restart("on-failure", 3, 1.0, 30.0, 300.0) == sink.restart
    assert (10.0, "info", 50_000_000) == (
        sink.health_check_timeout,
        sink.min_log_level,
        sink.max_log_size,
    )


def test_a_cycle_that_a_timer_starts_is_legal() -> None:
    """Services answer their clients; keys without effect are told as such."""
    loaded = example("service")
    client, _, logger = loaded.dataflow.nodes.values()
    assert ("--count", "5", "--name", "the client") == client.args
    assert 500_000_000 == client.inputs["tick"].source.interval  # type: ignore[union-attr]
    assert LogSource(None, None, "dora/logs") == logger.inputs["all"].source
    assert LogSource("error", "server", "dora/logs/error/server") == (
        logger.inputs["errors"].source
    )
    assert loaded.dataflow.exit_when_nodes_finish
    assert [
        "service.yml:10:5: output_types has no effect: types of messages are not checked yet",
        "service.yml:15:5: pattern has no effect: message patterns are not checked yet",
    ] == said(loaded)


def test_the_form_of_2022_loads() -> None:
    """`custom`, underscores, operators named without their node, and its communication."""
    loaded = example("of-2022")
    timer, process, printer = loaded.dataflow.nodes.values()
    assert ("cargo", ("run", "--example", "timer")) == (timer.path, timer.args)
    assert {"A": "1", "B": "here"} == timer.env
    assert "build" == timer.working_directory
    assert "../target/libop2.so" == process.operators[1].code
    assert OutputSource("process", "number", "op-1") == (
        process.operators[1].inputs["number"].source
    )
    assert ("python3", ("printer.py", "--fast")) == (printer.path, printer.args)
    assert OutputSource("process", "text", "op-2") == printer.inputs["text"].source
    assert [
        "of-2022.yml:3:3: zenoh has no effect: routes begin with the deployment's name"
    ] == said(loaded)


def test_what_we_add_to_doras_language_loads() -> None:
    """Requirements, files, cores, memory, nearness and rates."""
    loaded = example("ours")
    file = str(EXAMPLES / "ours.yml")
    camera, detector, plot = loaded.dataflow.nodes.values()
    assert {"frames": (30.0, 1_000_000)} == camera.output_rates
    assert Deploy(
        labels={"gpu": "jetson"},
        cores=2,
        memory=512 * 1024 * 1024,
        near="camera",
        mark=Mark(file, 15, 7),
    ) == detector.deploy  # fmt: skip
    assert ("numpy", "./wheels/my.whl") == detector.requirements
    assert ("models/*.onnx",) == detector.files
    assert (30.0, 5.0) == (detector.startup_timeout, detector.finish_grace)
    assert ("requirements.txt",) == plot.requirements
    assert (2, 3) == plot.cpu_affinity
    assert 1 == plot.inputs["log"].queue_size
    assert {"COLOUR": "true", "RATE": "1000"} == loaded.dataflow.env
    assert [] == [line for line in said(loaded) if "has no effect" not in line]


def test_how_a_node_is_to_be_scheduled_loads() -> None:
    """Cores of a kind, a real-time priority (fifo unless it is said), a nice value."""
    found = node(
        "    path: a.py\n"
        "    deploy: {cores: 2, core_kind: big, realtime: {priority: 50}, nice: -5}\n"
    )
    assert (2, "big") == (found.deploy.cores, found.deploy.core_kind)
    assert (Realtime("fifo", 50), -5) == (found.deploy.realtime, found.deploy.nice)


def test_the_directory_is_that_of_the_file() -> None:
    """Relative paths do not depend on where one stands."""
    assert str(EXAMPLES) == example("ours").dataflow.directory


def test_env_is_expanded_as_dora_does() -> None:
    """`$X`, `${X}`, defaults; numbers and booleans are text; quoted digits stay."""
    found = node(
        "    path: a.py\n"
        "    env: {A: $X, B: '${X}/y', C: '${Z:-d}', D: '$$5 $ 1', E: 0755, F: '0755', G: yes,\n"
        "          H: true, I: 1.5, J: '${EMPTY:-d}', K: 1e20}\n",
        {"X": "x", "EMPTY": ""},
    )
    assert {
        "A": "x", "B": "x/y", "C": "d", "D": "$5 $ 1", "E": "755", "F": "0755", "G": "yes",
        "H": "true", "I": "1.5", "J": "d", "K": "100000000000000000000",
    } == found.env  # fmt: skip


def test_reserved_variables_are_left_out_with_a_warning() -> None:
    """A flow file cannot break how nodes find their dataflow."""
    text = "nodes:\n  - id: a\n    path: a.py\n    env: {LD_PRELOAD: x, OK: y}\n"
    loaded = loads(text, "f.yml", environ={})
    assert {"OK": "y"} == loaded.dataflow.nodes["a"].env
    assert ["f.yml:4:11: LD_PRELOAD is left out: dora sets it itself, or it would break dora"] == [
        str(issue) for issue in loaded.warnings
    ]


def test_arguments_are_split_but_not_expanded() -> None:
    """As a POSIX shell would split them, and no more."""
    found = node("    path: a.py\n    args: a 'b c' d\\ e $HOME *.py \"\"\n")
    assert ("a", "b c", "d e", "$HOME", "*.py", "") == found.args
    assert ("5",) == node("    path: a.py\n    args: 5\n").args


def test_a_shell_node_keeps_its_command_whole() -> None:
    """It is the shell's to split."""
    assert ("echo 'a b' | wc",) == node("    path: shell\n    args: echo 'a b' | wc\n").args


def test_a_number_is_an_id_and_an_empty_value_is_none() -> None:
    """As dora reads them."""
    loaded = loads("nodes:\n  - id: 7\n    path: a.py\n    inputs:\n", "f.yml")
    assert ["7"] == list(loaded.dataflow.nodes)
    assert {} == loads("nodes:\n", "f.yml").dataflow.nodes
    assert {} == loads("nodes: []\n", "f.yml").dataflow.nodes


def test_outputs_may_have_segments() -> None:
    """`left/image` is one output."""
    text = """
nodes:
  - {id: a, path: a.py, outputs: [left/image]}
  - {id: b, path: b.py, inputs: {left/image: a/left/image}}
"""
    found = loads(text, "f.yml").dataflow.nodes["b"].inputs["left/image"]
    assert OutputSource("a", "left/image") == found.source


def test_the_deploy_block_of_the_file_is_the_default() -> None:
    """A node's own block replaces it."""
    text = """
deploy: {machine: base}
nodes:
  - {id: a, path: a.py}
  - {id: b, path: b.py, deploy: {labels: {gpu: 1}}}
"""
    nodes = loads(text, "f.yml").dataflow.nodes
    assert ("base", None) == (nodes["a"].deploy.machine, nodes["b"].deploy.machine)
    assert {"gpu": "1"} == nodes["b"].deploy.labels


def test_timers_of_every_unit_have_their_interval() -> None:
    """In nanoseconds."""
    found = node(
        "    path: a.py\n    inputs: {a: dora/timer/secs/2, b: dora/timer/millis/3, "
        "c: dora/timer/micros/4, d: dora/timer/nanos/5000, e: dora/timer/hz/0.5}\n"
    )
    assert [2_000_000_000, 3_000_000, 4_000, 5_000, 2_000_000_000] == [
        wired.source.interval  # type: ignore[union-attr]
        for wired in found.inputs.values()
    ]


def test_a_mistake_is_not_told_twice() -> None:
    """Whoever reads an output of a node that is itself wrong is not blamed for it."""
    assert ["f.yml:2:34: outputs is 'x'; it must be a list"] == error(
        "nodes:\n  - {id: a, path: a.py, outputs: x}\n  - {id: b, path: b.py, inputs: {x: a/x}}\n"
    )
    assert ["f.yml:2:25: unknown key 'ouputs'; did you mean 'outputs'?"] == error(
        "nodes:\n  - {id: a, path: a.py, ouputs: [x]}\n  - {id: b, path: b.py, inputs: {x: a/x}}\n"
    )


def test_the_descriptor_is_the_file_with_doras_defaults() -> None:
    """What `dataflow_descriptor()` gives: plain JSON, and no secret of the environment."""
    text = """
nodes:
  - id: a
    path: a.py
    env: {TOKEN: $TOKEN, N: 5}
    outputs: [z, b]
    inputs: {tick: dora/timer/secs/1, x: {source: a/b, queue_size: 3}}
  - {id: 2, operator: {python: b.py, inputs: {b: a/b}}}
"""
    loaded = loads(text, "f.yml", environ={"TOKEN": "secret"})
    common = {
        "name": None,
        "description": None,
        "deploy": None,
        "restart_policy": "never",
        "max_restarts": 0,
    }
    expected = {
        "deploy": None,
        "debug": {"enable_debug_inspection": False},
        "health_check_interval": None,
        "nodes": [
            {
                **common,
                "id": "a",
                "path": "a.py",
                "env": {"TOKEN": "$TOKEN", "N": 5},
                "outputs": ["b", "z"],
                "inputs": {"tick": "dora/timer/secs/1", "x": {"source": "a/b", "queue_size": 3}},
            },
            {
                **common,
                "id": "2",
                "env": None,
                "operator": {"python": "b.py", "inputs": {"b": "a/b"}},
            },
        ],
    }  # fmt: skip
    assert expected == json.loads(json.dumps(loaded.dataflow.descriptor))
    assert {"TOKEN": "secret", "N": "5"} == loaded.dataflow.nodes["a"].env
