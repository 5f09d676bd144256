"""A profile: the units of one deployment on one machine. Data only; laptop and machine (>= 3.8)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Tuple

from deploy.malformed import checked
from deploy.unit import Unit, canonical

NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,62}\Z")


@dataclass(frozen=True)
class Profile:
    """All that one machine is to run for one deployment.

    `documents` are small texts for whoever asks about the deployment (name -> text). They are kept
    with the generation and written to `deployments/<name>/documents/`; changing one restarts
    nothing.
    """

    deployment: str
    machine: str
    units: Tuple[Unit, ...]
    documents: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()[:40]

    @property
    def closure(self) -> Tuple[str, ...]:
        """Every store path that some unit needs, once, sorted."""
        return tuple(sorted({path for unit in self.units for path in unit.closure}))

    def unit(self, name: str) -> Unit:
        """Raises KeyError."""
        for unit in self.units:
            if unit.name == name:
                return unit
        raise KeyError(name)

    def to_json(self) -> Dict[str, Any]:
        return {
            "deployment": self.deployment,
            "machine": self.machine,
            "units": [unit.to_json() for unit in self.units],
            "documents": dict(self.documents),
        }

    @classmethod
    @checked
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        profile = cls(
            deployment=data["deployment"],
            machine=data["machine"],
            units=tuple(Unit.from_json(unit) for unit in data["units"]),
            documents=dict(data.get("documents", {})),
        )
        names = [unit.name for unit in profile.units]
        if len(names) != len(set(names)):
            raise ValueError(f"two units of one name: {sorted(names)!r}")
        if not all(isinstance(text, str) for text in profile.documents.values()):
            raise TypeError("documents must be texts")
        for name in (profile.deployment, profile.machine, *names, *profile.documents):
            if not isinstance(name, str) or not NAME.match(name):
                raise ValueError(f"not a name: {name!r}")
        return profile
