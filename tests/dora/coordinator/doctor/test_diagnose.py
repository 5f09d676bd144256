"""From what was seen to findings: each fault is told once, with its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from deploy.errors import ConnectionFailed, MachineError
from deploy.facts import Installed
from deploy.inventory import Machine, loads
from dora.coordinator.doctor.diagnose import diagnose
from dora.coordinator.doctor.evidence import Evidence, Link, Look, Query, Supply
from dora.coordinator.doctor.finding import Severity
from dora.coordinator.onlooker import TCP, Clock, Reached
from tests.dora.compile.test_dataplane import facts

NOW = 1_800_000_000.0
FIT = Query(
    environment=None,
    missing_modules=(),
    writable=True,
    noexec=False,
    inodes_free=1_000_000,
    shm_free=10**9,
    shm_writable=True,
    memfd=True,
    cgroups=2,
    cgroups_ours=True,
    open_files=4096,
    sshd={"maxsessions": "10", "maxstartups": "10:30:100"},
)
RUNNING = {"flow": Installed(current=1, hash="h")}


def look(name: str = "a", **changes: Any) -> Look:
    """A machine with which all is well."""
    found = Look(
        machine=Machine(name, f"{name}.local"),
        facts=replace(facts(name), disk_free=10**11, supervisor={"running": True}),
        query=FIT,
        clock=Clock(0.01, 0.02),
        now=NOW,
        ours=True,
        boot="systemd",
        port=7447,
    )
    return replace(found, **changes)


def evidence(*looks: Look, links: tuple[Link, ...] = (), **more: Any) -> Evidence:
    rows = {it.machine.id: it for it in looks}
    text = "machines:\n" + "".join(f"  {name}: {{}}\n" for name in rows) + "  spare: {}\n"
    machines = tuple(it.machine for it in looks)
    return Evidence(loads(text), **{"machines": machines, "looks": rows, "links": links, **more})


def way(source: str, target: str, error: str | None = None, deployment: str | None = None) -> Link:
    return Link(source, target, f"{target}.local", 7447, deployment, Reached(error=error, text="x"))


def told(found: Evidence, machine: str = "a") -> list[tuple[str, str]]:
    return [(it.check, it.severity.value) for it in diagnose(found).machines[machine]]


def test_with_a_fit_fleet_nothing_is_found() -> None:
    """Two machines that reach each other."""
    found = diagnose(evidence(look("a"), look("b"), links=(way("a", "b"), way("b", "a"))))

    assert () == found.all
    assert found.healthy


QUERIES: dict[str, tuple[Mapping[str, Any], tuple[str, str]]] = {
    "a Python that somebody may remove": ({"environment": "/venv"}, ("python", "note")),
    "a Python without sqlite": ({"missing_modules": ("sqlite3",)}, ("python", "warning")),
    "a store that is not ours": ({"writable": False}, ("disk", "error")),
    "a store on a disk without programs": ({"noexec": True}, ("disk", "error")),
    "a disk with too many files": ({"inodes_free": 5}, ("disk", "warning")),
    "no nameless memory": ({"memfd": False}, ("memfd", "error")),
    "no /dev/shm": ({"shm_free": None}, ("shm", "note")),
    "a full /dev/shm": ({"shm_free": 1000}, ("shm", "note")),
    "no control groups": ({"cgroups": 0, "cgroups_ours": False}, ("cgroups", "note")),
    "control groups of others": ({"cgroups_ours": False}, ("cgroups", "note")),
    "few files": ({"open_files": 256}, ("open_files", "warning")),
    "an sshd with few sessions": ({"sshd": {"maxsessions": "2"}}, ("sshd", "warning")),
    "an sshd with few logins": ({"sshd": {"maxstartups": "2:30:9"}}, ("sshd", "warning")),
    "an sshd that forwards nothing": (
        {"sshd": {"allowstreamlocalforwarding": "no"}},
        ("sshd", "note"),
    ),
}


@pytest.mark.parametrize("kind", QUERIES)
def test_each_fault_of_a_machine_is_told_with_its_remedy(kind: str) -> None:
    """One finding, with something to do."""
    changes, expected = QUERIES[kind]
    found = evidence(look(query=replace(FIT, **changes)))

    assert [expected] == told(found)
    assert all(it.problem and it.remedy for it in diagnose(found).all)


LOOKS: dict[str, tuple[Mapping[str, Any], tuple[str, str]]] = {
    "a clock that is ahead": ({"clock": Clock(3.0, 0.01)}, ("clock", "warning")),
    "a clock of the past": ({"clock": Clock(-4e5, 0.01)}, ("clock", "error")),
    "another supervisor": ({"ours": False}, ("supervisor", "note")),
    "a node without its priority": (
        {"shortfalls": {"arm of flow": "is scheduled as other, not as fifo 50"}},
        ("scheduling", "warning"),
    ),
    "a lock in use": ({"locks": {"flow": {"owner": "ann", "since": NOW - 9}}}, ("lock", "note")),
    "an old lock": (
        {"locks": {"flow": {"owner": "ann", "since": NOW - 9999}}},
        ("lock", "warning"),
    ),
    "a pause": ({"holds": ({"owner": "ann", "since": NOW},)}, ("hold", "warning")),
    "a hold of a node": (
        {"holds": ({"unit": "arm", "deployment": "flow", "since": NOW},)},
        ("hold", "note"),
    ),
    "cores that are not there": (
        {"machine": Machine("a", "a.local", cores=(0, 7))},
        ("cores", "error"),
    ),
    "a supervisor that is gone": (
        {"facts": replace(facts("a"), disk_free=10**11, deployments=RUNNING)},
        ("supervisor", "error"),
    ),
    "nothing for the next boot": (
        {"boot": None, "facts": replace(look().facts, deployments=RUNNING)},
        ("boot", "warning"),
    ),
    "a generation on trial": (
        {
            "facts": replace(
                look().facts, deployments={"flow": Installed(current=2, hash="h", pending=2)}
            )
        },
        ("trial", "note"),
    ),
}


@pytest.mark.parametrize("kind", LOOKS)
def test_each_fault_of_what_runs_is_told_with_its_remedy(kind: str) -> None:
    """One finding, with something to do."""
    changes, expected = LOOKS[kind]
    found = evidence(look(**changes))

    assert [expected] == told(found)
    assert all(it.problem and it.remedy for it in diagnose(found).all)


def test_an_offset_that_a_slow_link_explains_is_none() -> None:
    """Half a second, measured over a second."""
    assert [] == told(evidence(look(clock=Clock(0.5, 0.6))))


@pytest.mark.parametrize("error", ["timeout", "refused", "no_route", "dns"])
def test_machines_that_do_not_reach_each_other(error: str) -> None:
    """The first one's router has to call the other one's; nobody calls back."""
    there = evidence(look("a"), look("b"), links=(way("a", "b", error), way("b", "a")))
    back = evidence(look("a"), look("b"), links=(way("a", "b"), way("b", "a", error)))

    assert ([("port", "error")], []) == (told(there), told(there, "b"))
    assert ([], [("port", "note")]) == (told(back), told(back, "b"))
    assert not diagnose(there).healthy
    assert diagnose(back).healthy


@pytest.mark.parametrize(
    ("deployment", "inputs", "severity", "words"),
    [
        ("flow", ("plot/image",), "error", "plot/image of flow needs it (`link: direct`)"),
        ("flow", (), "warning", "inputs of flow with `link: direct` may need it"),
        (None, ("plot/image",), "warning", "on these machines plot/image would need it"),
    ],
)
def test_a_port_that_direct_links_call(
    deployment: str | None, inputs: tuple[str, ...], severity: str, words: str
) -> None:
    """In either direction: an error if something that runs calls there, else a warning; with what
    opens the port."""
    ways = tuple(
        replace(way(*ends, "timeout", deployment), protocol=TCP, inputs=inputs)
        for ends in (("a", "b"), ("b", "a"))
    )
    found = diagnose(evidence(look("a"), look("b"), links=ways)).machines

    for one, other in (("a", "b"), ("b", "a")):
        (finding,) = found[one]
        assert ("port", severity) == (finding.check, finding.severity.value)
        assert (
            f"nothing comes back from TCP port 7447 of {other} ({other}.local)" in finding.problem
        )
        assert words in finding.problem
        assert "(ufw allow 7447/tcp)" in finding.remedy
        assert "`address:`" in finding.remedy


def test_a_port_that_refuses_a_direct_link_may_have_a_firewall() -> None:
    """Or nobody who listens: its log is named, too, where a router is to be there."""
    remedies = []
    for deployment in ("flow", None):
        refused = replace(
            way("a", "b", "refused", deployment), protocol=TCP, inputs=("plot/image",)
        )
        (finding,) = diagnose(evidence(look("a"), look("b"), links=(refused,))).machines["a"]
        assert "it reaches b, but not TCP port 7447 of b (b.local): refused" in finding.problem
        remedies.append(finding.remedy)

    assert ["ufw allow 7447/tcp" in it for it in remedies] == [True, True]
    assert ["dora logs flow --node dora-router" in it for it in remedies] == [True, False]


def test_a_port_that_a_router_needs_by_tcp_and_somebody_else_has() -> None:
    """Of a flow that was asked about."""
    found = evidence(look("a", no_door=(7447,)), look("b"))

    assert ([("port", "warning")], []) == (told(found), told(found, "b"))
    (finding,) = diagnose(found).machines["a"]
    assert "by TCP none of the ports [7447] is free" in finding.problem


def test_a_router_that_does_not_listen_is_named() -> None:
    """With the log that says why."""
    links = (way("a", "b", "refused", "flow"), way("b", "a", "timeout", "flow"))
    (found,) = diagnose(evidence(look("a"), look("b"), links=links)).machines["a"]

    assert "router of flow" in found.problem
    assert "dora logs flow --node dora-router --machine b" == found.remedy


@pytest.mark.parametrize(
    ("error", "check"),
    [
        (ConnectionFailed("a", "auth", "no key fits", hint="ssh-copy-id a"), "login"),
        (ConnectionFailed("a", "host_key_changed", "another key", hint="look"), "host_key"),
        (ConnectionFailed("a", "timeout", "silent", hint="ping"), "reach"),
        (MachineError("a", "there is no 'python3'", hint="install it"), "machine"),
    ],
)
def test_machines_that_do_not_answer(error: MachineError, check: str) -> None:
    """With the connection's own reason and remedy; those that may be away are no error."""
    machine = Machine("a", "a.local")
    there = evidence(machines=(machine,), unreachable={"a": error})
    away = evidence(machines=(replace(machine, optional=True),), unreachable={"a": error})

    assert [(check, "error")] == told(there)
    assert [(check, "warning")] == told(away)
    assert error.hint == diagnose(there).machines["a"][0].remedy


