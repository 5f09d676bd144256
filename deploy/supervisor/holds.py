"""Who holds updates of this machine up: units' notes, a person's pause. Machine only; >= 3.8."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout

LONGEST_REASON = 200  # characters of a reason that are shown


@dataclass(frozen=True)
class Hold:
    """Somebody who must not be disturbed; `deployment` and `unit` are None for a pause, and for a
    process that is none of our units or left no note."""

    since: float  # epoch
    reason: str = ""
    deployment: Optional[str] = None
    unit: Optional[str] = None
    owner: Optional[str] = None  # who paused the machine, user@laptop

    def to_json(self) -> Dict[str, Any]:
        return {
            "deployment": self.deployment,
            "unit": self.unit,
            "owner": self.owner,
            "reason": self.reason,
            "since": self.since,
        }


def holds_of(note: Any, key: Key) -> List[Hold]:
    """From a unit's note. Raises KeyError, TypeError or ValueError for what is none."""
    if not isinstance(note, list):
        raise TypeError(f"not a list: {type(note).__name__}")
    return [Hold(_time(it["since"]), _line(it["reason"]), *key) for it in note]


def read_pause(layout: Layout) -> Optional[Hold]:
    """The pause of this machine, if somebody paused it; one whose note is damaged is one, too."""
    try:
        data: Mapping[str, Any] = json.loads(layout.paused.read_bytes())
        return Hold(_time(data["since"]), _line(data["reason"]), owner=_line(data["owner"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return Hold(0.0, f"{layout.paused} cannot be read: {error}", owner="somebody")


def _time(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1e11:
        raise ValueError(f"not a time: {value!r}")
    return float(value)


def _line(value: Any) -> str:
    """For a terminal: one line, nothing that it would obey."""
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return "".join(it if it.isprintable() else " " for it in value[:LONGEST_REASON])
