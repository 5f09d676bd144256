"""Values as bytes and back, for layers that cross processes. Node (>= 3.10).

A value travels as (form, buffer). The form is the name of a fixed-width type, then the buffer is
the plain elements, or `ipc`, then it is an Arrow stream of one column. pyarrow and numpy are only
imported when a value needs them: sending bytes or a numpy array builds no Arrow array.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, NamedTuple

IPC = "ipc"

# Plain elements on the wire; numpy's names where numpy has the type, Arrow's otherwise.
WIDTHS = {
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "date32": 4,
    "date64": 8,
    "time32[s]": 4,
    "time32[ms]": 4,
    "time64[us]": 8,
    "time64[ns]": 8,
    "timestamp[s]": 8,
    "timestamp[ms]": 8,
    "timestamp[us]": 8,
    "timestamp[ns]": 8,
    "duration[s]": 8,
    "duration[ms]": 8,
    "duration[us]": 8,
    "duration[ns]": 8,
}

_ARROW_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}
_ARROW_NAMES |= {"date32[day]": "date32", "date64[ms]": "date64"}

_MEMORYVIEW_FORMATS = {"b": "int", "h": "int", "i": "int", "l": "int", "q": "int", "n": "int"}
_MEMORYVIEW_FORMATS |= {"B": "uint", "H": "uint", "I": "uint", "L": "uint", "Q": "uint"}
_MEMORYVIEW_FORMATS |= {"N": "uint", "e": "float", "f": "float", "d": "float"}


class Encoded(NamedTuple):
    """`buffer` is bytes, bytearray, a contiguous memoryview of bytes, or a pyarrow Buffer.

    It may share memory with the value that it was made from.
    """

    form: str
    buffer: Any


def encode(value: Any) -> Encoded:
    """Raises TypeError, with what to do instead, for a value that no Arrow array can carry."""
    if isinstance(value, (bytes, bytearray)):
        return Encoded("uint8", value)
    if isinstance(value, memoryview):
        return _encode_memoryview(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _encode_numpy(numpy, value)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(value, pyarrow.Array):
        return _encode_arrow(value)
    raise TypeError(
        f"invalid data type {type(value).__name__}: must be bytes or an Arrow array "
        "(bytearray, memoryview and numpy arrays are taken too); "
        "wrap other values with pyarrow.array([...])"
    )


def decode(form: str, buffer: Any) -> Any:
    """The Arrow array; it keeps `buffer` alive and shares its memory.

    Raises ValueError for anything but what `encode` makes, as a faulty peer may send.
    """
    import pyarrow

    if form == IPC:
        return _decode_ipc(pyarrow, buffer)
    width = check(form, buffer)
    return pyarrow.Array.from_buffers(
        _arrow_type(form), len(buffer) // width, [None, pyarrow.py_buffer(buffer)], null_count=0
    )


def check(form: str, buffer: Any) -> int:
    """The width of one element of a plain form. Raises ValueError if `buffer` does not fit it."""
    return check_size(form, len(buffer))


def check_size(form: str, nbytes: int) -> int:
    """As `check`, by the buffer's size alone."""
    width = WIDTHS.get(form)
    if width is None:
        raise ValueError(f"unknown form of value: {form[:40]!r}")
    if nbytes % width:
        raise ValueError(f"{nbytes} bytes are no whole number of {form} elements")
    return width


def to_arrow(value: Any) -> Any:
    """The Arrow array that a receiver of `value` gets; shares memory. Raises like `encode`."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(value, pyarrow.Array):
        return value
    return decode(*encode(value))


def _encode_memoryview(value: memoryview) -> Encoded:
    if value.ndim != 1:
        raise TypeError(f"a memoryview of {value.ndim} dimensions; flatten it first")
    code = value.format.lstrip("@")
    if code in ("c", "?"):
        if code == "c":
            return Encoded("uint8", value.cast("B") if value.contiguous else value.tobytes())
        return _encode_arrow(_import_pyarrow().array(value.tolist(), _import_pyarrow().bool_()))
    kind = _MEMORYVIEW_FORMATS.get(code)
    if kind is None:
        raise TypeError(f"a memoryview of format {value.format!r} has no Arrow type")
    form = f"{kind}{value.itemsize * 8}"
    if not value.contiguous:
        return Encoded(form, value.tobytes())
    return Encoded(form, value if value.format == "B" else value.cast("B"))


def _encode_numpy(numpy: Any, value: Any) -> Encoded:
    if value.ndim != 1:
        raise TypeError(f"a numpy array of {value.ndim} dimensions; send array.ravel()")
    dtype = value.dtype
    if dtype.kind in "iuf" and dtype.itemsize <= 8:
        plain = numpy.ascontiguousarray(value, dtype=dtype.newbyteorder("="))
        # A view of bytes first: memoryview cannot cast numpy's float16 by itself.
        return Encoded(dtype.name, memoryview(plain.view(numpy.uint8)))
    pyarrow = _import_pyarrow()
    try:
        return _encode_arrow(pyarrow.array(value))
    except pyarrow.ArrowException as error:
        raise TypeError(f"a numpy array of {dtype} has no Arrow type: {error}") from error


def encode_plain(array: Any) -> Encoded | None:
    """An Arrow array as plain elements, sharing its memory; None if it needs IPC."""
    data_type = array.type
    form = _numbers().get(data_type.id)
    if form is None:
        form = str(data_type)
        form = _ARROW_NAMES.get(form, form)
    width = WIDTHS.get(form)
    if width is None or array.null_count:
        return None
    data = array.buffers()[1]
    if data is None:
        return Encoded(form, b"")
    return Encoded(form, data.slice(array.offset * width, len(array) * width))


def _encode_arrow(array: Any) -> Encoded:
    return encode_plain(array) or Encoded(IPC, _encode_ipc(array))


def _encode_ipc(array: Any) -> Any:
    pyarrow = _import_pyarrow()
    batch = pyarrow.RecordBatch.from_arrays([array], names=[""])
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _decode_ipc(pyarrow: Any, buffer: Any) -> Any:
    try:
        with pyarrow.ipc.open_stream(pyarrow.py_buffer(buffer)) as reader:
            batches = list(reader)
        if len(batches) != 1 or batches[0].num_columns != 1:
            raise ValueError("an Arrow stream of one batch with one column was expected")
        array = batches[0].column(0)
        # Offsets and lengths come from a peer: what they point to must be inside of the buffer.
        array.validate(full=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"not a valid Arrow stream: {error}") from error
    return array


@cache
def _arrow_type(form: str) -> Any:
    pyarrow = _import_pyarrow()
    name, _, unit = form.rstrip("]").partition("[")
    return getattr(pyarrow, name)(unit) if unit else getattr(pyarrow, name)()


@cache
def _numbers() -> dict[int, str]:
    """Arrow's number of each type that has no parameters: much quicker to ask for than its name."""
    pyarrow = _import_pyarrow()
    names = [name for name in WIDTHS if "[" not in name]
    return {getattr(pyarrow, name)().id: name for name in names}


def _import_pyarrow() -> Any:
    import pyarrow

    return pyarrow
