"""What is deployed, on disk: generations, which one is current, documents, secrets. Machine only.

Each change is one rename: a power cut leaves the old or the new. Standard library, Python >= 3.8.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional

from deploy.generation import Generation
from deploy.profile import NAME, Profile
from deploy.supervisor import files
from deploy.supervisor.layout import Layout, private
from deploy.supervisor.process import remove


class Unreadable(Exception):
    """A generation's file is not what was written there."""


class Deployments:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def names(self) -> List[str]:
        """Deployments that have or had generations here."""
        return sorted(path.name for path in _entries(self.layout.deployments) if _named(path))

    def current(self, deployment: str) -> Optional[int]:
        """The number of the generation that should run; None while it is stopped."""
        try:
            target = os.readlink(str(self.layout.current(deployment)))
        except OSError:
            return None
        number = Path(target).stem
        return int(number) if number.isdigit() else None

    def numbers(self, deployment: str) -> List[int]:
        files_ = _entries(self.layout.generations(deployment))
        return sorted(int(p.stem) for p in files_ if p.suffix == ".json" and p.stem.isdigit())

    def generation(self, deployment: str, number: Optional[int] = None) -> Optional[Generation]:
        """That generation, or the current one; None when there is no such. Raises Unreadable."""
        if number is None:
            number = self.current(deployment)
        if number is None:
            return None
        path = self.layout.generations(deployment) / f"{number}.json"
        try:
            return Generation.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"{path} cannot be read as a generation: {error}") from error

    def add(self, profile: Profile, created: float, creator: str) -> Generation:
        """Writes the next generation; the current one stays what it is. Raises OSError."""
        folder = private(self.layout.generations(profile.deployment))
        number = max(self.numbers(profile.deployment), default=0) + 1
        generation = Generation(number, profile, created, creator)
        data = json.dumps(generation.to_json(), indent=1).encode()
        files.write(folder / f"{number}.json", data)
        return generation

    def switch(self, generation: Generation) -> None:
        """Makes the generation current, with its documents. Raises OSError."""
        deployment = generation.profile.deployment
        self.write_documents(generation.profile)
        target = f"generations/{generation.number}.json"
        files.link(self.layout.current(deployment), target)

    def write_documents(self, profile: Profile) -> None:
        """Each is a new file, also if its text is the same: who reads it knows by that when another
        generation has begun."""
        folder = private(self.layout.documents(profile.deployment))
        for name, text in profile.documents.items():
            files.write(folder / name, text.encode(), durable=False)
        for path in _entries(folder):
            if path.name not in profile.documents:
                remove(path)

    def deactivate(self, deployment: str) -> None:
        """There is no current generation any more; generations are kept. Raises OSError."""
        remove(self.layout.current(deployment))
        if self.layout.deployment(deployment).is_dir():
            files.sync_folder(self.layout.deployment(deployment))

    def clear(self, deployment: str) -> None:
        """Removes what only matters while units run: documents, and the folder for sockets."""
        for folder in (self.layout.documents(deployment), self.layout.unit_run(deployment)):
            shutil.rmtree(str(folder), ignore_errors=True)

    def summary(self) -> Dict[str, Dict[str, Any]]:
        """All deployments as the `deployments` request and the probe show them, without locks."""
        shown: Dict[str, Dict[str, Any]] = {}
        for name in self.names():
            entry: Dict[str, Any] = {
                "current": None,
                "hash": None,
                "created": None,
                "creator": None,
                "lock": None,
                "units": 0,
            }
            try:
                generation = self.generation(name)
            except Unreadable as error:
                entry["error"] = str(error)
                generation = None
            if generation is not None:
                entry["current"] = generation.number
                entry["hash"] = generation.profile.hash
                entry["created"] = generation.created
                entry["creator"] = generation.creator
                entry["units"] = len(generation.profile.units)
            shown[name] = entry
        return shown

    # secrets

    def write_secret(self, deployment: str, name: str, value: bytes) -> None:
        folder = private(self.layout.secrets(deployment))
        os.chmod(str(folder), 0o700)
        files.write(folder / name, value)

    def secrets(self, deployment: str) -> List[str]:
        return sorted(p.name for p in _entries(self.layout.secrets(deployment)) if _named(p))

    def read_public(self, deployment: str, name: str) -> Optional[bytes]:
        """A certificate among the secrets; None when there is none of that name, or it is a key."""
        try:
            data = (self.layout.secrets(deployment) / name).read_bytes()
        except FileNotFoundError:
            return None
        certificate = b"-----BEGIN CERTIFICATE-----" in data and b"PRIVATE" not in data
        return data if name.endswith(".pem") and certificate else None


def _entries(folder: Path) -> List[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _named(path: Path) -> bool:
    return NAME.match(path.name) is not None
