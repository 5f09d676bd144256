"""Reading secrets on the laptop: every source, and everything that can be wrong with it at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dora.compile.secrets import tell
from dora.coordinator.secrets import read_secrets
from dora.dataflow.load import loads
from dora.dataflow.model import Dataflow
from dora.errors import DataflowError


def flow(folder: Path, *secrets: str) -> Dataflow:
    head = "nodes:\n- id: a\n  path: a.py\n  secrets:\n"
    text = head + "".join(f"    {secret}\n" for secret in secrets)
    return loads(text, "f.yml", str(folder)).dataflow


def test_secrets_are_read_from_files_variables_and_commands(tmp_path: Path) -> None:
    """A variable loses the last line end, a file is handed over as it is."""
    (tmp_path / "token").write_bytes(b" hush\n\n")
    found = read_secrets(
        flow(
            tmp_path,
            "A: {file: token}",
            "B: {file: token, as: path}",
            "C: {env: SOURCE}",
            'D: {command: [sh, -c, \'printf "%s\\n" "$SOURCE" && pwd >&2\']}',
        ),
        ["a"],
        {"SOURCE": "from the shell", "PATH": os.environ["PATH"]},
    )
    contents = {
        "A": b" hush\n",
        "B_FILE": b" hush\n\n",
        "C": b"from the shell",
        "D": b"from the shell",
    }
    assert {"a": contents} == found


def test_each_source_is_asked_once(tmp_path: Path) -> None:
    """Whoever has to unlock a password store does so once, however many nodes need it."""
    command = "{command: [sh, -c, 'echo x >> asked; echo hush']}"
    read_secrets(flow(tmp_path, f"A: {command}", f"B: {command}"), ["a"])
    assert "x\n" == (tmp_path / "asked").read_text()


def test_nodes_that_are_not_asked_for_need_no_secrets(tmp_path: Path) -> None:
    """With `--limit`, the secrets of other machines need not be at hand."""
    assert {} == read_secrets(flow(tmp_path, "A: {file: nowhere}"), [])


def test_all_that_cannot_be_had_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    """File and line of the flow file, what is wrong, and nothing of any content."""
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "binary").write_bytes(b"hush\0hush")
    dataflow = flow(
        tmp_path,
        "A: {file: nowhere}",
        "B: {env: NOT_SET_ANYWHERE}",
        "C: {command: [sh, -c, 'echo hush; echo locked >&2; exit 3']}",
        "D: {command: [no-such-program]}",
        "E: {file: empty}",
        "F: {file: binary}",
        "G: {file: .}",
    )
    with pytest.raises(DataflowError) as failure:
        read_secrets(dataflow, ["a"], {"PATH": os.environ["PATH"]})
    had = "cannot be had"
    assert [
        f"f.yml:5:5: the secret A of a {had}: there is no file {tmp_path}/nowhere",
        f"f.yml:6:5: the secret B of a {had}: the variable NOT_SET_ANYWHERE is not set; "
        "export NOT_SET_ANYWHERE and run it again",
        f"f.yml:7:5: the secret C of a {had}: 'sh' ended with 3: locked",
        f"f.yml:8:5: the secret D of a {had}: 'no-such-program' cannot be run: "
        "No such file or directory",
        f"f.yml:9:5: the secret E of a {had}: it is empty",
        f"f.yml:10:5: the secret F of a {had}: it has a NUL in it, and no variable can hold that; "
        "add `as: path`",
        f"f.yml:11:5: the secret G of a {had}: {tmp_path} cannot be read: Is a directory",
    ] == str(failure.value).splitlines()
    assert "hush" not in str(failure.value)


def test_a_command_that_does_not_end_is_told_like_any_other_problem(tmp_path: Path) -> None:
    """Beside them, and nothing of what it said."""
    command = "A: {command: [sh, -c, 'echo hush; sleep 60']}"
    with pytest.raises(DataflowError) as failure:
        read_secrets(flow(tmp_path, command, "B: {file: nowhere}"), ["a"], patience=0.3)
    had = "cannot be had"
    assert [
        f"f.yml:5:5: the secret A of a {had}: 'sh' has not ended for 0.3 s",
        f"f.yml:6:5: the secret B of a {had}: there is no file {tmp_path}/nowhere",
    ] == str(failure.value).splitlines()


def test_what_a_unit_is_told_shows_no_content(tmp_path: Path) -> None:
    """Neither the text of an object in a traceback or a log, nor the descriptor on the machine."""
    (tmp_path / "token").write_bytes(b"hush")
    dataflow = flow(tmp_path, "A: {file: token}", "B: {command: [curl, -u, 'me:hush', host]}")
    told = tell(dataflow.nodes["a"], {"A": b"hush", "B": b"hush"}, bytes(32))
    assert ["A", "B"] == [secret.variable for secret in told.secrets]
    assert [b"hush", b"hush"] == [told.files[secret.reference] for secret in told.secrets]
    assert "hush" not in repr(told)
    assert "hush" not in str(dataflow.descriptor)
