"""Which machines a node's binaries and wheels are for."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from dora.compile.platforms import architecture, architecture_of_wheel, platforms_of
from dora.dataflow.load import load

FLOW = """
nodes:
  - {id: binary, path: ./arm}
  - {id: script, path: node.py, requirements: [./wheels/tiny-1.0-cp311-cp311-linux_x86_64.whl]}
  - {id: plain, path: node.py, requirements: [./wheels/pure-1.0-py3-none-any.whl]}
  - {id: program, path: sleep}
  - {id: both, path: ./arm, requirements: [./wheels/tiny-1.0-cp311-cp311-linux_x86_64.whl]}
  - {id: gone, path: ./nothing}
"""


def test_binaries_and_wheels_tell_what_they_are_for(tmp_path: Path) -> None:
    """Of scripts, of programs of the machine, and of a mixture nothing is known."""
    (tmp_path / "arm").write_bytes(b"\x7fELF\x02\x01" + bytes(12) + (183).to_bytes(2, "little"))
    (tmp_path / "flow.yml").write_text(FLOW)
    found = platforms_of(load(tmp_path / "flow.yml").dataflow)
    assert {"binary": "aarch64", "script": "x86_64"} == found


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n" * 9, b"\x7fELF\x02", b"\x7fELF\x01" * 9])
def test_what_is_no_program_of_64_bits_is_for_any_machine(tmp_path: Path, content: bytes) -> None:
    """As far as anybody knows."""
    (tmp_path / "file").write_bytes(content)
    assert architecture(tmp_path / "file") is None


def test_this_python_is_for_this_machine() -> None:
    """A real program."""
    assert platform.machine() == architecture(Path(sys.executable).resolve())


def test_wheels_for_any_or_for_several_architectures_tell_none() -> None:
    """Nor does what is no wheel's name."""
    assert "aarch64" == architecture_of_wheel(
        "a-1.0-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"
    )
    for name in ("a-1.0-py3-none-any.whl", "a-1-py3-none-linux_x86_64.linux_aarch64.whl", "a.whl"):
        assert architecture_of_wheel(name) is None
