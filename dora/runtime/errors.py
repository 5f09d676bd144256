"""What goes wrong with one operator, and is no exception of its own. Node (>= 3.10)."""

from __future__ import annotations

from dora.errors import DoraError


class OperatorError(DoraError):
    """An operator that cannot be loaded, breaks its kind's contract, or reports an error in words.

    The message names file and operator; `hint` says what to do next.
    """
