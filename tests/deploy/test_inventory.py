"""Inventories: both forms, every mistake in words, and the selection of machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import InventoryError
from deploy.inventory import Inventory, Machine, load, loads, select

BROKEN = Path(__file__).parent / "broken_inventories"

FLEET = """
defaults: {user: robot, python: python3, labels: {site: hall, gpu: none}, tags: [lab]}
machines:
  base:
    host: 10.77.0.1
    port: 2222
    user: ubuntu
    identity: ~/.ssh/robots
    jump: pi@bastion:2022,[fe80::1]:22
    host_key: SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
    labels: {arch: arm64, gpu: jetson, big: true, rev: 2}
    tags: [wheels]
    cores: 2-4
    address: 10.78.0.1
    python: /usr/bin/python3.11
    store: /var/lib/dora/
    optional: true
    link: 100Mbit
  rover-1:
  rover-2: {tags: [wheels, arm]}
  here: {host: embedded, tags: []}
"""


def fleet() -> Inventory:
    return loads(FLEET, "machines.yml")


def test_every_key_of_a_machine_is_read() -> None:
    """The mapping form, with defaults below it; labels add up, all else is replaced."""
    assert Machine(
        id="base",
        host="10.77.0.1",
        port=2222,
        user="ubuntu",
        identity="~/.ssh/robots",
        jump="pi@bastion:2022,[fe80::1]:22",
        host_key="SHA256:" + 43 * "A",
        labels={"site": "hall", "gpu": "jetson", "arch": "arm64", "big": "true", "rev": "2"},
        tags=("wheels",),
        cores=(2, 3, 4),
        address="10.78.0.1",
        python="/usr/bin/python3.11",
        store="/var/lib/dora",
        optional=True,
        link=12.5e6,
    ) == fleet().machines["base"]  # fmt: skip


def test_a_machine_may_be_a_name_alone() -> None:
    """Then its host is its id, so that aliases of ssh_config work, and the defaults hold."""
    machine = fleet().machines["rover-1"]
    assert Machine(
        id="rover-1",
        host="rover-1",
        user="robot",
        labels={"site": "hall", "gpu": "none"},
        tags=("lab",),
        python="python3",
    ) == machine  # fmt: skip
    assert 19 == machine.line


def test_machines_keep_the_order_of_the_file() -> None:
    """Ties are broken by it."""
    assert ["base", "rover-1", "rover-2", "here"] == list(fleet().machines)


def test_only_the_embedded_host_is_this_laptop() -> None:
    """`host: embedded` is the one word with a meaning of its own."""
    assert [False, False, False, True] == [it.embedded for it in fleet().machines.values()]


def test_doras_cluster_file_loads_as_it_is(tmp_path: Path) -> None:
    """The list form; what has no meaning here is noted, not silently dropped."""
    file = tmp_path / "cluster.yml"
    file.write_text("""\
coordinator: {addr: 192.168.1.10, port: 6012}
machines:
  - id: a
    host: 192.168.1.20
    user: ubuntu
    port: 22
    daemon_port: 53290
    zenoh_addr: 10.0.0.20
    zenoh_port: 7447
    labels: {gpu: "true"}
  - {id: 7, host: 192.168.1.21}
