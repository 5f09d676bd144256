"""The files that a dataflow names: missing ones are told before anything runs."""

from __future__ import annotations

from pathlib import Path

from dora.dataflow.files import check_files
from dora.dataflow.load import load

FLOW = """\
nodes:
  - {id: here, path: here.py}
  - {id: gone, path: src/gone.py}
  - {id: near, path: her.py}
  - {id: dir, path: ./folder}
  - {id: bin, path: ./plain}
  - {id: tool, path: ./tool}
  - {id: anywhere, path: rerun}
  - {id: built, path: ./target/x, build: cargo build}
  - {id: later, path: dynamic}
  - {id: sh, path: shell, args: echo hi}
  - {id: rt, operator: {python: op.py, inputs: {t: dora/timer/secs/1}}}
  - {id: data, path: here.py, requirements: [numpy, ./w.whl, req.txt], files: ["*.onnx", "**/*.py"]}
"""


def test_what_is_missing_is_told_with_what_is_near(tmp_path: Path) -> None:
    """Scripts, operators, local requirements and patterns; not what machines provide."""
    (tmp_path / "flow.yml").write_text(FLOW)
    (tmp_path / "here.py").touch()
    (tmp_path / "plain").touch()
    (tmp_path / "tool").touch()
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "folder").mkdir()
    issues = check_files(load(tmp_path / "flow.yml").dataflow)
    file = f"{tmp_path}/flow.yml"
    assert [
        f"{file}:3:22: the node gone: there is no file 'src/gone.py' in {tmp_path}",
        f"{file}:4:22: the node near: there is no file 'her.py' in {tmp_path}; "
        "did you mean 'here.py'?",
        f"{file}:5:21: the node dir: './folder' is a folder, not a file",
        f"{file}:6:21: the node bin: './plain' is not executable; type chmod +x {tmp_path}/plain",
        f"{file}:9:23: the node built: there is no file './target/x' in {tmp_path}",
        f"{file}:11:20: the node sh runs its args in a shell, which is not allowed; "
        "set DORA_ALLOW_SHELL_NODES=true if you trust this file",
        f"{file}:12:33: the operator op: there is no file 'op.py' in {tmp_path}",
        f"{file}:13:10: `files` of data: '*.onnx' matches nothing in {tmp_path}; "
        "patterns are relative to the flow file",
        f"{file}:13:10: `requirements` of data: there is no file './w.whl' in {tmp_path}",
        f"{file}:13:10: `requirements` of data: there is no file 'req.txt' in {tmp_path}",
    ] == [str(issue) for issue in issues]


def test_scripts_of_health_commands_have_to_be_there(tmp_path: Path) -> None:
    """Programs of the machine are looked for there."""
    health = "[check.py, ./look --far, /opt/look, curl -f x]"
    (tmp_path / "flow.yml").write_text(f"nodes:\n  - {{id: a, path: x, health: {health}}}\n")
    (tmp_path / "look").touch()
    assert [
        f"{tmp_path}/flow.yml:2:31: `health` of a: there is no file 'check.py' in {tmp_path}",
        f"{tmp_path}/flow.yml:2:41: `health` of a: './look' is not executable; "
        f"type chmod +x {tmp_path}/look",
    ] == [str(issue) for issue in check_files(load(tmp_path / "flow.yml").dataflow)]


def test_shell_nodes_can_be_allowed(tmp_path: Path) -> None:
    """By whoever trusts the file."""
    (tmp_path / "flow.yml").write_text("nodes: [{id: sh, path: shell, args: echo hi}]\n")
    assert [] == check_files(
        load(tmp_path / "flow.yml").dataflow, {"DORA_ALLOW_SHELL_NODES": "true"}
    )
