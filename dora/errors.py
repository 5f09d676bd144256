"""The errors of `dora`; laptop and node (Python >= 3.10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class DoraError(Exception):
    """Root of all errors that `dora` raises on purpose; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Located(Protocol):
    """One problem in a user's file (`deploy.errors.Issue`, which nodes do not have)."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str | None: ...
    def __lt__(self, other: Any, /) -> bool: ...


class DataflowError(DoraError):
    """A flow file is wrong; `issues` holds every problem found in it, in the file's order."""

    def __init__(self, issues: Sequence[Located]) -> None:
        self.issues = tuple(sorted(issues))
        super().__init__("\n".join(str(issue) for issue in self.issues))


class PlacementError(DataflowError):
    """Some nodes of a dataflow fit on no machine; nothing was changed anywhere."""


class PlanFileError(DoraError):
    """A saved plan cannot be one; nothing was changed anywhere."""


class StalePlan(DoraError):
    """Machines, or the files on this laptop, are not any more what a saved plan was made of;
    nothing was changed anywhere."""
