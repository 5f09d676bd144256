"""A folder of installed packages, such that it is the same wherever it was made. Laptop only.

An installer leaves traces of itself, its Python and the hour. Without them the same wheels give the
same store path on every laptop.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

# In *.dist-info: who installed it, whether it was asked for, and from where.
TRACES = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
PORTABLE = b"#!/usr/bin/env python3\n"
# What uv and pip write where a path is too long, or has spaces, for `#!`.
WRAPPED = re.compile(rb"#!/bin/sh\n'''exec' .*\n' '''\n")


def normalise(folder: Path) -> None:
    """Removes from freshly installed packages all that depends on where and when it was done."""
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    for name in (".lock", "CACHEDIR.TAG"):
        (folder / name).unlink(missing_ok=True)
    scripts = folder / "bin"
    if scripts.is_dir():
        for script in scripts.iterdir():
            _make_portable(script)
    for info in folder.glob("*.dist-info"):
        for name in TRACES:
            (info / name).unlink(missing_ok=True)
        if (info / "RECORD").exists():
            _rewrite_record(folder, info / "RECORD")


def plain_name(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bound_to_a_platform(folder: Path, names: Collection[str]) -> list[str]:
    """Which of `names` (plain) were installed from wheels that do not run everywhere; sorted."""
    found = []
    for info in folder.glob("*.dist-info"):
        name = plain_name(info.name.split("-")[0])
        if name in names:
            lines = (info / "WHEEL").read_text(encoding="utf-8").splitlines()
            tags = [line.partition(":")[2].strip() for line in lines if line.startswith("Tag:")]
            if not all(tag.endswith("-none-any") for tag in tags):
                found.append(name)
    return sorted(found)


def _make_portable(script: Path) -> None:
    if not script.is_file():
        return
    text = script.read_bytes()
    first, _, rest = text.partition(b"\n")
    wrapped = WRAPPED.match(text)
    if wrapped:
        script.write_bytes(PORTABLE + text[wrapped.end() :])
    elif first.startswith(b"#!") and b"python" in first:
        script.write_bytes(PORTABLE + rest)


def _rewrite_record(folder: Path, record: Path) -> None:
    with open(record, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    kept = []
    for path, *check in rows:
        if not os.path.exists(folder / path):
            continue
        # Scripts were changed; a record may leave out what it does not vouch for.
        changed = path.startswith("bin/")
        kept.append([path, "", ""] if changed else [path, *check])
    with open(record, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(sorted(kept))
