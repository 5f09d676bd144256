"""Who may import whom. A failure says which rule was broken, and why there is such a rule."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What runs on a bare robot: the supervisor, the store's machine side, and the nouns they share.
ROBOT_SIDE = (
    "deploy",
    "deploy.unit",
    "deploy.profile",
    "deploy.generation",
    "deploy.secret",
    "deploy.malformed",
    "deploy.store",
    "deploy.store.path",
    "deploy.store.outline",
    "deploy.store.base",
    "deploy.store.durable",
    "deploy.store.local",
    "deploy.store.archive",
    "deploy.store.serve",
    "deploy.store.collect",
    "deploy.store.verify",
    "deploy.supervisor.*",
    # Sent as text to the machine's own Python.
    "dora.coordinator.machine_query",
    "dora.coordinator.state_query",
)
# What every node imports, or may import.
NODE_SIDE = (
    "dora",
    *(f"dora.{path.stem}" for path in sorted((ROOT / "dora").glob("*.py"))),
    "dora.protocol.*",
    "dora.communication.*",
    "dora.runtime.*",
)
LAPTOP_DORA = ("dora.dataflow", "dora.placement", "dora.compile", "dora.coordinator", "dora.cli")

HOMES = {
    # A library has one home, so that it can be replaced and its exceptions stay there.
    "asyncssh": ("deploy.connection.ssh", "deploy.connection.embedded"),
    "zenoh": ("dora.communication.zenoh", "dora.communication.router"),
    "ruamel": ("deploy.document",),
    "cerberus": ("deploy.document",),
    "networkx": ("dora.dataflow", "dora.placement", "dora.compile"),
    "click": ("dora.cli",),
    "rich": ("dora.cli",),
    "cffi": ("dora.runtime.c_abi",),
    "wasmtime": ("dora.runtime.wasm", "dora.runtime.wasm_imports", "dora.runtime.wasm_module"),
    "opentelemetry": ("dora.spans", "dora.traced", "dora.runtime.traced"),
    "watchfiles": ("dora.coordinator.saves",),
}


def files_of(modules: tuple[str, ...]) -> list[Path]:
    """The files of `modules`; `name.*` is a whole package."""
    found = []
    for module in modules:
        path = ROOT / module.removesuffix(".*").replace(".", "/")
        if module.endswith(".*"):
            found += sorted(path.rglob("*.py"))
        else:
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            if file.exists():
                found.append(file)
    return found


def every_file() -> list[Path]:
    return [
        path for package in ("dora", "deploy") for path in sorted((ROOT / package).rglob("*.py"))
    ]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module named in an import, also inside functions; not under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute, so that they can be searched"
            module = node.module or ""
            for alias in node.names:
                below = ROOT / module.replace(".", "/") / alias.name
                is_module = below.with_suffix(".py").exists() or below.is_dir()
                yield f"{module}.{alias.name}" if is_module else module


def inside(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def broken(path: Path, forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{name_of(path)} imports {name}"
        for name in imports(path)
        if inside(name, *forbidden) and name not in allowed
    ]


def test_deploy_knows_nothing_of_dataflows() -> None:
    """`deploy` deploys any process; what a dataflow is stays in `dora`."""
    assert [] == [
        row
        for path in every_file()
        if inside(name_of(path), "deploy")
        for row in broken(path, ("dora", "zenoh", "pyarrow"))
    ]


def test_what_runs_on_a_bare_robot_needs_only_its_python() -> None:
    """The supervisor starts where nothing is installed: standard library and itself alone."""
    ours = {name_of(path) for path in files_of(ROBOT_SIDE)}
    found = [
        f"{name_of(path)} imports {name}"
        for path in files_of(ROBOT_SIDE)
        for name in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names and name not in ours
    ]
    assert [] == found


def test_a_node_does_not_load_the_laptop() -> None:
    """`import dora` runs in every node: it must be quick and need nothing that deploys."""
    program = "import sys, dora; from dora import Node; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = (
        "deploy",
        *LAPTOP_DORA,
        "asyncssh",
        "ruamel",
        "networkx",
        "cerberus",
        "zenoh",
        "pyarrow",
        "numpy",
        "asyncio",
    )
    assert [] == [name for name in loaded if inside(name, *heavy)]


def test_node_side_imports_nothing_of_the_laptop() -> None:
    """protocol <- communication <- node: the closure of a node holds these and no others."""
    laptop = (*LAPTOP_DORA, "deploy", "asyncssh", "ruamel", "networkx", "cerberus")
    assert [] == [row for path in files_of(NODE_SIDE) for row in broken(path, laptop)]


def test_protocol_and_communication_do_not_look_up() -> None:
    """Two processes agree on the protocol; it depends on nothing but the standard library."""
    for path in files_of(("dora.protocol.*",)):
        outside = [n for n in imports(path) if n.split(".")[0] not in sys.stdlib_module_names]
        assert [] == [name for name in outside if not inside(name, "dora.protocol")], path
    for path in files_of(("dora.communication.*",)):
        assert [] == broken(path, ("dora.node", "dora.runtime")), path


def test_only_compile_coordinator_and_cli_see_deploy() -> None:
    """The seam between dataflows and machines is one folder wide.

    `dora.dataflow` may use `deploy.document` and `deploy.errors`: YAML has one home for both.
    """
    seam = ("dora.compile", "dora.coordinator", "dora.cli")
    shared = ("deploy.addresses", "deploy.document", "deploy.errors", "deploy.inventory")
    for path in every_file():
        name = name_of(path)
        if inside(name, "dora") and not inside(name, *seam):
            allowed = (
                shared if inside(name, "dora.dataflow", "dora.placement", "dora.errors") else ()
            )
            assert [] == broken(path, ("deploy",), allowed)


def test_nothing_imports_the_command_line() -> None:
    """What can be used from a program is not in the command line."""
    assert [] == [
        row
        for path in every_file()
        if not inside(name_of(path), "dora.cli")
        for row in broken(path, ("dora.cli",))
    ]


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_has_one_home(library: str) -> None:
    """Its exceptions and its quirks do not leave it."""
    assert [] == [
        row
        for path in every_file()
        if not inside(name_of(path), *HOMES[library])
        for row in broken(path, (library,))
    ]


def test_no_module_is_a_drawer() -> None:
    """A function without a noun has not found its home yet."""
    drawers = {"utils", "util", "common", "core", "helpers", "helper", "misc"}
    assert [] == [name_of(path) for path in every_file() if drawers & set(name_of(path).split("."))]


def test_there_are_no_cycles() -> None:
    """One direction of imports: a module can be understood after those that it imports."""
    import networkx

    graph = networkx.DiGraph()
    names = {name_of(path): path for path in every_file()}
    for name, path in names.items():
        graph.add_edges_from((name, other) for other in imports(path) if other in names)
    packages = {name for name, path in names.items() if path.name == "__init__.py"}
    graph.remove_nodes_from(packages)
    assert [] == [
        sorted(loop) for loop in networkx.strongly_connected_components(graph) if len(loop) > 1
    ]


def test_every_module_says_what_it_is() -> None:
    """A file's first lines say what it is and where it runs."""
    assert [] == [
        name_of(path)
        for path in every_file()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
