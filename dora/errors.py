"""The errors of `dora`; laptop and node (Python >= 3.10)."""

from __future__ import annotations


class DoraError(Exception):
    """Root of all errors that `dora` raises on purpose; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
