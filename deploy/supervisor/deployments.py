"""What is deployed, on disk: generations, which one is current, documents. Machine only.

Each change is one rename: a power cut leaves the old or the new. Standard library, Python >= 3.8.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import AbstractSet, Any, Dict, List, Optional

from deploy.generation import Generation
from deploy.profile import NAME, Profile
from deploy.supervisor import files
from deploy.supervisor.confirmation import Pending
from deploy.supervisor.files import remove
from deploy.supervisor.layout import Layout, private
from deploy.unit import Unit

log = logging.getLogger(__name__)


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
        return _target(self.layout.current(deployment))

    def booted(self, deployment: str) -> Optional[int]:
        """The number of the generation that was confirmed last; None while it is stopped."""
        return _target(self.layout.booted(deployment))

    def pending(self, deployment: str) -> Optional[Pending]:
        """The trial that goes on, if there is one."""
        path = self.layout.pending(deployment)
        try:
            return Pending.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            log.error("%s cannot be read, what runs stays: %s", path, error)
            return None

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

    def units(self, deployment: str) -> List[Unit]:
        """Those that should run, or may have to again: of the current generation, and of the one
        that it would go back to. What cannot be read is left out."""
        pending = self.pending(deployment)
        numbers = {self.current(deployment), None if pending is None else pending.previous}
        found: List[Unit] = []
        for number in numbers - {None}:
            try:
                generation = self.generation(deployment, number)
            except Unreadable as error:
                log.error("%s: the cores of its units are not known", error)
                continue
            found += [] if generation is None else generation.profile.units
        return found

    def write_pending(self, deployment: str, pending: Pending) -> None:
        """Raises OSError."""
        private(self.layout.deployment(deployment))
        files.write(self.layout.pending(deployment), json.dumps(pending.to_json()).encode())

    def remove_pending(self, deployment: str) -> None:
        """Raises OSError."""
        path = self.layout.pending(deployment)
        if path.exists():
            remove(path)
            files.sync_folder(path.parent)

    def add(self, generation: Generation) -> None:
        """Writes its file, anew if there is one; what is current stays. Raises OSError."""
        folder = private(self.layout.generations(generation.profile.deployment))
        data = json.dumps(generation.to_json(), indent=1).encode()
        files.write(folder / f"{generation.number}.json", data)

    def switch(self, generation: Generation) -> None:
        """Makes the generation current, with its documents. Raises OSError."""
        self.write_documents(generation.profile)
        self.link_current(generation)

    def link_current(self, generation: Generation) -> None:
        """Raises OSError."""
        name = generation.profile.deployment
        files.link(self.layout.current(name), f"generations/{generation.number}.json")

    def make_booted(self, generation: Generation) -> None:
        """Notes that the generation was confirmed. Raises OSError."""
        name = generation.profile.deployment
        files.link(self.layout.booted(name), f"generations/{generation.number}.json")

    def prune(self, deployment: str, keep: int, needed: AbstractSet[int]) -> List[int]:
        """Removes all generations but the newest `keep` and those `needed`; what went.
        Needs no free space. Raises OSError."""
        numbers = self.numbers(deployment)
        gone = [number for number in numbers[: len(numbers) - keep] if number not in needed]
        for number in gone:
            self.remove_generation(deployment, number)
        return gone

    def remove_generation(self, deployment: str, number: int) -> None:
        """Raises OSError."""
        remove(self.layout.generations(deployment) / f"{number}.json")

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
        remove(self.layout.booted(deployment))
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
                "revision": None,
                "pending": None,
            }
            pending = self.pending(name)
            if pending is not None:
                entry["pending"] = pending.to_json()
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
                entry["revision"] = generation.revision
                entry["units"] = len(generation.profile.units)
            shown[name] = entry
        return shown

    def history(self, deployment: str) -> List[Dict[str, Any]]:
        """All generations, oldest first, without their profiles. Raises Unreadable."""
        rows: List[Dict[str, Any]] = []
        for number in self.numbers(deployment):
            generation = self.generation(deployment, number)
            if generation is None:
                continue  # removed meanwhile
            row = generation.to_json()
            del row["profile"]
            row.setdefault("failure", None)
            row["hash"] = generation.profile.hash
            row["units"] = [unit.name for unit in generation.profile.units]
            rows.append(row)
        return rows


def _entries(folder: Path) -> List[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _target(link: Path) -> Optional[int]:
    """The number of the generation to which a link points."""
    try:
        number = Path(os.readlink(str(link))).stem
    except OSError:
        return None
    return int(number) if number.isdigit() else None


def _named(path: Path) -> bool:
    return NAME.match(path.name) is not None
