"""A generation: a numbered profile on a machine. Data only; laptop and machine (Python >= 3.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping

from deploy.profile import Profile


@dataclass(frozen=True)
class Generation:
    """The profile that a machine was given as its `number`th, counted from 1, with who and when."""

    number: int
    profile: Profile
    created: float  # seconds since the epoch, by the machine's clock
    creator: str  # user@laptop

    def to_json(self) -> Dict[str, Any]:
        return {
            "number": self.number,
            "profile": self.profile.to_json(),
            "created": self.created,
            "creator": self.creator,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Generation:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        return cls(
            number=int(data["number"]),
            profile=Profile.from_json(data["profile"]),
            created=float(data["created"]),
            creator=str(data["creator"]),
        )
