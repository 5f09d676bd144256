"""Facts -> the platform whose wheels run there."""

from __future__ import annotations

import subprocess

import pytest
import uv

from deploy.build.platforms import ARCHITECTURES, GLIBC, wheel_platform
from deploy.errors import BuildError
from tests.deploy.build.wheels import facts


@pytest.mark.parametrize(
    ("arch", "libc", "version", "expected"),
    [
        ("x86_64", "glibc", (2, 36), "x86_64-manylinux_2_36"),
        ("aarch64", "glibc", (2, 35), "aarch64-manylinux_2_35"),
        ("aarch64", "glibc", (2, 27), "aarch64-manylinux_2_17"),
        ("arm64", "glibc", (2, 30), "aarch64-manylinux_2_28"),
        ("x86_64", "glibc", (2, 99), "x86_64-manylinux_2_40"),
        ("x86_64", "musl", (1, 2), "x86_64-unknown-linux-musl"),
        ("riscv64", "glibc", (2, 39), "riscv64-unknown-linux"),
    ],
)
def test_nearest_platform(arch: str, libc: str, version: tuple[int, int], expected: str) -> None:
    """The newest platform that is no newer than the machine."""
    assert expected == wheel_platform(facts(arch=arch, libc=libc, libc_version=version))


@pytest.mark.parametrize(
    ("arch", "libc", "version", "words"),
    [
        ("armv7l", "glibc", (2, 31), "armv7l"),
        ("x86_64", "glibc", (2, 12), "glibc 2.17, it has 2.12"),
        ("x86_64", "musl", (1, 1), "musl 1.2, it has 1.1"),
        ("x86_64", "bionic", (1, 0), "bionic"),
    ],
)
def test_machine_without_wheels(arch: str, libc: str, version: tuple[int, int], words: str) -> None:
    """A machine for which nothing can be fetched is named, with what it has."""
    with pytest.raises(BuildError, match=f"rover: .*{words}"):
        wheel_platform(facts("rover", arch, libc, version))


def test_uv_knows_all_our_platforms() -> None:
    """What we ask for is in uv's own list."""
    words = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for arch in set(ARCHITECTURES.values()):
        for major, minor in GLIBC:
            assert f"{arch}-manylinux_{major}_{minor}" in words
        assert f"{arch}-unknown-linux-musl" in words
    assert "riscv64-unknown-linux" in words
