"""Operators in WebAssembly, written as text."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from wasmtime import wat2wasm

from dora.event import error_event, late_event
from dora.runtime.errors import OperatorError
from dora.runtime.metronome import TICK, Metronome, ticks_in
from dora.runtime.wasm import WasmLoader, WasmOperator
from dora.status import DoraStatus
from tests.dora.harness import wait_until
from tests.dora.runtime.suite import PROBES, Desk, LoaderSuite, config, message

# An operator of which only dora_on_event says something. Its event is at 1024.
MODULE = """
(module
  %s
  (memory (export "memory") 2)
  (func (export "dora_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dora_init") (result i32) (i32.const 0))
  (func (export "dora_drop"))
  (func (export "dora_on_event") (param $kind i32) (param i32 i32)
    (param $form i32) (param $form_length i32) (param $data i32) (param $length i32) (result i32)
    %s
    (i32.const 0)))
"""
SEND = '(import "dora" "send_output" (func $send (param i32 i32 i32 i32 i32 i32) (result i32)))'
FOREVER = "(loop $on (br $on))"
FOREVER_IF_DATA = f"(if (local.get $length) (then {FOREVER}))"


@pytest.fixture
def loader() -> WasmLoader:
    return WasmLoader()


@pytest.fixture
def probe() -> Path:
    return PROBES / "probe.wat"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.wasm"
    file.write_bytes(b"\0asm\2\0\0\0")
    return file


@pytest.fixture
def desk() -> Desk:
    return Desk()


Operator = Callable[..., WasmOperator]


@pytest.fixture
def operator(tmp_path: Path, desk: Desk, loader: WasmLoader) -> Iterator[Operator]:
    """Makes an operator whose dora_on_event is the text that is given."""
    made: list[WasmOperator] = []

    def make(body: str, imports: str = "", **options: Any) -> WasmOperator:
        file = tmp_path / f"own-{len(made)}.wat"
        file.write_text(MODULE % (imports, body))
        made.append(loader.load(config(file, **options), desk))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


class TestWasm(LoaderSuite):
    """What all kinds promise."""

    def test_values_keep_their_type(self, make: Callable[[], WasmOperator], desk: Desk) -> None:
        """Numbers, dates and texts; only what has no elements of a fixed width becomes IPC."""
        values: list[Any] = [
            pa.array([1.5, -2.0]),
            pa.array([1, None, 3]),
            pa.array(["a", "bc"]),
            pa.array([7], pa.timestamp("us")),
        ]
        got: list[Any] = []
        probe = make()
        for value in values:
            probe.on_event(message("echo", value), lambda *sent: got.append(sent[1]))
        assert values == got


def test_a_binary_is_loaded_as_its_text_is(tmp_path: Path, loader: WasmLoader, desk: Desk) -> None:
    """The form that compilers write."""
    file = tmp_path / "probe.wasm"
    file.write_bytes(wat2wasm((PROBES / "probe.wat").read_text()))
    instance = loader.load(config(file), desk)
    instance.on_event(message("echo", b"hello"), desk.send)
    instance.close()
    assert [("out", b"hello")] == desk.sent


def test_a_timer_brings_no_bytes(operator: Operator, desk: Desk) -> None:
    """And no type, as its value is null."""
    probe = operator(
        "(if (i32.or (local.get $form_length) (local.get $length)) (then (unreachable)))"
    )
    assert DoraStatus.CONTINUE == probe.on_event(message("tick", pa.nulls(0)), desk.send)


def test_a_late_message_has_a_kind_of_its_own(operator: Operator, desk: Desk) -> None:
    """Where the flow file asks for it; the rest is as in every message."""
    probe = operator(
        """(drop (call $send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                             (local.get $data) (local.get $length)))
           (if (i32.ne (local.get $kind) (i32.const 4)) (then (unreachable)))""",
        SEND,
    )
    probe.on_event(late_event(message("any", b"x"), 0.25), desk.send)
    assert [("", b"x")] == desk.sent


def test_an_error_around_an_operator_is_told(operator: Operator, desk: Desk) -> None:
    """Its text is the data of an event of kind 3."""
    probe = operator(
        """(drop (call $send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                             (local.get $data) (local.get $length)))
           (if (i32.ne (local.get $kind) (i32.const 3)) (then (unreachable)))""",
        SEND,
    )
    probe.on_event(error_event("the camera is gone"), desk.send)
    assert [("", b"the camera is gone")] == desk.sent


def test_a_call_that_runs_away_is_cut_off(operator: Operator, desk: Desk) -> None:
    """Others of the same module go on; the one itself has to be made anew."""
    probe, neighbour = (operator(FOREVER_IF_DATA, budget=0.05) for _ in range(2))
    with pytest.raises(OperatorError, match=r"operator probe: .*cut off.* longer than 0\.05 s"):
        probe.on_event(message("any", b"x"), desk.send)
    assert DoraStatus.CONTINUE == neighbour.on_event(message("any"), desk.send)
    with pytest.raises(OperatorError, match="an earlier call was cut off") as caught:
        probe.on_event(message("any"), desk.send)
    assert "restart_policy" in (caught.value.hint or "")


def test_a_call_that_runs_away_does_not_hold_up_other_threads(
    operator: Operator, desk: Desk
) -> None:
    """They run while it does."""
    probe, neighbour = operator(FOREVER, budget=0.5), operator("")
    outcome: list[Exception] = []

    def run() -> None:
        try:
            probe.on_event(message("any"), desk.send)
        except OperatorError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    served = 0
    while thread.is_alive():
        neighbour.on_event(message("any"), desk.send)
        served += 1
    thread.join()
    assert ["cut off" in str(error) for error in outcome] == [True]
    assert served > 1


def test_a_constructor_that_runs_away_is_cut_off(
    tmp_path: Path, loader: WasmLoader, desk: Desk
) -> None:
    """Also before dora_init: a module's start function is the operator's code."""
    file = tmp_path / "start.wat"
    text = (MODULE % ("", "")).rstrip().removesuffix(")")
    file.write_text(f"{text} (func $main {FOREVER}) (start $main))")
    with pytest.raises(OperatorError, match="cut off"):
        loader.load(config(file, budget=0.05), desk)


def test_time_in_the_runtime_does_not_count(operator: Operator, desk: Desk) -> None:
    """An operator is not cut off because the disk is slow."""
    probe = operator(
        """(drop (call $save (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
           (local.set $length (i32.const 1000))
           (loop $on
             (local.set $length (i32.sub (local.get $length) (i32.const 1)))
             (br_if $on (local.get $length)))""",
        '(import "dora" "save_state" (func $save (param i32 i32 i32 i32) (result i32)))',
        budget=0.05,
    )
    desk.save_state = lambda key, value: time.sleep(0.3)  # type: ignore[method-assign]
    assert DoraStatus.CONTINUE == probe.on_event(message("any"), desk.send)


def test_time_between_calls_to_the_runtime_counts(operator: Operator, desk: Desk) -> None:
    """Whoever calls it again and again is cut off all the same."""
    probe = operator(
        """(loop $on
             (drop (call $send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                               (i32.const 0) (i32.const 0)))
             (local.set $length (i32.const 100000))
             (loop $work
               (local.set $length (i32.sub (local.get $length) (i32.const 1)))
               (br_if $work (local.get $length)))
             (br $on))""",
        SEND,
        budget=0.05,
    )
    with pytest.raises(OperatorError, match="cut off"):
        probe.on_event(message("any"), lambda *_: None)


def test_memory_ends_at_its_limit(operator: Operator, desk: Desk) -> None:
    """More is refused to the operator, which can do without."""
    probe = operator("""
        (if (i32.eq (memory.grow (i32.const 900)) (i32.const -1)) (then (unreachable)))
        (if (i32.ne (memory.grow (i32.const 900)) (i32.const -1)) (then (unreachable)))
    """)
    assert DoraStatus.CONTINUE == probe.on_event(message("any"), desk.send)


def test_an_operator_may_be_given_more_or_less(operator: Operator, desk: Desk) -> None:
    """By `memory:` in the flow file."""
    grow = "(if (i32.eq (memory.grow (i32.const 30)) (i32.const -1)) (then (unreachable)))"
    assert DoraStatus.CONTINUE == operator(grow, memory=32 << 16).on_event(message("a"), desk.send)
    with pytest.raises(OperatorError, match="unreachable"):
        operator(grow, memory=31 << 16).on_event(message("a"), desk.send)


def test_a_module_that_needs_more_than_the_limit_is_refused(
    tmp_path: Path, loader: WasmLoader, desk: Desk
) -> None:
    """Before it runs."""
    file = tmp_path / "large.wat"
    file.write_text((MODULE % ("", "")).replace('"memory") 2', '"memory") 2000'))
    with pytest.raises(OperatorError, match=r"operator probe: .*memory"):
        loader.load(config(file), desk)


def test_an_event_for_which_there_is_no_memory_is_an_error(
    tmp_path: Path, loader: WasmLoader, desk: Desk
) -> None:
    """It says how much there is."""
    instance = loader.load(config(PROBES / "probe.wat"), desk)
    with pytest.raises(OperatorError, match="dora_alloc has no 70000009 bytes") as caught:
        instance.on_event(message("echo", bytes(70_000_000)), desk.send)
    assert "65536 KiB" in (caught.value.hint or "")
    instance.on_event(message("count"), desk.send)
    instance.close()
    assert [("out", b"\1")] == desk.sent


@pytest.mark.parametrize(
    "body",
    [
        "(drop (i32.load (i32.const 0x7ffffff0)))",
        "(unreachable)",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
    ],
)
def test_a_crash_is_an_error_of_that_operator(operator: Operator, desk: Desk, body: str) -> None:
    """What would end the process in C."""
    probe = operator(body)
    with pytest.raises(OperatorError, match="wasm trap"):
        probe.on_event(message("any"), desk.send)


@pytest.mark.parametrize(("pointer", "length"), [(131072, 1), (0, 131073), (-1, 1), (-1, -1)])
def test_pointers_out_of_its_memory_are_refused(
    operator: Operator, desk: Desk, pointer: int, length: int
) -> None:
    """Nothing of the runtime's own memory is read, and the call ends."""
    probe = operator(
        f"""(drop (call $send (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)
                              (i32.const {pointer}) (i32.const {length})))
            {FOREVER}""",
        SEND,
        budget=20.0,
    )
    with pytest.raises(OperatorError, match="outside of its 131072 bytes"):
        probe.on_event(message("any"), desk.send)
    assert [] == desk.sent


def test_memory_that_dora_alloc_invents_is_refused(
    tmp_path: Path, loader: WasmLoader, desk: Desk
) -> None:
    """The runtime writes nowhere else."""
    file = tmp_path / "liar.wat"
    file.write_text((MODULE % ("", "")).replace("(i32.const 1024)", "(i32.const -16)"))
    instance = loader.load(config(file), desk)
    with pytest.raises(OperatorError, match="dora_alloc returned memory"):
        instance.on_event(message("any", b"x"), desk.send)
    instance.close()


def test_what_the_runtime_refuses_is_logged_and_returned(operator: Operator, desk: Desk) -> None:
    """Here a type that does not exist, and state of which there is too much."""
    probe = operator(
        """(if (i32.ne (i32.const -1)
                       (call $send (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)
                                   (i32.const 0) (i32.const 1))) (then (unreachable)))
           (if (i32.ne (i32.const -1)
                       (call $save (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)))
             (then (unreachable)))""",
        SEND + '(import "dora" "save_state" (func $save (param i32 i32 i32 i32) (result i32)))'
        '(data (i32.const 0) "x")',
    )

    def refuse(key: str, value: bytes) -> None:
        raise ValueError("too much")

    desk.save_state = refuse  # type: ignore[method-assign]
    assert DoraStatus.CONTINUE == probe.on_event(message("any"), desk.send)
    assert [
        ("error", "send_output 'x': unknown form of value: 'x'"),
        ("error", "save_state: too much"),
    ] == desk.lines


def test_an_interrupt_passes_through(operator: Operator) -> None:
    """Ctrl-C while the operator calls back ends its call."""
    probe = operator(
        f"""(drop (call $send (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                              (i32.const 0) (i32.const 0)))
            {FOREVER}""",
        SEND,
        budget=20.0,
    )

    def send(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe.on_event(message("any"), send)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"dora_alloc"', '"alloc"', "does not export dora_alloc, a function of 1 i32"),
        ('(func (export "dora_drop"))', '(func (export "dora_drop") (param i64))', "its dora_drop"),
        ('(export "memory")', "", "does not export its memory"),
        (
            "(module",
            '(module (import "wasi_snapshot_preview1" "fd_write" (func (result i32)))',
            "it asks for wasi_snapshot_preview1.fd_write, which operators are not given",
        ),
        ("(module", '(module (import "dora" "fail" (func))', "its dora.fail is not a function of"),
        ("(module", "(modul", "no WebAssembly module"),
    ],
)
def test_a_module_that_is_no_operator_is_told_what_it_lacks(
    tmp_path: Path, loader: WasmLoader, desk: Desk, old: str, new: str, problem: str
) -> None:
    """All at once, before it runs."""
    file = tmp_path / "wrong.wat"
    file.write_text((MODULE % ("", "")).replace(old, new))
    with pytest.raises(OperatorError, match=f"operator probe: .*{problem}"):
        loader.load(config(file), desk)


def test_instances_are_small_and_quick_to_make(loader: WasmLoader, desk: Desk) -> None:
    """A thousand of one module, whose code is there once."""
    made = [loader.load(config(PROBES / "probe.wat"), desk) for _ in range(1000)]
    for instance in made:
        instance.on_event(message("count", np.zeros(10, np.uint8)), desk.send)
    assert [("out", b"\1")] * 1000 == desk.sent
    for instance in made:
        instance.close()


def test_a_metronome_rests_when_nobody_is_timed() -> None:
    """Its thread ends by itself and comes back for the next call."""
    ticked = threading.Event()
    metronome = Metronome(ticked.set, wait=lambda _: time.sleep(0.0001))
    for _ in range(2):
        metronome.begin()
        assert ticked.wait(30)
        thread = next(it for it in threading.enumerate() if it.name == "metronome")
        ticked.clear()
        metronome.end()
        wait_until(lambda thread=thread: not thread.is_alive(), "the end of the metronome")


def test_a_time_is_never_cut_short() -> None:
    """The first tick may come at once, so one more is waited for."""
    assert [2, 2, 3, 101] == [ticks_in(it) for it in (TICK / 10, TICK, TICK * 1.5, 1.0)]
