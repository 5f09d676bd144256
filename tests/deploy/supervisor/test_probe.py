"""What is read off a machine where the one at hand cannot show it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy.supervisor.probe import devices, free_ports, musl_version


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


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_on_which_somebody_listens_is_not_free(kind: int, host: str) -> None:
    """By TCP or UDP, on one address or on all."""
    with socket.socket(socket.AF_INET, kind) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
        other.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        assert port not in free_ports(port, 1)


def test_connections_that_have_ended_keep_nobody_out() -> None:
    """What a router had that was stopped a moment ago: its port is the next one's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as caller:
            accepted, _ = server.accept()
            accepted.close()  # who hangs up first has to wait
            assert b"" == caller.recv(1)
    assert [port] == free_ports(port, 1)
