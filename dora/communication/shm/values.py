"""How a value lies in a slot, and how an Arrow array is made of it again. Node (>= 3.10).

Plain elements where `dora.arrow` has a form for them. Other Arrow arrays are an IPC record batch
whose schema is written once into the arena, or a whole IPC stream: written straight into the slot
where it is large, and for types with dictionaries, which batches alone cannot carry.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from dora import arrow

# A form in a record: 0 none, 1 a stream, 16.. plain elements, 256.. where the schema lies, in
# units of ALIGNMENT. Order and numbers are what two processes agree on: append only.
STREAM = 1
FIRST_PLAIN = 16
FIRST_SCHEMA = 256
PLAIN = tuple(arrow.WIDTHS)
PLAIN_FORMS = {name: FIRST_PLAIN + number for number, name in enumerate(PLAIN)}
WIDTHS = {PLAIN_FORMS[name]: width for name, width in arrow.WIDTHS.items()}
UINT8 = PLAIN_FORMS["uint8"]

_LARGE = 32 * 1024  # from here on a stream is written straight into the slot: one copy less
_MOST_SCHEMAS = 256  # each takes memory for good; later types travel as streams
_SCHEMA_LIMIT = 1 << 20


class Packed(NamedTuple):
    """`length` bytes for a slot: copied from `buffer`, or else written by `write`."""

    form: int
    length: int
    buffer: Any
    write: Callable[[memoryview], None] | None = None


# As Packed(...), but without a step in Python: this is done for every message.
_packed: Callable[[type[Packed], tuple[Any, ...]], Packed] = tuple.__new__


class Packer:
    """`store` puts a schema into the arena for good and returns its form, or None if it is full."""

    def __init__(self, store: Callable[[bytes], int | None]) -> None:
        self._store = store
        self._schemas: dict[Any, tuple[int, Any]] = {}  # type -> form, schema
        self.dtypes: dict[Any, int] = {}  # numpy's types that lie as Arrow has them -> form
        self.ndarray: type | None = None  # numpy's, once one was sent
        # Arrow's plain arrays -> form, width; width 0 tells a buffer of bytes
        self.classes: dict[type, tuple[int, int]] = {bytes: (UINT8, 0)}

    def pack(self, value: Any) -> Packed:
        """Shares memory with `value`. Raises TypeError for what no Arrow array can carry."""
        kind = type(value)
        if kind is self.ndarray:
            form = self.dtypes.get(value.dtype)
            if form is not None and value.ndim == 1 and value.flags.c_contiguous:
                return _packed(Packed, (form, value.nbytes, value, None))
            return self._pack_numpy(value)
        if kind is bytes:
            return Packed(UINT8, len(value), value)
        plain = self.classes.get(kind)
        if plain is not None:
            form, width = plain
            validity, data = value.buffers()
            length = len(value) * width
            if validity is None and data is not None and data.size == length:
                return _packed(Packed, (form, length, data, None))
        return self._pack_other(kind, value)

    def _pack_other(self, kind: type, value: Any) -> Packed:
        numpy = sys.modules.get("numpy")
        if numpy is not None and kind is numpy.ndarray:
            self.ndarray = kind
            return self._pack_numpy(value)
        pyarrow = sys.modules.get("pyarrow")
        if pyarrow is not None and isinstance(value, pyarrow.Array):
            return self._pack_arrow(pyarrow, value)
        name, buffer = arrow.encode(value)
        if name == arrow.IPC:
            return Packed(STREAM, len(buffer), buffer)
        return Packed(PLAIN_FORMS[name], len(buffer), buffer)

    def _pack_arrow(self, pyarrow: Any, value: Any) -> Packed:
        plain = arrow.encode_plain(value)
        if plain is None:
            return self._pack_array(pyarrow, value)
        name, buffer = plain
        form = PLAIN_FORMS[name]
        if "[" not in name and type(value).__module__ == "pyarrow.lib":  # one type for the class
            self.classes[type(value)] = form, WIDTHS[form]
        return Packed(form, len(buffer), buffer)

    def _pack_numpy(self, value: Any) -> Packed:
        dtype = value.dtype
        name, buffer = arrow.encode(value)
        form = PLAIN_FORMS.get(name)
        if form is None:  # of a type that Arrow lays out differently
            return Packed(STREAM, len(buffer), buffer)
        if dtype.isnative and dtype.name == name:
            self.dtypes[dtype] = form
        return Packed(form, len(buffer), buffer)

    def _pack_array(self, pyarrow: Any, array: Any) -> Packed:
        form, schema = self._schema(pyarrow, array.type)
        if schema is None:
            schema = pyarrow.schema([("", array.type)])
        batch = pyarrow.RecordBatch.from_arrays([array], schema=schema)
        if form != STREAM and batch.nbytes <= _LARGE:
            buffer = batch.serialize()
            return Packed(form, buffer.size, buffer)
        counter = pyarrow.MockOutputStream()
        _write_stream(pyarrow, counter, batch)

        def write(place: memoryview) -> None:
            _write_stream(pyarrow, pyarrow.FixedSizeBufferWriter(pyarrow.py_buffer(place)), batch)

        return Packed(STREAM, counter.size(), None, write)

    def _schema(self, pyarrow: Any, data_type: Any) -> tuple[int, Any]:
        try:
            known = self._schemas.get(data_type)
        except TypeError:  # an extension type may have no hash
            return STREAM, None
        if known is None:
            if len(self._schemas) >= _MOST_SCHEMAS:
                return STREAM, None
            schema = pyarrow.schema([("", data_type)])
            form = None
            if not _has_dictionary(pyarrow, data_type):
                form = self._store(schema.serialize().to_pybytes())
            known = self._schemas[data_type] = (STREAM if form is None else form, schema)
        return known


# Form -> what makes an array of it: `Array.from_buffers`, `foreign_buffer` and `py_buffer` of
# pyarrow, the type and its width. Filled by `unpack`.
makers: dict[int, tuple[Any, Any, Any, Any, int]] = {}


def unpack(form: int, buffer: Any, schema: Callable[[int], Any]) -> Any:
    """The Arrow array over `buffer`, which it keeps alive; `schema` gives the one at a form.

    Raises ValueError for anything that `Packer` cannot have packed.
    """
    if form < FIRST_PLAIN:
        return arrow.decode(arrow.IPC, buffer)
    import pyarrow

    if form < FIRST_SCHEMA:
        array = arrow.decode(PLAIN[form - FIRST_PLAIN], buffer)
        makers[form] = (
            pyarrow.Array.from_buffers,
            pyarrow.foreign_buffer,
            pyarrow.py_buffer,
            array.type,
            WIDTHS[form],
        )
        return array
    try:
        batch = pyarrow.ipc.read_record_batch(pyarrow.py_buffer(buffer), schema(form))
        array = batch.column(0)
        # Offsets and lengths come from a peer: what they point to must be inside of the buffer.
        array.validate(full=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"not a valid Arrow record batch: {error}") from error
    return array


def is_known(form: int) -> bool:
    return form == STREAM or form in WIDTHS or form >= FIRST_SCHEMA


def schema_bytes(text: bytes) -> bytes:
    """A schema as it lies in the arena: behind its length."""
    return len(text).to_bytes(4, "little") + text


def read_schema(read: Callable[[int, int], bytes], offset: int) -> Any:
    """The schema at `offset`, of one column. Raises ValueError if there is none."""
    import pyarrow

    length = int.from_bytes(read(offset, 4), "little")
    if not 0 < length <= _SCHEMA_LIMIT:
        raise ValueError(f"a schema of {length} bytes")
    try:
        schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(read(offset + 4, length)))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"not a valid Arrow schema: {error}") from error
    if len(schema) != 1:
        raise ValueError(f"a schema of {len(schema)} columns, not one")
    return schema


def _write_stream(pyarrow: Any, sink: Any, batch: Any) -> None:
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _has_dictionary(pyarrow: Any, data_type: Any) -> bool:
    if pyarrow.types.is_dictionary(data_type):
        return True
    if isinstance(data_type, pyarrow.BaseExtensionType):
        return _has_dictionary(pyarrow, data_type.storage_type)
    fields = (data_type.field(i) for i in range(data_type.num_fields))
    return any(_has_dictionary(pyarrow, field.type) for field in fields)
