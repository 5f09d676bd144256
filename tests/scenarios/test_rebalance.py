"""A node that runs where it sends too much moves to where it does not, and nothing else is lost."""

from __future__ import annotations

from pathlib import Path

from tests.scenarios.fleet import Fleet, wait_until, write_flow

CAMERA = """
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT":
        node.send_output("frames", b"x" * 20_000)
"""
DETECTOR = """
from dora import Node
node = Node()
for event in node:
    if event["type"] == "INPUT":
        node.send_output("boxes", b"x" * 16)
"""
PLOT = """
from dora import Node
for event in Node():
    if event["type"] == "INPUT":
        print("boxes", flush=True)
"""
FLOW = """
nodes:
  - {{id: camera, path: camera.py, inputs: {{tick: dora/timer/hz/20}}, outputs: [frames],
     deploy: {{machine: rover}}}}
  - {{id: detector, path: detector.py, inputs: {{image: camera/frames}}, outputs: [boxes],
     deploy: {{{where}}}}}
  - {{id: plot, path: plot.py, inputs: {{boxes: detector/boxes}}, deploy: {{machine: base}}}}
  - {{id: bystander, path: plot.py, inputs: {{tick: dora/timer/hz/1}}, deploy: {{machine: rover}}}}
"""


def test_a_node_moves_to_where_it_sends_less(embedded: Fleet, tmp_path: Path) -> None:
    """What it would bring is measured and shown; nothing moves without --yes; then only what moves
    is started anew."""
    scripts = {"camera.py": CAMERA, "detector.py": DETECTOR, "plot.py": PLOT}
    flow = write_flow(tmp_path / "moving", scripts, FLOW.format(where="machine: base"))
    name = ("--name", "moving")
    assert "deployed" == embedded.deploy(flow, *name)["outcome"]
    flow.write_text(FLOW.format(where=""))
    wait_until(lambda: embedded.nodes("moving")["camera"]["sent"], "frames")

    plan = embedded.json("plan", flow, *name, "--explain")
    assert not plan["changes"]  # it stays
    detector = plan["explanation"]["nodes"][1]
    assert ["rover", True] == [detector["others"][0][key] for key in ("machine", "possible")]

    before = embedded.pids()
    shown = embedded.json("rebalance", flow, *name, "--watch", "2")
    assert shown["worthwhile"]
    assert [{"node": "detector", "from": "base", "to": "rover"}] == shown["moves"]
    frames = shown["edges"][0]
    assert ("camera/frames", "measured", 20_000) == (
        frames["from"],
        frames["rate_from"],
        frames["bytes"],
    )
    assert frames["now"]["bytes_per_second"] > 50_000
    assert [] == frames["after"]["to"]
    assert before == embedded.pids()

    done = embedded.json("rebalance", flow, *name, "--yes", "--watch", "2", "--window", "0.5")
    assert "deployed" == done["outcome"]
    assert "rover" == embedded.nodes("moving")["detector"]["machine"]
    after = embedded.pids()
    assert {**before, "detector@base": 0} == {
        **{it: pid for it, pid in after.items() if it != "detector@rover"},
        "detector@base": 0,
    }
    boxes = embedded.nodes("moving")["plot"]["received"]
    wait_until(lambda: embedded.nodes("moving")["plot"]["received"] > boxes, "boxes again")
