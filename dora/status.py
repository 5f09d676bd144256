"""What an operator's `on_event` returns. Node (>= 3.10)."""

from __future__ import annotations

from enum import Enum


class DoraStatus(Enum):
    CONTINUE = 0
    STOP = 1
    STOP_ALL = 2
