"""Files that only their user may read: keys, and what units are told in secret. Machine only.

They outlive a reboot and lie as long as some generation refers to them. Python >= 3.8.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import AbstractSet, Dict, Iterable, List, Optional

from deploy.profile import NAME
from deploy.secret import REFERENCE
from deploy.supervisor import files
from deploy.supervisor.layout import Layout, private
from deploy.unit import Unit


class SecretMissing(Exception):
    """A unit's secret is not on this machine, or cannot be given to a process."""


class Secrets:
    """The files of `secrets/<deployment>/`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def write(self, deployment: str, name: str, content: bytes) -> None:
        """Raises OSError."""
        folder = private(self._layout.secrets(deployment))
        os.chmod(str(folder), 0o700)
        files.write(folder / name, content)

    def names(self, deployment: str) -> List[str]:
        return sorted(name for name in self._files(deployment) if NAME.match(name))

    def read_public(self, deployment: str, name: str) -> Optional[bytes]:
        """A certificate among the secrets; None when there is none of that name, or it is a key."""
        try:
            data = self._path(deployment, name).read_bytes()
        except FileNotFoundError:
            return None
        certificate = b"-----BEGIN CERTIFICATE-----" in data and b"PRIVATE" not in data
        return data if name.endswith(".pem") and certificate else None

    def environment(self, deployment: str, unit: Unit) -> Dict[str, str]:
        """The variables that tell the unit its secrets. Raises SecretMissing."""
        variables = {}
        for secret in unit.secrets:
            path = self._path(deployment, secret.reference)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise SecretMissing(
                    f"its secret {secret.variable} is not here ({error.strerror}: {path}); "
                    "deploy again"
                ) from error
            if secret.path:
                variables[secret.variable] = str(path)
                continue
            if b"\0" in content:
                raise SecretMissing(
                    f"its secret {secret.variable} has a NUL in it; take `as: path`"
                )
            variables[secret.variable] = os.fsdecode(content)
        return variables

    def missing(self, deployment: str, units: Iterable[Unit]) -> List[str]:
        """The secrets of `units` that are not here, as `secrets/<deployment>/<reference>`."""
        wanted = {secret.reference for unit in units for secret in unit.secrets}
        lacking = wanted.difference(self._files(deployment))
        return [f"secrets/{deployment}/{name}" for name in sorted(lacking)]

    def prune(self, deployment: str, needed: AbstractSet[str]) -> List[str]:
        """Removes secrets of units to which nothing refers, and what a killed write left; the
        references that went. Keys stay. Raises OSError."""
        gone = []
        for name in self._files(deployment):
            unfinished = name.startswith(".") and name.endswith(".tmp")
            if unfinished or (REFERENCE.match(name) and name not in needed):
                self._path(deployment, name).unlink()
                gone.append(name)
        return sorted(gone)

    def _path(self, deployment: str, name: str) -> Path:
        return self._layout.secrets(deployment) / name

    def _files(self, deployment: str) -> List[str]:
        try:
            return os.listdir(str(self._layout.secrets(deployment)))
        except (FileNotFoundError, NotADirectoryError):
            return []