def test_addresses_that_cannot_work() -> None:
    """Loopback is everybody's own; two machines with one address; embedded ones beside others."""
    a, b, c = look("a"), look("b"), look("c")
    a = replace(a, machine=Machine("a", "127.0.0.1"))
    b, c = (replace(it, machine=Machine(it.machine.id, "10.0.0.1")) for it in (b, c))
    here = replace(look("here"), machine=Machine("here", "embedded"))

    problems = [it.problem for it in diagnose(evidence(a, b, c, here)).fleet]
    assert 3 == len(problems)
    for words in ("themselves", "c and b have the same address", "embedded machines (here)"):
        assert any(words in it for it in problems), words


def test_errors_come_first() -> None:
    """What keeps dataflows from running is not below what is good to know."""
    bad = replace(FIT, environment="/venv", memfd=False, missing_modules=("ssl",))

    assert list(Severity) == [
        it.severity for it in diagnose(evidence(look(query=bad))).machines["a"]
    ]


def test_a_machine_without_a_free_port() -> None:
    """Only where there is another one to speak to."""
    assert [("port", "error")] == told(evidence(look("a", port=None), look("b")))
    assert [] == told(evidence(look("a", port=None)))


NO_WHEEL = Supply(("arm",), problem="no wheel for riscv64\n  but others", hint="another version")
NO_INDEX = Supply(("dora",), problem="failed to fetch", no_index=True)


