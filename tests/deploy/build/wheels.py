"""Wheels and facts for tests of building."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from deploy.facts import Facts


def facts(
    machine: str = "m",
    arch: str = "x86_64",
    libc: str = "glibc",
    libc_version: tuple[int, int] = (2, 36),
    python_version: tuple[int, int, int] = (3, 11, 2),
) -> Facts:
    return Facts(
        machine=machine,
        arch=arch,
        libc=libc,
        libc_version=libc_version,
        python="/usr/bin/python3",
        python_version=python_version,
        cores=(0, 1),
        memory=1 << 30,
        disk_free=1 << 30,
        hostname=machine,
        user="robot",
        root="/home/robot/.local/share/dora",
        run="/home/robot/.local/share/dora/run",
        boot_id="b",
        time=0.0,
        taskset=True,
        free_ports=(),
        supervisor={},
        deployments={},
    )


def write_wheel(folder: Path, text: str = "x = 1\n", requires: str = "") -> Path:
    """A pure wheel with one module and one console script."""
    name = "tiny"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    rows = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest())
        rows.append(f"{path},sha256={digest.rstrip(b'=').decode()},{len(content.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return wheel
