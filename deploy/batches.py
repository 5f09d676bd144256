"""Which machines are switched together, for deployments in batches. Pure; laptop only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.plan import MachinePlan

_SERIAL = re.compile(r"([1-9][0-9]{0,5})(%?)\Z")


@dataclass(frozen=True)
class Serial:
    """The size of a batch: so many machines, or so many of a hundred of those that change."""

    number: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Serial:
        """`3` or `25%`. Raises ValueError."""
        found = _SERIAL.match(text)
        if found is None or (found[2] and int(found[1]) > 100):
            raise ValueError(f"{text!r} is neither a number of machines nor a part such as 25%")
        return cls(int(found[1]), bool(found[2]))

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)

    def size(self, machines: int) -> int:
        """At least one; a part is rounded down."""
        return max(1, machines * self.number // 100) if self.percent else self.number


def batches(
    rows: Sequence[MachinePlan], serial: Serial | None
) -> tuple[tuple[MachinePlan, ...], ...]:
    """`rows` in their order, cut. Machines where no process changes count for nothing and go with
    the last batch."""
    if serial is None:
        return (tuple(rows),) if rows else ()
    changing = [row for row in rows if not row.changes_nothing]
    others = tuple(row for row in rows if row.changes_nothing)
    size = serial.size(len(changing))
    cut = [tuple(changing[at : at + size]) for at in range(0, len(changing), size)]
    return (*cut[:-1], (*cut[-1], *others)) if cut else ((others,) if others else ())
