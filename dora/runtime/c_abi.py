"""The C side of operators in shared libraries: layouts, and who owns which memory. Node (>= 3.10).

cffi lives here and in `shared_library`. The text below says what include/operator_types.h says; a
test compares sizes and offsets with what a compiler makes of the header. Memory crosses with
libc's malloc and free, as Rust's default allocator does it too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cffi import FFI

ffi: Any = FFI()
ffi.cdef("""
    typedef struct { uint8_t *ptr; size_t len; size_t cap; } Vec_uint8_t;
    typedef struct { Vec_uint8_t *error; } DoraResult_t;
    typedef struct { DoraResult_t result; void *operator_context; } DoraInitResult_t;
    typedef struct { DoraResult_t result; uint8_t status; } OnEventResult_t;

    struct ArrowSchema {
        const char *format; const char *name; const char *metadata;
        int64_t flags; int64_t n_children;
        struct ArrowSchema **children; struct ArrowSchema *dictionary;
        void (*release)(struct ArrowSchema *); void *private_data;
    };
    struct ArrowArray {
        int64_t length; int64_t null_count; int64_t offset; int64_t n_buffers; int64_t n_children;
        const void **buffers; struct ArrowArray **children; struct ArrowArray *dictionary;
        void (*release)(struct ArrowArray *); void *private_data;
    };

    typedef struct { Vec_uint8_t open_telemetry_context; } Metadata_t;
    typedef struct {
        uint64_t has_array; struct ArrowArray array; Vec_uint8_t id; Metadata_t metadata;
        struct ArrowSchema schema;
    } Input_t;
    typedef struct {
        Vec_uint8_t id; Metadata_t metadata; struct ArrowArray array; struct ArrowSchema schema;
    } Output_t;
    typedef struct {
        Input_t *input; Vec_uint8_t input_closed; bool stop; Vec_uint8_t error;
    } RawEvent_t;
    typedef struct {
        void *env_ptr; DoraResult_t (*call)(void *, Output_t);
        void (*release)(void *); void (*retain)(void *);
    } SendOutput_t;
    typedef struct {
        void *runtime;
        DoraResult_t (*save_state)(void *, const char *, const uint8_t *, size_t);
        DoraResult_t (*kvs_write)(void *, const char *, const uint8_t *, size_t);
        DoraResult_t (*kvs_read)(void *, const char *, Vec_uint8_t *);
        DoraResult_t (*log)(void *, const char *, const char *);
    } DoraServices_t;

    DoraInitResult_t dora_init_operator(void);
    DoraResult_t dora_drop_operator(void *);
    OnEventResult_t dora_on_event(RawEvent_t *, const SendOutput_t *, void *);
    DoraResult_t dora_set_services(void *, const DoraServices_t *);
    DoraResult_t dora_restore_state(void *, const char *, const uint8_t *, size_t);

    void *malloc(size_t);
    void free(void *);
    extern void *stdout;
    int setvbuf(void *, char *, int, size_t);
""")

_libc: Any = ffi.dlopen(None)
_LINE_BUFFERED = 1  # _IOLBF, of every Linux

_nothing = ffi.new("uint8_t[1]")


def line_buffer_stdout() -> None:
    """What operators print appears in the log line by line, not when 4 KiB have come together."""
    _libc.setvbuf(_libc.stdout, ffi.NULL, _LINE_BUFFERED, 0)


@lru_cache(maxsize=4096)
def _kept(text: str) -> tuple[Any, int]:
    encoded = text.encode()
    return ffi.new("uint8_t[]", encoded + b"\0"), len(encoded)


def lend_text(vector: Any, text: str) -> Any:
    """Points `vector` at a NUL-terminated copy of `text`; returns what the caller has to keep."""
    memory, length = _kept(text)
    vector.ptr, vector.len, vector.cap = memory, length, 0
    return memory


def lend_nothing(vector: Any) -> None:
    """An empty vector that Rust also takes for one: its pointer is never NULL."""
    vector.ptr, vector.len, vector.cap = _nothing, 0, 0


def clear(vector: Any) -> None:
    vector.ptr, vector.len, vector.cap = ffi.NULL, 0, 0


def give_bytes(vector: Any, data: bytes) -> None:
    """A copy for the other side, which frees it. Raises MemoryError."""
    vector.ptr = _allocate(max(1, len(data)))
    ffi.memmove(vector.ptr, data, len(data))
    vector.len, vector.cap = len(data), max(1, len(data))


def take_text(vector: Any) -> str:
    """The text of a vector that was handed over; its memory is given back."""
    if vector.ptr == ffi.NULL:
        return ""
    text = bytes(ffi.buffer(vector.ptr, vector.len)).decode(errors="replace")
    if vector.cap:
        _libc.free(vector.ptr)
    return text


def take_error(result: Any) -> str | None:
    """The text of a failed result, its memory given back; None for a success."""
    if result.error == ffi.NULL:
        return None
    text = take_text(result.error[0])
    _libc.free(result.error)
    return text


def give_error(text: str) -> Any:
    """A failed result for the other side, which frees it. Raises MemoryError."""
    result = ffi.new("DoraResult_t *")
    result.error = ffi.cast("Vec_uint8_t *", _allocate(ffi.sizeof("Vec_uint8_t")))
    give_bytes(result.error[0], text.encode(errors="replace"))
    return result[0]


SUCCESS = ffi.new("DoraResult_t *")[0]


def address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _allocate(size: int) -> Any:
    memory = _libc.malloc(size)
    if memory == ffi.NULL:
        raise MemoryError(f"no {size} bytes for an operator")
    return memory
