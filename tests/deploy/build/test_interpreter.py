"""Packed Pythons: what is read off their files, which machines they are for, and hostile ones."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.build.elf import glibc_needed, read_program
from deploy.build.interpreter import Interpreter, interpreter_tree, with_interpreter
from deploy.build.unpack import unpack
from deploy.build.workshop import Workshop
from deploy.errors import BuildError
from deploy.facts import Facts
from tests.deploy.build.pythons import pack, program, sham
from tests.deploy.build.wheels import facts


def read(archive: Path, folder: Path, machine: Facts | None = None) -> Interpreter:
    workshop = Workshop(cache=folder / "cache")
    return interpreter_tree(archive, machine or facts(), workshop, lambda what: None)


@pytest.mark.parametrize("home", ["python/", "python/install/", "", "./a/b/"])
@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
def test_a_python_is_found_in_an_archive(tmp_path: Path, home: str, mode: str) -> None:
    """Wherever it lies, however it is packed; what Python compiled stays away, links stay links."""
    if home == "./a/b/" and mode != "w":
        return

    def link(tar: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(f"{home}bin/python3")
        entry.type, entry.linkname = tarfile.SYMTYPE, "python3.12"
        tar.addfile(entry)
        entry = tarfile.TarInfo(f"{home}bin/same")
        entry.type, entry.linkname = tarfile.LNKTYPE, f"{home}bin/python3.12"
        tar.addfile(entry)

    files = {**sham(home=home), "LICENSE.txt": b"text"}
    if home == "":
        del files["LICENSE.txt"]
    found = read(pack(tmp_path / "python.tar.gz", files, mode, link), tmp_path)
    assert ("bin/python3.12", (3, 12, 7)) == (found.program, found.version)
    assert ("x86_64", "glibc", (2, 17)) == (found.arch, found.libc, found.glibc)
    entries = {entry.path: entry for entry in found.tree.entries}
    assert [
        "bin/python3",
        "bin/python3.12",
        "bin/same",
        "include/python3.12/patchlevel.h",
        "lib/python3.12/os.py",
    ] == list(entries)
    assert "python3.12" == entries["bin/python3"].target
    assert entries["bin/same"].digest == entries["bin/python3.12"].digest
    assert entries["bin/python3.12"].executable
    assert not entries["lib/python3.12/os.py"].executable


def test_the_machine_is_then_one_with_that_python(tmp_path: Path) -> None:
    """Wheels are chosen for it, and units start with it."""
    archive = pack(tmp_path / "python.tar.gz", sham())
    found = read(archive, tmp_path)
    machine = with_interpreter(facts(), found)
    assert (3, 12, 7) == machine.python_version
    assert f"{machine.root}/store/trees/{found.tree.name}/bin/python3.12" == machine.python
    assert "python-3.12.7" == found.tree.label
    assert found == read(archive, tmp_path)


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    """What it was is remembered by its content."""
    archive = pack(tmp_path / "python.tar.gz", sham())
    workshop = Workshop(cache=tmp_path / "cache")
    said: list[str] = []
    first = interpreter_tree(archive, facts(), workshop, said.append)
    assert first == interpreter_tree(archive, facts(), workshop, said.append)
    pack(archive, sham(version="3.13.0"))
    assert (3, 13, 0) == interpreter_tree(archive, facts(), workshop, said.append).version
    assert ["the Python in python.tar.gz"] * 2 == said


@pytest.mark.parametrize(
    ("executable", "machine", "words"),
    [
        (program("aarch64"), facts("rover"), "it is for aarch64, the machine is x86_64"),
        (program(), facts("rover", "aarch64"), "it is for x86_64, the machine is aarch64"),
        (program(), facts("rover", libc="musl"), "it is for glibc, the machine has musl"),
        (
            program(loader="/lib/ld-musl-x86_64.so.1"),
            facts("rover"),
            "it is for musl, the machine has glibc",
        ),
        (
            program(glibc="2.38"),
            facts("rover", libc_version=(2, 31)),
            r"it needs glibc 2\.38, the machine has 2\.31",
        ),
    ],
)
def test_a_python_for_other_machines_is_refused(
    tmp_path: Path, executable: bytes, machine: Facts, words: str
) -> None:
    """By what its files are, whatever it is called."""
    archive = pack(tmp_path / "python.tar.gz", sham(executable))
    with pytest.raises(BuildError, match=f"rover: the Python in .* does not run there: {words}"):
        read(archive, tmp_path, machine)


def test_pythons_for_other_platforms_can_be_had(tmp_path: Path) -> None:
    """From this laptop, which could not run them."""
    musl = program("aarch64", "/lib/ld-musl-aarch64.so.1", "2.0")
    archive = pack(tmp_path / "python.tar.gz", sham(musl))
    found = read(archive, tmp_path, facts("m", "aarch64", "musl", (1, 2)))
    assert ("aarch64", "musl") == (found.arch, found.libc)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README": b""}, "there is no Python in"),
        ({"bin/python3.12": program()}, "there is no Python in"),
        (sham(b"#!/bin/sh\n"), "bin/python3.12: it is not a program for Linux"),
        (sham(b"\x7fELF\x01\x01" + bytes(60)), "not for a 64-bit"),
        (sham(program()[:70]), "its header is damaged"),
        (sham(program(loader="")), "is linked statically"),
        (
            {**sham(), "python/include/python3.12/patchlevel.h": b'#define PY_VERSION "3.9.1"\n'},
            "is two things",
        ),
        ({**sham(home="a/"), **sham(home="b/")}, "several Pythons"),
    ],
)
def test_an_archive_without_a_fit_python_is_refused(
    tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    """With its name, and what to take instead."""
    archive = pack(tmp_path / "python.tar.gz", files)
    with pytest.raises(BuildError, match=words) as failure:
        read(archive, tmp_path)
    assert str(archive) in str(failure.value)


def entry(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    it = tarfile.TarInfo(name)
    it.type, it.linkname, it.size = kind, target, size
    return it


HOSTILE: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "above": (lambda tar: tar.addfile(entry("../x", tarfile.REGTYPE)), "leads out of it"),
    "inside out": (lambda tar: tar.addfile(entry("a/../../x", tarfile.REGTYPE)), "leads out of it"),
    "absolute": (lambda tar: tar.addfile(entry("/etc/x", tarfile.REGTYPE)), "leads out of it"),
    "link away": (
        lambda tar: tar.addfile(entry("python/lib/x", tarfile.SYMTYPE, "../../../etc")),
        "link leaves its tree",
    ),
    "link to root": (
        lambda tar: tar.addfile(entry("python/x", tarfile.SYMTYPE, "/etc/passwd")),
        "unsafe link",
    ),
    "through a link": (
        lambda tar: (
            tar.addfile(entry("python/x", tarfile.SYMTYPE, "lib")),
            tar.addfile(entry("python/x/y", tarfile.REGTYPE)),
        )[0],
        "lies below the file or link",
    ),
    "hard link away": (
        lambda tar: tar.addfile(entry("python/x", tarfile.LNKTYPE, "/etc/passwd")),
        "leads out of it",
    ),
    "hard link to nothing": (
        lambda tar: tar.addfile(entry("python/x", tarfile.LNKTYPE, "python/y")),
        "which is not there",
    ),
    "device": (lambda tar: tar.addfile(entry("python/x", tarfile.CHRTYPE)), "neither a file nor"),
    "pipe": (lambda tar: tar.addfile(entry("python/x", tarfile.FIFOTYPE)), "neither a file nor"),
    "twice": (
        lambda tar: tar.addfile(entry("python/lib/python3.12/os.py", tarfile.REGTYPE)),
        "is in it twice",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_changes_nothing(tmp_path: Path, name: str) -> None:
    """Whatever it names, nothing is written outside of the cache, and nothing is kept there."""
    extra, words = HOSTILE[name]
    archive = pack(tmp_path / "archive/python.tar.gz", sham(), extra=extra)
    with pytest.raises(BuildError, match=words):
        read(archive, tmp_path)
    assert ["archive", "cache"] == sorted(path.name for path in tmp_path.iterdir())
    workshop = Workshop(cache=tmp_path / "cache")
    assert [] == list(workshop.cache.glob("interpreter*"))


def test_an_archive_that_unpacks_to_too_much_is_given_up(tmp_path: Path) -> None:
    """A few bytes of zeros may be very many."""
    archive = pack(tmp_path / "bomb.tar.gz", {"zeros": bytes(8 * 1024 * 1024)})
    assert archive.stat().st_size < 100_000
    (tmp_path / "out").mkdir()
    with pytest.raises(BuildError, match="more than 1048576 bytes when it is unpacked"):
        unpack(archive, tmp_path / "out", 1024 * 1024)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x28\xb5\x2f\xfd....", "packed with zstd"),
        (b"PK\x03\x04....", "is a zip file"),
        (b"not an archive at all", "cannot be unpacked"),
        (b"\x1f\x8b\x08\x00garbage", "cannot be unpacked"),
        (b"", "cannot be unpacked"),
    ],
)
def test_what_is_no_tar_archive_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    """By its content, not by its name."""
    archive = tmp_path / "python.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(BuildError, match=words):
        read(archive, tmp_path)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
def test_a_cut_off_archive_is_not_half_unpacked(tmp_path: Path, mode: str) -> None:
    """At whatever byte the download ended."""
    files = {**sham(), "python/zz": bytes(range(256)) * 10}
    archive = pack(tmp_path / "python.tar.gz", files, mode)
    whole = archive.read_bytes().rstrip(b"\0")  # tar fills its last block, of 10 KiB, with zeros
    for length in range(1, len(whole), max(1, len(whole) // 12)):
        archive.write_bytes(whole[:length])
        with pytest.raises(BuildError, match=r"cannot be unpacked|ends too early"):
            read(archive, tmp_path)


def test_a_missing_archive_says_who_names_it(tmp_path: Path) -> None:
    """The machine, the path, and what it is relative to."""
    with pytest.raises(
        BuildError, match=r"m: the Python .*/gone\.tar\.gz cannot be read"
    ) as failure:
        read(tmp_path / "gone.tar.gz", tmp_path)
    assert "relative to the inventory" in str(failure.value.hint)


def test_programs_of_this_machine_are_read() -> None:
    """A real one, not one of ours."""
    data = Path("/usr/bin/python3").resolve().read_bytes()
    assert "glibc" == read_program(data).libc
    assert (2, 17) <= glibc_needed(data) < (3, 0)


def test_rights_in_an_archive_do_not_come_through(tmp_path: Path) -> None:
    """Neither set-user-id nor writable by all."""

    def evil(tar: tarfile.TarFile) -> None:
        it = entry("evil", tarfile.REGTYPE, size=1)
        it.mode = 0o6777
        tar.addfile(it, io.BytesIO(b"x"))

    (tmp_path / "out").mkdir()
    found = unpack(pack(tmp_path / "a.tar", {}, "w", evil), tmp_path / "out")
    path = found["evil"]
    assert isinstance(path, Path)
    assert 0o700 == stat.S_IMODE(path.stat().st_mode)
