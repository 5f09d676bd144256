"""The lock file: which versions requirements were resolved to, with hashes. Laptop only.

It lies beside the user's file, belongs into version control, and makes the same files give the same
store paths for ever, on every laptop. An entry for each (requirements, platform, Python).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import BuildError

VERSION = 1
OPTIONAL = ("constraints", "index_urls", "build_from_source")


@dataclass(frozen=True, order=True)
class Key:
    """What was asked for, without passwords. Order of `requirements` matters, as it does to a
    resolver."""

    platform: str
    python: str  # 3.11
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    index_urls: tuple[str, ...] = ()
    build_from_source: tuple[str, ...] = ()


# A pinned package: `numpy==2.1.0` (or a wheel's file name) -> its files' sha256, sorted.
Pins = Mapping[str, tuple[str, ...]]


def read_lock(file: Path) -> dict[Key, Pins]:
    """Empty if there is no such file. Raises BuildError if it is not a lock file."""
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise BuildError(
                f"{file} was written by another version of dora (format {data['version']!r})",
                hint="update dora, or remove the file to resolve the versions anew",
            )
        return {
            Key(
                platform=_text(entry["platform"]),
                python=_text(entry["python"]),
                requirements=tuple(map(_text, entry["requirements"])),
                constraints=tuple(map(_text, entry.get("constraints", []))),
                index_urls=tuple(map(_text, entry.get("index_urls", []))),
                build_from_source=tuple(map(_text, entry.get("build_from_source", []))),
            ): {
                _text(name): tuple(map(_text, hashes)) for name, hashes in entry["packages"].items()
            }
            for entry in data["environments"]
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BuildError(
            f"{file} is not a lock file: {type(error).__name__}: {error}",
            hint="take it from version control, or remove it to resolve the versions anew",
        ) from error


def write_lock(file: Path, new: Mapping[Key, Pins]) -> None:
    """Adds entries to the file as it is now; all of it is replaced at once. Raises BuildError."""
    entries = {**read_lock(file), **new}
    data = {
        "version": VERSION,
        "environments": [
            {
                "platform": key.platform,
                "python": key.python,
                "requirements": key.requirements,
                **{name: getattr(key, name) for name in OPTIONAL if getattr(key, name)},
                "packages": {name: sorted(entries[key][name]) for name in sorted(entries[key])},
            }
            for key in sorted(entries)
        ],
    }
    text = json.dumps(data, indent=1) + "\n"
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        with open(handle, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
        temporary = None
    except OSError as error:
        raise BuildError(
            f"{file} cannot be written ({error.strerror}), so versions cannot be kept",
            hint="copy the flow file's folder to one that you may write to",
        ) from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
