"""What is read off a machine where the one at hand cannot show it."""

from __future__ import annotations

from pathlib import Path

from deploy.supervisor.probe import devices, musl_version


def test_musl_tells_its_version_when_its_loader_is_called(tmp_path: Path) -> None:
    """Wheels ask for 1.2; a machine without musl, or with a broken one, says nothing."""
    assert "" == musl_version(tmp_path)
    broken = tmp_path / "ld-musl-armhf.so.1"
    broken.write_bytes(b"")
    broken.chmod(0o755)
    assert "" == musl_version(tmp_path)
    loader = tmp_path / "ld-musl-x86_64.so.1"
    said = r"musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader\n"
    loader.write_text(f"#!/bin/sh\nprintf '{said}' >&2\nexit 1\n")
    loader.chmod(0o755)
    assert "1.2.4" == musl_version(tmp_path)


def test_devices_that_every_machine_has_are_left_out(tmp_path: Path) -> None:
    """What is told is what tells machines apart, in folders, too, and by the names of their
    kinds."""
    names = ["video0", "ttyUSB0", "tty1", "null", "loop0", "snd/pcmC0D0p", "pts/0", "shm/secret"]
    for name in (*names, "serial/by-id/usb-lidar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = ["serial/by-id/usb-lidar", "snd/pcmC0D0p", "ttyUSB0", "video0"]
    assert [str(tmp_path / name) for name in expected] == devices(tmp_path)
