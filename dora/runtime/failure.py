"""What is told about an operator that raised: its own part of the traceback. Node (>= 3.10)."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

from dora.runtime.errors import OperatorError

_OURS = str(Path(__file__).parent)


def one_line(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0][:200]
    if isinstance(error, OperatorError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def told(error: BaseException) -> str:
    """The traceback below the runtime's own frames. Of an OperatorError what it says, its hint, and
    the traceback of what caused it."""
    if not isinstance(error, OperatorError):
        return "".join(
            traceback.format_exception(type(error), error, _below(error.__traceback__))
        ).rstrip()
    parts = [error.message] if error.hint is None else [f"{error.message}; {error.hint}"]
    return "\n".join([*parts, *([told(error.__cause__)] if error.__cause__ else [])])


def _below(frames: TracebackType | None) -> TracebackType | None:
    """The frames from the first one that is not the runtime's; all if there is none."""
    frame = frames
    while frame is not None and _is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return frame or frames


def _is_ours(file: str) -> bool:
    return file.startswith((_OURS, "<frozen importlib"))
