"""machines.yml -> Inventory of Machines, and the selection of some of them. Laptop only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from deploy.document import (
    Document,
    DocumentPath,
    check,
    name,
    parse,
    read,
    shown,
    suggest,
)
from deploy.errors import InventoryError, Issue
from deploy.inventory_schema import is_archive, schema

EMBEDDED = "embedded"
LOOPBACK = "127.0.0.1"
GRACE = 30.0  # seconds
METRICS_PORT = 9464  # what OpenTelemetry's exporters for Prometheus use


@dataclass(frozen=True)
class Machine:
    """A host. None means: not said in the inventory, left to ssh_config or the default.

    `line` is where the inventory names it (1-based; 0: nowhere).
    """

    id: str
    host: str
    port: int | None = None
    user: str | None = None
    identity: str | None = None
    jump: str | None = None
    host_key: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    cores: tuple[int, ...] | None = None
    address: str | None = None
    python: str | None = None  # a program there, or an archive on this laptop
    supervisor_python: str | None = None
    index_urls: tuple[str, ...] = field(default=(), repr=False)  # with passwords, if they have any
    store: str | None = None
    optional: bool = False
    metrics: tuple[str, int] | None = None  # where its supervisor serves figures: address, port
    link: float | None = None  # bytes a second between it and other machines
    grace: float = GRACE  # seconds for which it may be out of reach until it counts as lost
    line: int = field(default=0, compare=False, repr=False)

    @property
    def lease(self) -> float:
        """Seconds for which what may move runs on there when nobody is heard. The other half of
        `grace` is for it to end, and for clocks that do not go alike."""
        return self.grace / 2

    @property
    def python_archive(self) -> Path | None:
        """The relocatable Python for its units, if `python` is one."""
        archive = self.python is not None and is_archive(self.python)
        return Path(self.python or "") if archive else None

    @property
    def agent_python(self) -> str:
        """The program there that runs the supervisor."""
        return (self.supervisor_python if self.python_archive else self.python) or "python3"

    @property
    def embedded(self) -> bool:
        """Whether the machine is this laptop, behind an SSH server that dora starts itself."""
        return self.host == EMBEDDED


@dataclass(frozen=True)
class Inventory:
    """The machines in the order of the file. `notes` tell what of the file was left aside."""

    file: str
    machines: Mapping[str, Machine]
    notes: tuple[Issue, ...] = ()


def load(path: str | Path) -> Inventory:
    """The inventory of a file. Raises InventoryError with every problem of the file."""
    return _load(read(path))


def loads(content: str, file: str = "machines.yml") -> Inventory:
    """The inventory of YAML text. Raises InventoryError with every problem of it."""
    return _load(parse(content, file))


def _load(document: Document) -> Inventory:
    root = document.value if isinstance(document.value, dict) else {}
    if isinstance(root.get("machines"), dict):  # `rover-1:` alone is a machine that says nothing
        root["machines"] = {
            id: {} if given is None else given for id, given in root["machines"].items()
        }
    checked = check(document, schema(root.get("machines")))
    issues = list(checked.issues)
    defaults = checked.value.get("defaults", {})
    machines: dict[str, Machine] = {}
    for path, id, given in _entries(checked.value.get("machines", {})):
        try:
            name(id)
        except ValueError as error:
            issues.append(
                document.issue(path, f"{shown(id)} cannot be an id; it must be {error}", key=True)
            )
            continue
        if id in machines:
            first = f"the first one is in line {machines[id].line}"
            issues.append(
                document.issue((*path, "id"), f"there are two machines {shown(id)}", first)
            )
            continue
        line = document.at_key(path).line
        machines[id] = _machine(id, given, defaults, document.file, line)
        if "supervisor_python" in given and machines[id].python_archive is None:
            message = "`supervisor_python` is for machines whose `python` is an archive"
            hint = "name the one Python that is there in `python`"
            issues.append(document.issue((*path, "supervisor_python"), message, hint, key=True))
        if id in [hop.rpartition("@")[2] for hop in (machines[id].jump or "").split(",")]:
            message = f"the way to {id} cannot go through {id} itself"
            where = (*path, "jump") if "jump" in given else ("defaults", "jump")
            issues.append(document.issue(where, message))
    if not machines and not issues:
        issues.append(document.issue(("machines",), "there is no machine in this file", key=True))
    if issues:
        raise InventoryError(issues)
    return Inventory(document.file, machines, tuple(_notes(document, root)))


def _entries(machines: Any) -> Iterator[tuple[DocumentPath, str, dict[str, Any]]]:
    """Both forms of the file. A machine that is wrong as a whole, or has no id, is passed over."""
    if isinstance(machines, list):
        for index, given in enumerate(machines):
            if given is not None and "id" in given:
                yield ("machines", index), given["id"], given
    else:
        for id, given in machines.items():
            yield ("machines", id), id, given


def _beside(file: str, python: str | None) -> str | None:
    """An archive's path is relative to the inventory; a program is the machine's business."""
    if python is None or not is_archive(python):
        return python
    return str(Path(file).absolute().parent / Path(python).expanduser())


def _machine(
    id: str, given: dict[str, Any], defaults: dict[str, Any], file: str, line: int
) -> Machine:
    """Labels add up, a machine's own winning; all else of the defaults is replaced."""
    values = {**defaults, **given}
    return Machine(
        id=id,
        host=values.get("host", id),
        port=values.get("port"),
        user=values.get("user"),
        identity=values.get("identity"),
        jump=values.get("jump"),
        host_key=values.get("host_key"),
        labels={**defaults.get("labels", {}), **given.get("labels", {})},
        tags=tuple(dict.fromkeys(values.get("tags", ()))),
        cores=values.get("cores"),
        address=values.get("address", values.get("zenoh_addr")),
        python=_beside(file, values.get("python")),
        supervisor_python=values.get("supervisor_python"),
        index_urls=tuple(values.get("index_urls", ())),
        store=values.get("store"),
        optional=values.get("optional", False),
        metrics=_metrics(values.get("metrics")),
        link=values.get("link"),
        grace=values.get("grace", GRACE),
        line=line,
    )


