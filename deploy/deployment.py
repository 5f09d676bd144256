"""A deployment: what each machine is to run, and of what files. Data only; laptop only.

The stage between a compiled dataflow and store paths: sources are named, nothing is read or hashed
yet. `deploy.build` turns it into profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.unit import Unit


@dataclass(frozen=True)
class Link:
    """A symbolic link inside a tree: `target` is relative to where the link is."""

    target: str


@dataclass(frozen=True)
class Files:
    """A tree of files of this laptop.

    `entries` maps paths in the tree (relative, `/`) to an absolute path of a file, to its content,
    or to a Link. A file's executable bit is its owner's; contents given as bytes have none.
    """

    label: str
    entries: Mapping[str, Path | bytes | Link]


@dataclass(frozen=True)
class PythonEnvironment:
    """Python packages for whatever machine the unit is on.

    `requirements` are as in requirements.txt: `numpy>=1.26`, a wheel of ours (`./x.whl`), or the
    path of a requirements file. Relative paths start at `base`, where uv's own settings are looked
    for, too. `index_urls` are searched before the default index. Only wheels are taken, but for the
    packages that `build_from_source` names, which must be pure Python. `pythons` says who asks for
    which Python: (file, `>=3.11`).
    """

    requirements: tuple[str, ...] = field(repr=False)  # there may be passwords in addresses
    index_urls: tuple[str, ...] = field(default=(), repr=False)
    base: Path = Path()
    build_from_source: tuple[str, ...] = ()
    pythons: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PythonArchive:
    """A relocatable Python for the machine, packed (see `deploy.build.interpreter`)."""

    path: Path


Source = Files | PythonEnvironment | PythonArchive


@dataclass(frozen=True)
class UnitSpec:
    """A unit before its store paths are known.

    `argv`, `cwd` and `env` of `unit` are `string.Template`s. Known names are those of `sources`
    (the absolute path of the tree on the machine) and MACHINE_NAMES of `deploy.build.profiles`.
    `unit.links`, if given, names a source: `${code}`. `unit.closure` is left empty.
    """

    unit: Unit
    sources: Mapping[str, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class MachineSpec:
    """What one machine runs. `documents` and `secrets` map names to contents; secrets never enter
    a store, a profile or a text."""

    machine: str
    units: tuple[UnitSpec, ...]
    documents: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Deployment:
    """A named set of units on machines. `machines` maps machine ids to what they run."""

    name: str
    machines: Mapping[str, MachineSpec]
