"""A generation: a numbered profile on a machine. Data only; laptop and machine (Python >= 3.8)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional

from deploy.malformed import checked
from deploy.profile import Profile


@dataclass(frozen=True)
class Failure:
    """Why a machine went back from a generation. `units` has those that were not healthy: name ->
    {state, error, exit, last_lines}, as their records were at that moment. The lines are the log's;
    of a unit that ran and failed a health command, that command's output."""

    reason: str
    time: float  # seconds since the epoch, by the machine's clock
    units: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        return {"reason": self.reason, "time": self.time, "units": dict(self.units)}

    @classmethod
    @checked
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        units = {str(name): dict(record) for name, record in dict(data["units"]).items()}
        return cls(reason=str(data["reason"]), time=float(data["time"]), units=units)


@dataclass(frozen=True)
class Generation:
    """The profile that a machine was given as its `number`th, counted from 1, with who and when.

    All machines that one run of the coordinator activates get the same `revision`: text that sorts
    by time; "" in files from before there were revisions. `note` says what else is to be known.
    """

    number: int
    profile: Profile
    created: float  # seconds since the epoch, by the machine's clock
    creator: str  # user@laptop
    revision: str = ""
    note: str = ""
    failure: Optional[Failure] = None

    def failed(self, failure: Failure) -> Generation:
        return replace(self, failure=failure)

    def to_json(self) -> Dict[str, Any]:
        data: Dict[str, Any] = {
            "number": self.number,
            "profile": self.profile.to_json(),
            "created": self.created,
            "creator": self.creator,
            "revision": self.revision,
            "note": self.note,
        }
        if self.failure is not None:
            data["failure"] = self.failure.to_json()
        return data

    @classmethod
    @checked
    def from_json(cls, data: Mapping[str, Any]) -> Generation:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        failure = data.get("failure")
        return cls(
            number=int(data["number"]),
            profile=Profile.from_json(data["profile"]),
            created=float(data["created"]),
            creator=str(data["creator"]),
            revision=str(data.get("revision", "")),
            note=str(data.get("note", "")),
            failure=None if failure is None else Failure.from_json(failure),
        )
