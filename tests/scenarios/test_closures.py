"""What a node is given to run with: a Python of its own, packages from wherever they are named."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.build.index import Index
from tests.deploy.build.pythons import real
from tests.scenarios.fleet import Fleet, wait_until, write_flow

TELL = """
import sys
import tiny
print("|".join([tiny.version, tiny.tag, sys.executable, sys.prefix]))
"""
FLOW = """\
nodes:
  - {id: listed, path: listed/node.py, deploy: {machine: base}}
  - {id: inline, path: inline/node.py, requirements: [other], deploy: {machine: base}}
  - {id: project, path: project/node.py, deploy: {machine: base}}
"""
INLINE = '# /// script\n# requires-python = ">=3.8"\n# dependencies = ["tiny==2.0"]\n# ///\n'
NODES = {
    "listed/node.py": TELL,
    "listed/requirements.txt": "tiny == 3.0  # pinned\n",
    "inline/node.py": INLINE + "import other\n" + TELL,
    "project/node.py": TELL,
    "project/pyproject.toml": '[project]\nname = "p"\nversion = "1"\ndependencies = ["tiny>=4"]\n',
}


def test_a_python_from_an_archive_with_packages_from_the_machines_index(
    embedded: Fleet, tmp_path: Path
) -> None:
    """Nodes run with it, out of the store, shared by all; their packages come from `requirements:`,
    requirements.txt, the script itself and pyproject.toml."""
    index = Index(tmp_path / "index")
    index.wheel("other")
    for version in ("2.0", "3.0", "4.0"):
        index.wheel("tiny", version)
    archive = real(tmp_path / "python.tar.gz")
    machine = f"{{host: embedded, python: {archive.name}, index_urls: [{index.url}]}}"
    embedded.inventory.write_text(f"machines:\n  base: {machine}\n")
    flow = tmp_path / "many/flow.yml"
    for name, text in NODES.items():
        (flow.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (flow.parent / name).write_text(text)
    write_flow(flow.parent, {}, FLOW)
    result = embedded.deploy(flow)
    assert "deployed" == result["outcome"]

    expected = {"inline": "2.0", "listed": "3.0", "project": "4.0"}
    pythons = set()
    for node, version in expected.items():
        wait_until(lambda: embedded.lines(node), f"{node} to tell")  # noqa: B023
        found, tag, executable, prefix = embedded.lines(node)[0].split("|")
        assert (version, "py3-none-any") == (found, tag)
        assert executable.startswith(f"{prefix}/bin/python3.")
        pythons.add(prefix)
    assert 1 == len(pythons)
    assert "/store/trees/" in pythons.pop()
    assert "unchanged" == embedded.deploy(flow)["outcome"]


def test_a_python_for_other_machines_ends_the_command(embedded: Fleet, tmp_path: Path) -> None:
    """Before anything is copied, with the machine's name."""
    archive = tmp_path / "python.tar.gz"
    archive.write_bytes(b"\x28\xb5\x2f\xfd")
    embedded.inventory.write_text(
        "defaults: {python: python.tar.gz}\nmachines:\n  base: {host: embedded}\n"
    )
    flow = write_flow(
        tmp_path / "one", {"n.py": "print(1)\n"}, "nodes:\n  - {id: n, path: n.py, outputs: [x]}\n"
    )
    done = embedded.dora("deploy", flow, "--detach", code=1)
    assert "packed with zstd" in done.stderr
    assert [] == embedded.json("status")["nodes"]