""")
    inventory = load(file)
    assert [
        Machine("a", "192.168.1.20", 22, "ubuntu", labels={"gpu": "true"}, address="10.0.0.20"),
        Machine("7", "192.168.1.21"),
    ] == list(inventory.machines.values())
    assert [
        f"{file}:1:1: the coordinator block is left aside: there is no coordinator process here",
        f"{file}:7:5: daemon_port is left aside: ports are chosen when deploying",
        f"{file}:9:5: zenoh_port is left aside: ports are chosen when deploying",
    ] == [str(note) for note in inventory.notes]


@pytest.mark.parametrize("file", sorted(BROKEN.glob("*.yml")), ids=lambda file: file.stem)
def test_what_is_wrong_is_said_with_its_place(file: Path) -> None:
    """Every problem of a file at once; `<name>.issues` holds the whole text."""
    with pytest.raises(InventoryError) as caught:
        loads(file.read_text(), file.name)
    assert file.with_suffix(".issues").read_text() == f"{caught.value}\n"


def test_a_missing_inventory_names_its_path(tmp_path: Path) -> None:
    """No traceback for a mistyped name."""
    with pytest.raises(InventoryError) as caught:
        load(tmp_path / "machines.yml")
    assert f"{tmp_path}/machines.yml:1:1: cannot be read: no such file or directory" == str(
        caught.value
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("base", ["base"]),
        ("rover-*", ["rover-1", "rover-2"]),
        ("@wheels", ["base", "rover-2"]),
        ("@wheels,rover-1", ["base", "rover-1", "rover-2"]),
        ("rover-2,base", ["base", "rover-2"]),
        ("rover-*,@lab,!rover-1", ["rover-2"]),
        ("!@wheels", ["rover-1", "here"]),
        (" base , !rover-* ", ["base"]),
        ("*,!rover-?,!here", ["base"]),
    ],
)
def test_a_selection_keeps_the_order_of_the_inventory(expression: str, expected: list[str]) -> None:
    """Ids, globs, tags and exclusions."""
    assert expected == [machine.id for machine in select(fleet(), expression)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rovr-1", ["no machine matches 'rovr-1'; did you mean 'rover-1'?"]),
        ("x", ["no machine matches 'x'; the machines are base, rover-1, rover-2, here"]),
        ("@weels", ["no machine has the tag 'weels'; did you mean '@wheels'?"]),
        ("@x", ["no machine has the tag 'x'; the tags are arm, lab, wheels"]),
        (
            "base,!bse,@x",
            [
                "no machine has the tag 'x'; the tags are arm, lab, wheels",
                "no machine matches 'bse'; did you mean 'base'?",
            ],
        ),
        (
            "base,!base",
            ["'base,!base' selects no machine; the machines are base, rover-1, rover-2, here"],
        ),
        (" ,", ["' ,' selects no machine; the machines are base, rover-1, rover-2, here"]),
    ],
)
def test_a_selection_of_nothing_is_a_mistake(expression: str, expected: list[str]) -> None:
    """A mistyped name must not mean that nothing needs to be done."""
    with pytest.raises(InventoryError) as caught:
        select(fleet(), expression)
    assert [f"machines.yml:1:1: {text}" for text in expected] == str(caught.value).splitlines()


def test_an_archive_lies_beside_the_inventory_and_needs_another_python(tmp_path: Path) -> None:
    """What units run with comes from the laptop; the supervisor runs with what is there."""
    file = tmp_path / "machines.yml"
    file.write_text(
        "defaults: {python: python3.12.tar.gz, index_urls: [https://me:hush@example.org/simple]}\n"
        "machines:\n  a: {supervisor_python: python3.8}\n  b:\n  c: {python: python3.11}\n"
        "  d: {index_urls: []}\n"
    )
    machines = load(file).machines
    archive = tmp_path / "python3.12.tar.gz"
    assert [archive, archive, None, archive] == [it.python_archive for it in machines.values()]
    pythons = ["python3.8", "python3", "python3.11", "python3"]
    assert pythons == [it.agent_python for it in machines.values()]
    assert [1, 1, 1, 0] == [len(it.index_urls) for it in machines.values()]
    assert "hush" not in repr(machines)


def test_metrics_are_for_the_machine_itself_unless_it_is_said() -> None:
    """Off without a word; on loopback with one; elsewhere where an address is named."""
    machines = loads(
        "machines: {a: , b: {metrics: {}}, c: {metrics: {port: 9100, bind: 0.0.0.0}}}"
    ).machines
    assert [None, ("127.0.0.1", 9464), ("0.0.0.0", 9100)] == [
        machine.metrics for machine in machines.values()
    ]
