"""For which machines a program was made: read from its own file. Pure; laptop only."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

ARCHITECTURES = {62: "x86_64", 183: "aarch64", 243: "riscv64"}  # e_machine
_INTERPRETER = 3  # p_type
_LOADERS = {"ld-linux": "glibc", "ld-musl": "musl"}
_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0")


@dataclass(frozen=True)
class Program:
    """`libc` is that of the program's loader; "none" for one that is linked statically."""

    arch: str
    libc: str


def read_program(data: bytes) -> Program:
    """Raises ValueError for what is no program of 64-bit Linux on a processor that we know."""
    if data[:4] != b"\x7fELF":
        raise ValueError("it is not a program for Linux")
    if data[4:6] != b"\x02\x01":
        raise ValueError("it is not for a 64-bit, little-endian machine")
    try:
        (machine,) = struct.unpack_from("<H", data, 18)
        (table,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        loader = ""
        for row in range(count):
            (kind,) = struct.unpack_from("<I", data, table + row * size)
            if kind == _INTERPRETER:
                (at,) = struct.unpack_from("<Q", data, table + row * size + 8)
                (length,) = struct.unpack_from("<Q", data, table + row * size + 32)
                loader = data[at : at + min(length, 4096)].rstrip(b"\0").decode("ascii", "replace")
    except struct.error as error:
        raise ValueError("its header is damaged") from error
    if machine not in ARCHITECTURES:
        raise ValueError(f"it is for a processor that we do not know (ELF machine {machine})")
    return Program(ARCHITECTURES[machine], _libc(loader))


def glibc_needed(data: bytes) -> tuple[int, int]:
    """The newest glibc whose symbols a program or library names; (0, 0) if there are none."""
    found = ((int(major), int(minor)) for major, minor in _GLIBC.findall(data))
    return max(found, default=(0, 0))


def _libc(loader: str) -> str:
    if not loader:
        return "none"
    name = loader.rpartition("/")[2]
    return next((libc for start, libc in _LOADERS.items() if name.startswith(start)), loader)
