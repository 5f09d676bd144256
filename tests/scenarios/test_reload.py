"""Changed operators of a running runtime: deployed, refused, rolled back; its process stays."""

from __future__ import annotations

from pathlib import Path

from tests.scenarios.fleet import Fleet, wait_until, write_flow

NAME = "reloading"
COUNTER = """
import sys

from dora import DoraStatus

class Operator:
    def __init__(self):
        self.count = 0

    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            self.count += 1
            # In one piece: the two threads' lines must not run into each other.
            sys.stdout.write(f"VERSION {dora_event['id']} {self.count}\\n")
        return DoraStatus.CONTINUE
"""
FLOW = """\
nodes:
  - id: rt
    operators:
      - {id: a, python: a.py, inputs: {left: dora/timer/millis/100}}
      - {id: b, python: b.py, thread: true, inputs: {right: dora/timer/millis/100}}
    deploy: {machine: base}
"""


def test_a_changed_operator_is_swapped_in_its_running_runtime(
    embedded: Fleet, tmp_path: Path
) -> None:
    """Its attributes are carried over and its neighbour's process and counts go on; code that
    cannot be loaded rolls back, and a rollback brings the old code back."""
    first = {name: COUNTER.replace("VERSION", f"{name[0]} one") for name in ("a.py", "b.py")}
    flow = write_flow(tmp_path / NAME, first, FLOW)
    embedded.deploy(flow)
    wait_until(lambda: _last(embedded, "a one left") > 3, "calls of the first version")
    pids = embedded.pids()

    (flow.parent / "a.py").write_text(COUNTER.replace("VERSION", "a two"))
    planned = embedded.json("plan", flow)
    assert ["reload"] == [it["action"] for row in planned["machines"] for it in row["changes"]]
    embedded.deploy(flow)
    wait_until(lambda: _last(embedded, "a two left") > 3, "calls of the second version")
    numbers = _numbers(embedded, "a one left") + _numbers(embedded, "a two left")
    assert list(range(1, len(numbers) + 1)) == numbers
    assert pids == embedded.pids()

    (flow.parent / "b.py").write_text('raise RuntimeError("no such camera")\n')
    failed = embedded.deploy(flow, code=5)
    assert "rolled-back" == failed["outcome"].replace("_", "-").replace(" ", "-")
    before = _last(embedded, "b one right")
    wait_until(lambda: _last(embedded, "b one right") > before, "calls of the version before")
    assert pids == embedded.pids()

    embedded.dora("reload", "rt/a")
    embedded.dora("reload", "rt/nobody", code=1)
    before = len(_numbers(embedded, "a one left"))
    embedded.dora("rollback")
    wait_until(lambda: len(_numbers(embedded, "a one left")) > before, "the first version again")
    assert list(range(1, _last(embedded, "b one right") + 1)) == _numbers(embedded, "b one right")
    assert pids == embedded.pids()
    embedded.dora("stop")


def _numbers(fleet: Fleet, what: str) -> list[int]:
    """Of the calls, from the log as it lies on the machine."""
    log = fleet.home / f"data/dora/embedded/base/.local/share/dora/logs/{NAME}/rt.log"
    lines = log.read_text().splitlines()
    return [int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(what)]


def _last(fleet: Fleet, what: str) -> int:
    return max(_numbers(fleet, what), default=0)
