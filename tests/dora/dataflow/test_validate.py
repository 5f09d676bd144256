"""The graph as a whole: what is an error, what is a warning, and what is fine."""

from __future__ import annotations

import pytest

from dora.dataflow.graph import cycles_within, graph, node_graph, ranks, starters, unreached
from dora.dataflow.load import loads
from dora.errors import DataflowError


def warnings(text: str) -> list[str]:
    return [str(issue) for issue in loads(text, "f.yml").warnings]


def errors(text: str) -> list[str]:
    with pytest.raises(DataflowError) as caught:
        loads(text, "f.yml")
    return str(caught.value).splitlines()


MIXED = """\
nodes:
  - {id: camera, path: a.py, inputs: {t: dora/timer/secs/1}, outputs: [image]}
  - id: rt
    operators:
      - {id: a, python: a.py, inputs: {image: camera/image, back: rt/b/y}, outputs: [x]}
      - {id: b, python: b.py, inputs: {x: a/x}, outputs: [y]}
  - {id: sink, path: s.py, inputs: {y: rt/b/y, raw: camera/image}}
"""


def test_operators_are_vertices_of_their_own() -> None:
    """Runtime nodes do not hide who feeds whom."""
    found = graph(loads(MIXED, "f.yml").dataflow)
    assert ["camera", "rt/a", "rt/b", "sink"] == list(found)
    assert [
        ("camera", "rt/a", "image", "image"),
        ("camera", "sink", "image", "raw"),
        ("rt/a", "rt/b", "x", "x"),
        ("rt/b", "rt/a", "y", "back"),
        ("rt/b", "sink", "y", "y"),
    ] == sorted((a, b, data["output"], data["input"]) for a, b, data in found.edges(data=True))


def test_the_graph_of_nodes_has_no_self_loops() -> None:
    """What travels inside of a runtime does not concern machines."""
    found = node_graph(loads(MIXED, "f.yml").dataflow)
    assert [
        ("camera", "rt", "image"),
        ("camera", "sink", "image"),
        ("rt", "sink", "b/y"),
    ] == sorted((a, b, data["output"]) for a, b, data in found.edges(data=True))


def test_everything_downstream_of_a_starter_is_reached() -> None:
    """Sources, timers and logs start; cycles behind them are legal."""
    dataflow = loads(MIXED, "f.yml").dataflow
    assert {"camera"} == starters(dataflow)
    assert set() == unreached(dataflow)
    assert [] == cycles_within(dataflow, set())
    assert [] == warnings(MIXED)


def test_a_cycle_that_nothing_starts_is_an_error() -> None:
    """It names the shortest way round, and each such cycle once."""
    text = """\
nodes:
  - {id: a, path: a.py, inputs: {x: b/x, y: c/x}, outputs: [x]}
  - {id: b, path: a.py, inputs: {x: a/x}, outputs: [x]}
  - {id: c, path: a.py, inputs: {x: b/x}, outputs: [x]}
  - {id: after, path: a.py, inputs: {x: c/x}}
  - {id: rt, operators: [
      {id: p, python: p.py, inputs: {x: rt/q/x}, outputs: [x]},
      {id: q, python: p.py, inputs: {x: rt/p/x}, outputs: [x]}]}
"""
    hint = "give one of them a timer or an input from outside, such as dora/timer/millis/100"
    assert [
        "f.yml:2:10: nothing starts the cycle a -> b -> a: each of them waits for another; " + hint,
        "f.yml:7:12: nothing starts the cycle rt/p -> rt/q -> rt/p: each of them waits for another;"
        f" {hint}",
    ] == errors(text)


@pytest.mark.parametrize(
    "starter",
    [
        "{id: s, path: s.py, outputs: [x]}",
        "{id: s, path: s.py, inputs: {t: dora/timer/secs/1}, outputs: [x]}",
        "{id: s, path: s.py, inputs: {l: dora/logs}, outputs: [x]}",
        "{id: s, path: dynamic, inputs: {a: a/x}, outputs: [x]}",
    ],
)
def test_one_starter_upstream_is_enough(starter: str) -> None:
    """A source, a timer, the logs, or a node that somebody else starts."""
    text = f"""\
nodes:
  - {starter}
  - {{id: a, path: a.py, inputs: {{x: b/x, s: s/x}}, outputs: [x]}}
  - {{id: b, path: a.py, inputs: {{x: a/x}}, outputs: [x]}}
"""
    assert [] == warnings(text)


def test_a_self_loop_is_legal_but_doubtful() -> None:
    """A node may send itself the first message; whoever waits for it is told."""
    text = """\
nodes:
  - {id: a, path: a.py, inputs: {x: a/x}, outputs: [x]}
  - {id: b, path: a.py, inputs: {x: a/x}}
"""
    assert [
        "f.yml:2:10: a hears only itself: it must send the first message unasked",
        "f.yml:3:10: b gets no message before something starts a -> a",
    ] == warnings(text)


