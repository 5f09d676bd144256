"""Operators that fail: alone, for good, at once, again; in runtimes that run."""

from __future__ import annotations

from tests.dora.runtime.flows import COUNT, PASS_ON, SHOW, ran
from tests.scenarios.fleet import Fleet

FRAGILE = """
from dora import DoraStatus
class Operator:
    def __init__(self):
        self.state = {}
        print("made")
    def restore_state(self, state):
        self.state = dict(state)
        print("restored", sorted(self.state))
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            number = dora_event["value"][0].as_py()
            if number in (5, 7):
                raise ZeroDivisionError(f"no {number}")
            self.save_state("last", str(number).encode())
            send_output("n", dora_event["value"])
        return DoraStatus.CONTINUE
"""


STEADY = PASS_ON.replace("print(dora_event", "pass # print(dora_event")


BESIDE = """\
nodes:
  - {{id: count, path: count.py, outputs: [n]}}
  - id: rt
    operators:
      - {{id: fragile, python: fragile.py, inputs: {{n: {of_count}}}, outputs: [n], {policy}}}
      - {{id: steady, python: steady.py, inputs: {{n: {of_count}}}, outputs: [n]}}
      - {{id: after, python: steady.py, inputs: {{n: {of_fragile}}}, outputs: [n]}}
  - {{id: a, path: show.py, inputs: {{n: {{source: rt/steady/n, queue_size: 30}}}}}}
  - {{id: b, path: show.py, inputs: {{n: {{source: rt/after/n, queue_size: 30}}}}}}
"""


ROOM = {
    "of_count": "{source: count/n, queue_size: 30}",
    "of_fragile": "{source: fragile/n, queue_size: 30}",
}


FILES = {"count.py": COUNT, "show.py": SHOW, "steady.py": STEADY, "fragile.py": FRAGILE}


def test_a_failed_operator_comes_back_alone(laptop: Fleet) -> None:
    """Its traceback is told with its name; its state is restored; it loses what made it fail, its
    neighbours lose nothing."""
    lines, _ = ran(laptop, FILES, BESIDE.format(**ROOM, policy="restart_policy: on-failure"))

    rt = "\n".join(lines["rt"])
    assert [f"INPUT n [{i}]" for i in range(20)] == lines["a"][:20]
    assert [f"INPUT n [{i}]" for i in range(20) if i not in (5, 7)] == lines["b"][:18]
    assert 3 == rt.count("made")
    assert 2 == rt.count("restored ['last']")
    assert "operator fragile failed; it is started again in 0 s" in rt
    assert 'fragile.py", line 14, in on_event' in rt
    assert "dora/runtime" not in rt
    assert "ZeroDivisionError: no 7" in rt


def test_an_operator_that_failed_for_good_closes_its_outputs(laptop: Fleet) -> None:
    """The others go on to their end; the runtime's exit code tells of it."""
    flow = BESIDE.format(**ROOM, policy="restart_policy: never")
    lines, done = ran(laptop, FILES, flow, code=1)

    assert [f"INPUT n [{i}]" for i in range(20)] == lines["a"][:20]
    assert [*(f"INPUT n [{i}]" for i in range(5)), "INPUT_CLOSED n n"] == lines["b"][:6]
    assert "node rt exited with code 1" in done.stderr


CLUMSY = r"""
from dora import DoraStatus
class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT_CLOSED":
            print("closed\n", end="")  # at once: threads share stdout
        if dora_event["type"] == "INPUT":
            number = dora_event["metadata"]["i"]
            if number % 10 == 7:
                raise ZeroDivisionError(f"no {number}")
            send_output("n", dora_event["value"], dora_event["metadata"])
        return DoraStatus.CONTINUE
"""


def test_replicas_of_an_operator_fail_alone(laptop: Fleet) -> None:
    """Only what one was called with is lost; readers see one output, which closes when all have
    ended, in the process and outside of it."""
    lines, _ = ran(
        laptop,
        {"count.py": COUNT, "show.py": SHOW, "clumsy.py": CLUMSY, "pass.py": PASS_ON},
        """\
nodes:
  - {id: count, path: count.py, outputs: [n]}
  - id: rt
    operators:
      - id: op
        python: clumsy.py
        thread: true
        replicas: 3
        restart_policy: on-failure
        inputs: {n: {source: count/n, queue_size: 30}}
        outputs: [n]
      - {id: after, python: pass.py, inputs: {n: {source: op/n, queue_size: 30}}, outputs: [n]}
  - {id: a, path: show.py, inputs: {n: {source: rt/op/n, queue_size: 30}}}
  - {id: b, path: show.py, inputs: {n: {source: rt/after/n, queue_size: 30}}}
""",
    )

    expected = {f"INPUT n [{i}]" for i in range(20) if i not in (7, 17)}
    for reader in ("a", "b"):
        assert expected == set(lines[reader][:18])
        assert ["INPUT_CLOSED n n", "STOP ALL_INPUTS_CLOSED ALL_INPUTS_CLOSED"] == lines[reader][
            18:
        ]
    assert 3 == lines["rt"].count("closed")
    assert "operator op." in "\n".join(lines["rt"])


def test_code_that_cannot_be_loaded_is_told_at_once(laptop: Fleet) -> None:
    """All such files, each once, with what to do; nothing of the runtime starts."""
    lines, _ = ran(
        laptop,
        {
            "a.py": "import not_installed\n",
            "b.py": "class Operatr:\n    pass\n",
            "c.py": "print('made')\n" + PASS_ON,
        },
        """\
nodes:
  - id: rt
    operators:
      - {id: a, python: a.py, inputs: {t: dora/timer/millis/10}}
      - {id: a2, python: a.py, inputs: {t: dora/timer/millis/10}}
      - {id: b, python: b.py, inputs: {t: dora/timer/millis/10}}
      - {id: c, python: c.py, inputs: {t: dora/timer/millis/10}}
""",
        code=1,
    )

    rt = "\n".join(lines["rt"])
    assert 1 == rt.count("a.py cannot be loaded: ModuleNotFoundError: No module named")
    assert "name the package in the node's `requirements:`" in rt
    assert "b.py has no class Operator" in rt
    assert "INPUT" not in rt


def test_a_status_that_is_none_is_a_failure(laptop: Fleet) -> None:
    """As dora has it: an operator that returns nothing is broken, and is told how to mend it."""
    lines, _ = ran(
        laptop,
        {"op.py": "class Operator:\n    def on_event(self, event, send):\n        pass\n"},
        """\
nodes:
  - {id: rt, operator: {python: op.py, inputs: {t: dora/timer/millis/10}}}
""",
        code=1,
    )

    assert any("on_event must return a DoraStatus, not None" in it for it in lines["rt"])
