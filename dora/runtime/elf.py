"""Which machines a library is for, by the first bytes of its file. Node (>= 3.10)."""

from __future__ import annotations

_MAGIC = b"\x7fELF"
_LITTLE = 1
_MACHINE = slice(18, 20)  # e_machine
_NAMES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}


def machine_of(file: str) -> str | None:
    """The machine's name, or its number in ELF; None if this is no ELF file. Raises OSError."""
    with open(file, "rb") as stream:
        head = stream.read(_MACHINE.stop)
    if len(head) < _MACHINE.stop or not head.startswith(_MAGIC):
        return None
    number = int.from_bytes(head[_MACHINE], "little" if head[5] == _LITTLE else "big")
    return _NAMES.get(number, f"machine {number}")


def foreign(file: str, own: str = "/proc/self/exe") -> str | None:
    """What is wrong with the file here, as the end of a sentence; None if that is not it."""
    theirs, ours = machine_of(file), machine_of(own)
    if theirs is None:
        return "is no shared library"
    return None if theirs == ours else f"is built for {theirs}, and this process is {ours}"