def supplied(**machines: Supply) -> Evidence:
    return evidence(look("a"), look("b"), supplies={name: (it,) for name, it in machines.items()})


def test_packages_that_are_not_to_be_had_are_an_error_where_the_node_has_to_run() -> None:
    """Where another machine can run it, a warning; what every node needs is always an error."""
    assert [] == told(supplied(a=Supply(("arm",), "index")))
    assert [("wheels", "error")] == told(supplied(a=NO_WHEEL))
    assert [("wheels", "error")] == told(supplied(a=NO_WHEEL, b=NO_WHEEL))
    both = supplied(a=NO_WHEEL, b=Supply(("arm", "dora"), "built"))
    assert ([("wheels", "warning")], []) == (told(both), told(both, "b"))
    library = replace(NO_WHEEL, nodes=("dora",))
    assert [("wheels", "error")] == told(supplied(a=library, b=Supply(("dora",), "index")))
    (finding,) = diagnose(supplied(a=NO_WHEEL)).machines["a"]
    assert finding.problem.startswith("packages of arm are not to be had for ")
    assert finding.problem.endswith(": no wheel for riscv64 but others")
    assert "another version" == finding.remedy


def test_a_laptop_without_internet_is_one_finding_of_the_whole() -> None:
    """An error if packages have to be fetched, else good to know; machines are not blamed."""
    (finding,) = diagnose(supplied(a=NO_INDEX, b=NO_INDEX)).all
    assert ("index", Severity.ERROR) == (finding.check, finding.severity)
    assert "what a, b need was never fetched: failed to fetch" in finding.problem
    (finding,) = diagnose(supplied(a=Supply(("dora",), "fetched"))).all
    assert ("index", Severity.NOTE) == (finding.check, finding.severity)
