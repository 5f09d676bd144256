"""Ports and router configurations follow from facts alone, and stay what they were."""

from __future__ import annotations

import pytest

from deploy.facts import Facts
from deploy.inventory import Machine
from deploy.profile import Profile
from deploy.unit import Unit
from dora.compile.dataplane import ROUTER, choose_ports, router_config
from dora.errors import DoraError
from dora.protocol.dataflow import RouterSummary
from dora.protocol.router import ROUTER_CONFIG, RouterConfig


def facts(machine: str, ports: tuple[int, ...] = (7447, 7448)) -> Facts:
    return Facts(
        machine=machine,
        arch="aarch64",
        libc="glibc",
        libc_version=(2, 36),
        python="/usr/bin/python3",
        python_version=(3, 11, 2),
        cores=(0, 1),
        memory=1 << 30,
        disk_free=1 << 30,
        hostname=machine,
        user="robot",
        root="/r",
        run="/r/run",
        boot_id="b",
        time=0.0,
        taskset=True,
        free_ports=ports,
        supervisor={},
        deployments={},
    )


def running_router(machine: str, port: int) -> Profile:
    config = RouterConfig("flow", machine, "/r/run/flow/router.sock", listen=f"0.0.0.0:{port}")
    unit = Unit(ROUTER, ("python3",), "/", env={ROUTER_CONFIG: config.to_text()})
    return Profile("flow", machine, (unit,))


def test_embedded_machines_share_an_address_and_get_different_ports() -> None:
    """They are one host."""
    machines = {name: Machine(name, "embedded") for name in ("a", "b")}

    assert {"a": 7447, "b": 7448} == choose_ports(
        machines, {name: facts(name) for name in machines}, {}
    )


def test_machines_of_their_own_may_use_the_same_port() -> None:
    """Their addresses differ."""
    machines = {"a": Machine("a", "10.0.0.1"), "b": Machine("b", "10.0.0.2")}

    assert {"a": 7447, "b": 7447} == choose_ports(
        machines, {name: facts(name) for name in machines}, {}
    )


def test_a_router_keeps_its_port() -> None:
    """A changed port would restart every router: the running one's is not free, and still its."""
    machines = {name: Machine(name, "embedded") for name in ("a", "b")}
    found = {"a": facts("a", (7447,)), "b": facts("b", (7447, 7449))}

    assert {"b": 7447, "a": 7449} == choose_ports(
        machines, {**found, "a": facts("a", (7447, 7449))}, {"b": running_router("b", 7447)}
    )


def test_no_free_port_is_an_error_that_names_the_machine() -> None:
    """The user learns where to look."""
    with pytest.raises(DoraError, match="machine 'a' has no free port"):
        choose_ports({"a": Machine("a", "h")}, {"a": facts("a", ())}, {})


def test_a_single_machine_opens_no_port() -> None:
    """Promise 7: no open port but the data plane's, and that only where there is one."""
    config = router_config("flow", Machine("a", "h"), facts("a"), {})

    assert config.listen is None
    assert config.connect == {}
    assert config.socket == "/r/run/flow/router.sock"


def test_of_two_routers_one_dials_and_each_trusts_all_authorities() -> None:
    """Meshed by the inventory, one link for two, with keys in the machine's own secrets."""
    routers = {
        "a": RouterSummary("10.0.0.1", 7447, "A"),
        "b": RouterSummary("fe80::2", 7448, "B"),
    }
    config = router_config("flow", Machine("a", "10.0.0.1"), facts("a"), routers)

    assert config.listen == "0.0.0.0:7447"
    sixth = router_config("flow", Machine("b", "fe80::2"), facts("b"), routers)
    assert sixth.listen == "[::]:7448"
    assert config.connect == {"b": "[fe80::2]:7448"}
    assert sixth.connect == {}
    assert config.authorities == "AB"
    assert config.key == "/r/secrets/flow/key.pem"


def test_a_name_that_makes_the_sockets_path_too_long_is_refused() -> None:
    """The router could not listen there; the message says what to do."""
    with pytest.raises(DoraError, match=r"too long for machine 'a'.* 1\d\d bytes"):
        router_config("n" * 90, Machine("a", "h"), facts("a"), {})
