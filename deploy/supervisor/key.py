"""How a unit is called on its machine. Data; Python >= 3.8."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    deployment: str
    unit: str

    def __str__(self) -> str:
        return f"{self.deployment}/{self.unit}"