def test_outputs_that_nobody_reads_are_a_warning() -> None:
    """One line for each sender, in any form of node."""
    text = """\
nodes:
  - {id: a, path: a.py, outputs: [x, y, z]}
  - {id: b, path: a.py, inputs: {y: a/y}, outputs: [o]}
  - {id: rt, operators: [{id: p, python: p.py, inputs: {x: a/y}, outputs: [q]}]}
  - {id: one, operator: {python: p.py, inputs: {x: a/y}, outputs: [r]}}
"""
    assert [
        "f.yml:2:10: nobody reads the outputs x, z of a",
        "f.yml:3:10: nobody reads the output o of b",
        "f.yml:4:31: nobody reads the output q of rt/p",
        "f.yml:5:10: nobody reads the output r of one",
    ] == warnings(text)


def test_names_that_are_no_outputs_are_a_warning() -> None:
    """In send_stdout_as, send_logs_as and output_rates."""
    text = """\
nodes:
  - {id: a, path: a.py, send_stdout_as: log, send_logs_as: logs,
     output_rates: {log: {hz: 1, bytes: 1}}}
  - {id: b, operator: {python: b.py, inputs: {t: dora/timer/secs/1}, send_stdout_as: out}}
"""
    assert [
        "f.yml:2:10: output_rates of a names 'log', which is not among its outputs",
        "f.yml:2:10: send_logs_as of a names 'logs', which is not among its outputs",
        "f.yml:2:10: send_stdout_as of a names 'log', which is not among its outputs",
        "f.yml:4:23: send_stdout_as of b names 'out', which is not among its outputs",
    ] == [line for line in warnings(text) if "has no effect" not in line]


def test_an_operator_without_inputs_is_a_warning() -> None:
    """It acts on events alone, and gets none."""
    text = "nodes:\n  - {id: rt, operators: [{id: p, python: p.py}]}\n"
    assert [
        "f.yml:2:31: the operator rt/p has no inputs: it never gets to run; "
        "give it an input, such as a timer"
    ] == warnings(text)


def test_what_no_scheduler_heeds_is_a_warning() -> None:
    """A priority among operators that take turns; an answer to deadlines that there are none of."""
    text = """\
nodes:
  - id: rt
    operators:
      - {id: a, python: a.py, priority: 3, inputs: {t: dora/timer/secs/1}}
      - {id: b, python: a.py, on_deadline_miss: skip, inputs: {t: dora/timer/secs/1}}
      - id: c
        python: a.py
        on_deadline_miss: skip
        inputs: {t: {source: dora/timer/secs/1, deadline: 1ms}}
"""
    assert [
        "f.yml:4:14: the priority of the operator a has no effect: rt calls its operators in "
        "turns; write `scheduler: priority` or `scheduler: edf` in the node",
        "f.yml:5:14: the operator b says what to do on_deadline_miss, and has no deadline; "
        "give it one, such as `deadline: 20ms`",
    ] == warnings(text)


def test_thousands_of_operators_are_checked_in_reasonable_time() -> None:
    """A chain of them, each feeding the next: no check takes a time that grows with its square."""
    count = 1500
    operators = "".join(
        f"  - {{id: op{i}, python: o.py, inputs: {{x: {'s/x' if i == 0 else f'op{i - 1}/x'}}},"
        " outputs: [x]}\n"
        for i in range(count)
    )
    text = f"nodes:\n- {{id: s, path: s.py, outputs: [x]}}\n- id: rt\n  operators:\n{operators}"
    loaded = loads(text, "f.yml")
    assert count == len(loaded.dataflow.nodes["rt"].operators)
    assert [f"f.yml:{count + 4}:10: nobody reads the output x of rt/op{count - 1}"] == [
        str(issue) for issue in loaded.warnings
    ]


def test_whoever_feeds_a_node_ranks_higher() -> None:
    """Several ways to one reader: the longest counts. Nodes that nobody reads are the lowest."""
    assert {"camera": 2, "rt": 1, "sink": 0} == ranks(loads(MIXED).dataflow)


def test_nodes_of_a_circle_rank_the_same() -> None:
    """Who feeds them ranks higher still, who hears them lower."""
    text = """\
nodes:
  - {id: view, path: v.py, inputs: {x: plan/x}}
  - {id: plan, path: p.py, inputs: {y: drive/y, t: dora/timer/secs/1}, outputs: [x]}
  - {id: drive, path: d.py, inputs: {x: plan/x, image: camera/image}, outputs: [y]}
  - {id: camera, path: c.py, inputs: {t: dora/timer/secs/1}, outputs: [image]}
"""
    assert {"view": 0, "plan": 1, "drive": 1, "camera": 2} == ranks(loads(text).dataflow)
