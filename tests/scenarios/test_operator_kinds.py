"""Operators in C, WebAssembly and Python in one process: deployed, crashed, and as examples."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dora.runtime.compiler import shared_library
from tests.scenarios.fleet import Fleet, alive, wait_until, write_flow

EXAMPLES = Path(__file__).parents[2] / "examples"

# Dies of a segmentation fault once there is a file of that name.
FRAGILE = """
#include <unistd.h>

#include "operator_api.h"

DoraInitResult_t dora_init_operator(void) { return (DoraInitResult_t){{NULL}, NULL}; }
DoraResult_t dora_drop_operator(void *context) { (void)context; return (DoraResult_t){NULL}; }
OnEventResult_t dora_on_event(RawEvent_t *event, const SendOutput_t *to, void *context) {
    OnEventResult_t answer = {{NULL}, DORA_STATUS_CONTINUE};
    (void)context;
    if (unlink("crash-now") == 0) *(volatile int *)(uintptr_t)1 = 1;
    if (event->input != NULL)
        answer.result = dora_send_operator_output(to, "word", (const uint8_t *)"from c", 6);
    return answer;
}
"""
STEADY = """
from dora import DoraStatus

class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            send_output("word", dora_event["value"])
        return DoraStatus.CONTINUE
"""
SHOW = """
from dora import Node
for event in Node():
    if event["type"] == "INPUT":
        print(event["id"], event["value"].to_numpy().tobytes().decode(), flush=True)
"""
FLOW = """\
nodes:
  - id: rt
    restart_policy: on-failure
    operators:
      - {id: c, shared-library: fragile, inputs: {t: dora/timer/millis/50}, outputs: [word]}
      - {id: wasm, wasm: upper.wat, inputs: {word: c/word}, outputs: [word]}
      - {id: python, python: steady.py, inputs: {word: wasm/word}, outputs: [word]}
    deploy: {machine: base}
  - id: show
    path: show.py
    inputs: {c: rt/c/word, python: rt/python/word}
    deploy: {machine: base}
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    """Through all three kinds, from C to WebAssembly to Python."""
    file = write_flow(tmp_path / "kinds", {"steady.py": STEADY, "show.py": SHOW}, FLOW)
    (file.parent / "fragile.c").write_text(FRAGILE)
    shared_library(file.parent / "fragile.c", file.parent / "libfragile.so")
    shutil.copy(EXAMPLES / "wasm-operator" / "upper.wat", file.parent)
    return file


def test_a_segmentation_fault_ends_its_runtime_alone(embedded: Fleet, flow: Path) -> None:
    """All kinds are deployed with what they need; the supervisor brings the runtime back, and who
    listens to it goes on."""
    embedded.deploy(flow)
    wait_until(lambda: {"c from c", "python FROM C"} <= set(embedded.lines("show")), "all kinds")
    before = embedded.nodes()

    folder = embedded.home / "data/dora/embedded/base/.local/share/dora/state/kinds/rt"
    (folder / "crash-now").touch()
    wait_until(lambda: not alive(before["rt"]["pid"]), "the crash")
    wait_until(lambda: embedded.nodes()["rt"]["state"] == "running", "the runtime to be back")
    said = len(embedded.lines("show"))
    wait_until(lambda: len(embedded.lines("show")) > said + 3, "messages of the new process")

    after = embedded.nodes()
    assert 1 == after["rt"]["restarts"]
    assert (before["show"]["pid"], 0) == (after["show"]["pid"], after["show"]["restarts"])


@pytest.mark.parametrize(
    ("example", "last"), [("c-operator", "count 10: tick 10: again"), ("wasm-operator", "AGAIN")]
)
def test_the_examples_run(tmp_path: Path, example: str, last: str) -> None:
    """As their READMEs tell."""
    laptop = Fleet(tmp_path, tmp_path / "machines.yml", cache=tmp_path / "cache")
    folder = tmp_path / example
    shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("build"))
    if example == "c-operator":
        (folder / "build").mkdir()
        shared_library(folder / "counter.c", folder / "build" / "libcounter.so")
    said = laptop.dora("run", "--stop-after", "60s", folder / "flow.yml").stdout
    assert [f"show {last}"] == [line for line in said.splitlines() if "show" in line][-1:]
