"""Packed Pythons for tests: sham ones for any platform, and a real one made of this machine's."""

from __future__ import annotations

import io
import struct
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

MACHINES = {"x86_64": 62, "aarch64": 183}
GLIBC = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}
NEEDLESS = ("test", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "pydoc_data")


def program(arch: str = "x86_64", loader: str | None = None, glibc: str = "2.17") -> bytes:
    """The head of a Linux program: enough to tell what it is for."""
    loader = GLIBC[arch] if loader is None else loader
    text = loader.encode() + b"\0" if loader else b""
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1, 0, 3, MACHINES[arch], 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    row = struct.pack("<IIQQQQQQ", 3 if text else 1, 4, 120, 0, 0, len(text), len(text), 1)
    return header + row + text + f"GLIBC_2.2.5\0GLIBC_{glibc}\0".encode()


def sham(
    executable: bytes | None = None, version: str = "3.12.7", home: str = "python/"
) -> dict[str, bytes]:
    """The files of a Python that looks like one."""
    minor = version.split(".")[1]
    header = f'#define PY_VERSION\t"{version}"\n'
    return {
        f"{home}bin/python3.{minor}": program() if executable is None else executable,
        f"{home}lib/python3.{minor}/os.py": b"import sys\n",
        f"{home}lib/python3.{minor}/__pycache__/os.cpython-3{minor}.pyc": b"compiled",
        f"{home}include/python3.{minor}/patchlevel.h": header.encode(),
    }


def pack(
    archive: Path,
    files: Mapping[str, bytes],
    mode: str = "w:gz",
    extra: Callable[[tarfile.TarFile], None] | None = None,
) -> Path:
    """A tar archive of `files`; `extra` may add anything."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if "/bin/" in f"/{name}" else 0o644
            tar.addfile(entry, io.BytesIO(content))
        if extra is not None:
            extra(tar)
    return archive


def real(archive: Path, python: str = "/usr/bin/python3") -> Path:
    """This machine's own Python, relocatable: its program and its standard library."""
    asked = "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); "
    asked += "print(sysconfig.get_path('stdlib')); print('python%d.%d' % sys.version_info[:2])"
    told = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    executable, library, name = told.stdout.split()

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = entry.name.removeprefix(f"python/lib/{name}/").split("/")
        skip = parts[0] in (*NEEDLESS, "site-packages", "dist-packages")
        outside = entry.issym() and entry.linkname.startswith(("/", "../.."))
        if skip or outside or parts[0].startswith("config-") or "__pycache__" in parts:
            return None
        return entry

    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(executable, f"python/bin/{name}")
        link = tarfile.TarInfo("python/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, name
        tar.addfile(link)
        tar.add(library, f"python/lib/{name}", filter=wanted)
    return archive