def _metrics(given: Mapping[str, Any] | None) -> tuple[str, int] | None:
    return None if given is None else (given.get("bind", LOOPBACK), given.get("port", METRICS_PORT))


def _notes(document: Document, root: dict[str, Any]) -> Iterator[Issue]:
    if "coordinator" in root:
        message = "the coordinator block is left aside: there is no coordinator process here"
        yield document.issue(("coordinator",), message, key=True)
    machines = root["machines"]
    for index, given in enumerate(machines if isinstance(machines, list) else []):
        for key in ("daemon_port", "zenoh_port"):
            if key in given:
                message = f"{key} is left aside: ports are chosen when deploying"
                yield document.issue(("machines", index, key), message, key=True)


def select(inventory: Inventory, expression: str) -> tuple[Machine, ...]:
    """The machines that `expression` names, in the order of the inventory.

    Items are separated by commas: an id, a glob of ids, `@tag`, and each of them after `!` to leave
    machines out. With exclusions alone, all others are selected. Raises InventoryError for an item
    that matches nothing, and if no machine is left.
    """
    items = [item.strip() for item in expression.split(",") if item.strip()]
    issues: list[Issue] = []
    wanted: set[str] = set()
    excluded: set[str] = set()
    for item in items:
        pattern = item.removeprefix("!").strip()
        matching = _matching(inventory, pattern)
        if not matching:
            issues.append(_no_match(inventory, pattern))
        (excluded if item.startswith("!") else wanted).update(matching)
    if all(item.startswith("!") for item in items) and items:
        wanted = set(inventory.machines)
    if not issues and not wanted - excluded:
        message = f"{shown(expression)} selects no machine"
        issues.append(Issue(inventory.file, 1, 1, message, _all_ids(inventory)))
    if issues:
        raise InventoryError(issues)
    return tuple(
        machine for id, machine in inventory.machines.items() if id in wanted and id not in excluded
    )


def _matching(inventory: Inventory, pattern: str) -> set[str]:
    if pattern.startswith("@"):
        return {id for id, machine in inventory.machines.items() if pattern[1:] in machine.tags}
    return {id for id in inventory.machines if fnmatchcase(id, pattern)}


def _no_match(inventory: Inventory, pattern: str) -> Issue:
    if pattern.startswith("@"):
        tags = {tag for machine in inventory.machines.values() for tag in machine.tags}
        hint = suggest(pattern, [f"@{tag}" for tag in tags])
        everything = f"the tags are {', '.join(sorted(tags))}" if tags else "no machine has a tag"
        return Issue(
            inventory.file, 1, 1, f"no machine has the tag {shown(pattern[1:])}", hint or everything
        )
    hint = suggest(pattern, inventory.machines) or _all_ids(inventory)
    return Issue(inventory.file, 1, 1, f"no machine matches {shown(pattern)}", hint)


def _all_ids(inventory: Inventory) -> str:
    return f"the machines are {', '.join(inventory.machines)}"
