"""Operators in shared libraries, built by the C compiler that is there."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cffi import FFI

from dora.event import late_event, stop_event
from dora.runtime import c_abi
from dora.runtime.errors import OperatorError
from dora.runtime.shared_library import SharedLibraryLoader, SharedLibraryOperator
from dora.status import DoraStatus
from tests.dora.runtime.compiler import cc, shared_library
from tests.dora.runtime.suite import PROBES, Desk, LoaderSuite, config, message

# An operator of which only dora_on_event says something.
START = """
#include "operator_api.h"
%s
DoraInitResult_t dora_init_operator(void) { return (DoraInitResult_t){{NULL}, NULL}; }
DoraResult_t dora_drop_operator(void *context) { (void)context; return (DoraResult_t){NULL}; }
OnEventResult_t dora_on_event(RawEvent_t *event, const SendOutput_t *to, void *context) {
    OnEventResult_t answer = {{NULL}, DORA_STATUS_CONTINUE};
    (void)event; (void)to; (void)context;
"""
END = "    return answer;\n}\n"


@pytest.fixture
def loader() -> SharedLibraryLoader:
    return SharedLibraryLoader()


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_library(PROBES / "probe.c", tmp_path_factory.mktemp("c") / "libprobe.so")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    source = tmp_path / "broken.c"
    source.write_text("int dora_on_input(void) { return 0; }\n")
    return shared_library(source, tmp_path / "libbroken.so")


@pytest.fixture
def desk() -> Desk:
    return Desk()


Operator = Callable[..., SharedLibraryOperator]


@pytest.fixture
def operator(tmp_path: Path, desk: Desk, loader: SharedLibraryLoader) -> Iterator[Operator]:
    """Makes an operator whose dora_on_event is the text that is given."""
    made: list[SharedLibraryOperator] = []

    def make(body: str, before: str = "") -> SharedLibraryOperator:
        source = tmp_path / f"own-{len(made)}.c"
        source.write_text(START % before + body + END)
        library = shared_library(source, source.with_suffix(".so"))
        made.append(loader.load(config(library), desk))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


class TestSharedLibrary(LoaderSuite):
    """What all kinds promise."""


def test_the_layouts_are_those_of_the_header(tmp_path: Path) -> None:
    """Size of each struct and place of each field, as a compiler sees them."""
    ffi = c_abi.ffi
    names = ["Vec_uint8_t", "DoraResult_t", "DoraInitResult_t", "OnEventResult_t", "Metadata_t"]
    names += ["Input_t", "Output_t", "RawEvent_t", "DoraServices_t"]
    names += ["struct ArrowArray", "struct ArrowSchema"]
    lines = ['#include "operator_api.h"']
    for name in names:
        kind = ffi.typeof(name)
        lines.append(f'_Static_assert(sizeof({name}) == {ffi.sizeof(kind)}, "{name}");')
        lines += [
            f'_Static_assert(offsetof({name}, {field}) == {it.offset}, "{name}.{field}");'
            for field, it in kind.fields
        ]
    closure = "ArcDynFn1_DoraResult_Output_t"
    lines += [
        f'_Static_assert(offsetof({closure}, {field}) == {it.offset}, "{closure}.{field}");'
        for field, it in ffi.typeof("SendOutput_t").fields
    ]
    source = tmp_path / "layouts.c"
    source.write_text("\n".join(lines) + "\n")
    cc("-c", source, "-o", tmp_path / "layouts.o")


def test_the_layouts_are_those_of_dora() -> None:
    """As they were read off dora 1.1.0's own library, on machines with 64 bits."""
    ffi = c_abi.ffi
    places = {
        (kind, field): ffi.offsetof(kind, field)
        for kind, fields in {
            "Input_t": ("has_array", "array", "id", "metadata", "schema"),
            "Output_t": ("id", "metadata", "array", "schema"),
            "RawEvent_t": ("input", "input_closed", "stop", "error"),
            "OnEventResult_t": ("result", "status"),
        }.items()
        for field in fields
    }
    assert {
        ("Input_t", "has_array"): 0,
        ("Input_t", "array"): 8,
        ("Input_t", "id"): 0x58,
        ("Input_t", "metadata"): 0x70,
        ("Input_t", "schema"): 0x88,
        ("Output_t", "id"): 0,
        ("Output_t", "metadata"): 24,
        ("Output_t", "array"): 48,
        ("Output_t", "schema"): 128,
        ("RawEvent_t", "input"): 0,
        ("RawEvent_t", "input_closed"): 8,
        ("RawEvent_t", "stop"): 32,
        ("RawEvent_t", "error"): 40,
        ("OnEventResult_t", "result"): 0,
        ("OnEventResult_t", "status"): 8,
    } == places
    assert (208, 200) == (ffi.sizeof("Input_t"), ffi.sizeof("Output_t"))


@pytest.mark.parametrize("language", ["-std=c99", "-std=c11", "-xc++"])
def test_the_header_is_plain(tmp_path: Path, language: str) -> None:
    """For old and new C, and for C++; also in several files of one library."""
    source = tmp_path / "empty.c"
    source.write_text('#include "operator_api.h"\n')
    cc(language, "-Wpedantic", "-c", source, "-o", tmp_path / "empty.o")


def test_a_value_can_be_read_once_and_borrowed_before(operator: Operator, desk: Desk) -> None:
    """dora_read_data takes it; what was not read is given back after the call."""
    probe = operator("""
        size_t len;
        Vec_uint8_t first, second;
        const uint8_t *lent = dora_borrow_data(event->input, &len);
        if (lent == NULL || len != 2) answer.result = dora_error("nothing to borrow");
        first = dora_read_data(event->input);
        second = dora_read_data(event->input);
        if (first.len != 2 || second.ptr != NULL) answer.result = dora_error("not once");
        if (dora_borrow_data(event->input, &len) != NULL) answer.result = dora_error("still lent");
        dora_free_data(first);
    """)
    before = pa.total_allocated_bytes()
    value = pa.array([1, 2], pa.uint8())
    probe.on_event(message("any", value), desk.send)
    del value
    gc.collect()
    assert before == pa.total_allocated_bytes()


def test_values_that_are_no_bytes_are_read_as_arrow_arrays(operator: Operator, desk: Desk) -> None:
    """dora_read_data has nothing for them."""
    probe = operator("""
        const struct ArrowSchema *schema;
        const struct ArrowArray *array = dora_input_array(event->input, &schema);
        if (dora_read_data(event->input).ptr != NULL) answer.result = dora_error("no bytes");
        if (strcmp(schema->format, "g") == 0) {
            double sum = 0;
            for (int64_t i = 0; i < array->length; i++)
                sum += ((const double *)array->buffers[1])[array->offset + i];
            answer.result = dora_send_operator_output(to, "out", (uint8_t *)&sum, sizeof sum);
        }
    """)
    probe.on_event(message("any", [1.5, 2.5]), desk.send)
    probe.on_event(message("any", pa.nulls(0)), desk.send)
    probe.on_event(message("any", pa.array([1, None], pa.uint8())), desk.send)
    assert [("out", np.float64(4.0).tobytes())] == desk.sent


def test_an_array_is_sent_on_without_a_copy(operator: Operator) -> None:
    """The reader looks at the sender's memory, and gives it back when it is done."""
    probe = operator(
        """
        struct ArrowArray array;
        struct ArrowSchema schema;
        if (event->stop) {
            answer.result = dora_send_operator_output(to, "released", &released, 1);
            return answer;
        }
        memset(&array, 0, sizeof array);
        memset(&schema, 0, sizeof schema);
        buffers[1] = numbers;
        array.length = 3; array.n_buffers = 2; array.buffers = buffers; array.release = release;
        schema.format = "i"; schema.name = ""; schema.release = dora_release_bytes_type;
        answer.result = dora_send_operator_array(to, "out", &array, &schema);
        numbers[0] = 7;
        """,
        before="""
        static int32_t numbers[3] = {1, 2, 3};
        static const void *buffers[2];
        static uint8_t released;
        static void release(struct ArrowArray *array) { array->release = NULL; released += 1; }
        """,
    )
    got: list[list[int]] = []
    kept: list[Any] = []

    def send(output: str, value: Any, metadata: Any) -> None:
        got.append(value.to_pylist())
        kept.append(value)

    probe.on_event(message("any"), send)
    assert [7, 2, 3] == kept[0].to_pylist()
    probe.on_event(stop_event("MANUAL"), send)
    kept.clear()
    probe.on_event(stop_event("MANUAL"), send)
    assert [[1, 2, 3], [0], [1]] == got


def test_a_late_message_comes_with_an_error(operator: Operator, desk: Desk) -> None:
    """Where the flow file asks for it; operators that do not look at the error see a message."""
    probe = operator("""
        Vec_uint8_t data = dora_read_data(event->input);
        answer.result = dora_send_operator_output(to, "out", data.ptr, data.len);
        dora_free_data(data);
        if (event->error.ptr != NULL)
            answer.result = dora_send_operator_output(
                to, "late", event->error.ptr, event->error.len);
    """)
    probe.on_event(late_event(message("any", b"x"), 0.25), desk.send)
    probe.on_event(message("any", b"y"), desk.send)
    assert [("out", b"x"), ("late", b"late by 0.250000 s"), ("out", b"y")] == desk.sent


def test_trace_contexts_go_through(operator: Operator) -> None:
    """What dora's own library puts into an output's metadata, and reads from an input's."""
    probe = operator("""
        Output_t output;
        memset(&output, 0, sizeof output);
        output.id = dora_copied("out");
        output.metadata = event->input->metadata;
        output.metadata.open_telemetry_context.cap = 0;
        output.array = event->input->array;
        output.schema = event->input->schema;
        event->input->has_array = 0;
        event->input->schema.release = NULL;
        answer.result = to->send_output.call(to->send_output.env_ptr, output);
    """)
    got: list[Any] = []
    for metadata in ({"open_telemetry_context": "traceparent:00-1"}, {}):
        probe.on_event(message("any", b"x", **metadata), lambda *sent: got.append(sent))
    assert [{"open_telemetry_context": "traceparent:00-1"}, None] == [sent[2] for sent in got]


def test_what_sending_raises_is_an_error_in_c(operator: Operator) -> None:
    """C decides what becomes of it; here it hands it on."""
    probe = operator('answer.result = dora_send_operator_output(to, "out", NULL, 0);')

    def send(*_: Any) -> None:
        raise TypeError("not today")

    with pytest.raises(OperatorError, match="not today"):
        probe.on_event(message("any"), send)


def test_an_interrupt_passes_through_c(operator: Operator) -> None:
    """Ctrl-C while C calls back is not C's to keep."""
    probe = operator('dora_free_error(dora_send_operator_output(to, "out", NULL, 0));')

    def send(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe.on_event(message("any"), send)
    probe.on_event(message("any"), lambda *_: None)


def test_an_operator_sends_from_threads_of_its_own(operator: Operator, desk: Desk) -> None:
    """Until it is dropped; then it is told so."""
    probe = operator(
        """
        pthread_t thread;
        kept = *to;
        pthread_create(&thread, NULL, work, NULL);
        pthread_join(thread, NULL);
        """,
        before="""
        #include <pthread.h>
        static SendOutput_t kept;
        static DoraResult_t result;
        static void *work(void *nothing) {
            result = dora_send_operator_output(&kept, "out", (const uint8_t *)"x", 1);
            return nothing;
        }
        void *send_later(void) { return work(NULL) == NULL ? result.error : NULL; }
        """,
    )
    probe.on_event(message("any"), desk.send)
    assert [("out", b"x")] == desk.sent
    probe.close()
    ffi = FFI()
    ffi.cdef("typedef struct { uint8_t *ptr; size_t len, cap; } Text; Text *send_later(void);")
    error = ffi.dlopen(probe.file).send_later()
    assert b"this operator was dropped" == bytes(ffi.buffer(error.ptr, error.len))
    assert [("out", b"x")] == desk.sent


def test_services_are_for_the_thread_that_is_called(operator: Operator, desk: Desk) -> None:
    """The store of state is not asked by two threads at once."""
    probe = operator(
        """
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
        pthread_join(thread, NULL);
        answer.result = result;
        """,
        before="""
        #include <pthread.h>
        static const DoraServices_t *kept;
        static DoraResult_t result;
        DoraResult_t dora_set_services(void *context, const DoraServices_t *services) {
            (void)context;
            kept = services;
            return kept->kvs_write(kept->runtime, "own", (const uint8_t *)"x", 1);
        }
        static void *work(void *nothing) {
            result = kept->kvs_write(kept->runtime, "other", (const uint8_t *)"x", 1);
            return nothing;
        }
        """,
    )
    with pytest.raises(OperatorError, match="services are for the thread"):
        probe.on_event(message("any"), desk.send)
    assert {"own": b"x"} == desk.shared


def test_a_call_does_not_hold_up_other_threads(operator: Operator, desk: Desk) -> None:
    """Two operators that wait for one another in C both come back."""
    probe = operator(
        """
        __atomic_add_fetch(&here, 1, __ATOMIC_SEQ_CST);
        for (int i = 0; i < 30000 && __atomic_load_n(&here, __ATOMIC_SEQ_CST) < 2; i++)
            usleep(1000);
        if (here < 2) answer.result = dora_error("alone");
        """,
        before="#include <unistd.h>\nextern int usleep(unsigned);\nstatic int here;",
    )
    other = SharedLibraryLoader().load(config(probe.file, "other"), desk)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(it.on_event, message("any"), desk.send) for it in (probe, other)]
        assert [DoraStatus.CONTINUE] * 2 == [call.result() for call in calls]
    other.close()


def test_an_operator_that_cannot_be_made_says_why(
    tmp_path: Path, loader: SharedLibraryLoader, desk: Desk
) -> None:
    """In its own words, and it is not dropped, as nothing was made."""
    source = tmp_path / "failing.c"
    source.write_text("""
        #include "operator_api.h"
        DoraInitResult_t dora_init_operator(void) {
            return (DoraInitResult_t){dora_error("no camera"), NULL};
        }
        DoraResult_t dora_drop_operator(void *context) { (void)context; abort(); }
        OnEventResult_t dora_on_event(RawEvent_t *e, const SendOutput_t *s, void *c) {
            (void)e; (void)s; (void)c; abort();
        }
    """)
    library = shared_library(source, tmp_path / "libfailing.so")
    with pytest.raises(OperatorError, match=r"operator probe: .*dora_init_operator: no camera"):
        loader.load(config(library), desk)


def test_a_library_that_lacks_doras_functions_says_how_to_get_them(
    tmp_path: Path, loader: SharedLibraryLoader, desk: Desk
) -> None:
    """Built against dora's own header, and not linked with its library."""
    source = tmp_path / "unlinked.c"
    source.write_text("""
        extern char *dora_read_input_id(void *);
        char *dora_init_operator(void *input) { return dora_read_input_id(input); }
    """)
    library = shared_library(source, tmp_path / "libunlinked.so")
    with pytest.raises(OperatorError, match="undefined symbol: dora_read_input_id") as caught:
        loader.load(config(library), desk)
    assert "python -m dora.runtime.include" in (caught.value.hint or "")


def test_a_file_that_is_no_library_is_named(
    tmp_path: Path, loader: SharedLibraryLoader, desk: Desk
) -> None:
    """In place of what the linker says of it."""
    file = tmp_path / "libtext.so"
    file.write_text("#!/bin/sh\n")
    with pytest.raises(OperatorError, match=r"libtext\.so is no shared library"):
        loader.load(config(file), desk)


def test_a_library_for_other_machines_is_told_as_such(
    tmp_path: Path, probe: Path, loader: SharedLibraryLoader, desk: Desk
) -> None:
    """The linker says that there is no such file."""
    content = bytearray(probe.read_bytes())
    content[18:20] = (243).to_bytes(2, sys.byteorder)
    file = tmp_path / "libother.so"
    file.write_bytes(content)
    with pytest.raises(OperatorError, match="is built for riscv, and this process is "):
        loader.load(config(file), desk)


def test_memory_does_not_grow(operator: Operator) -> None:
    """Neither by inputs nor by outputs nor by errors; a leak of one message would be 100 MB."""
    probe = operator("""
        Vec_uint8_t data = dora_read_data(event->input);
        DoraResult_t failed = dora_send_operator_output(to, "out", data.ptr, data.len);
        dora_free_data(data);
        dora_free_error(failed);
    """)

    def send(output: str, value: Any, metadata: Any) -> None:
        raise ValueError("x" * 100_000)

    value = bytes(100_000)
    for _ in range(50):
        probe.on_event(message("any", value), send)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        probe.on_event(message("any", value), send)
    assert 50_000 > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
