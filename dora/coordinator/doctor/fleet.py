"""Checks of machines together: who answers, who reaches whom, what the inventory says. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from deploy.errors import ConnectionFailed, MachineError
from deploy.inventory import Machine
from dora.compile.dataplane import address_of, dials
from dora.coordinator.doctor.evidence import Evidence, Link
from dora.coordinator.doctor.finding import Finding, error, note, warning
from dora.coordinator.onlooker import TCP

CHECK_OF = {"host_key_unknown": "host_key", "host_key_changed": "host_key", "auth": "login"}


def absence(machine: Machine, problem: MachineError) -> Finding:
    """Why a machine could not be reached, entered, or looked at."""
    check = "machine"
    if isinstance(problem, ConnectionFailed):
        check = CHECK_OF.get(problem.cause, "reach")
    remedy = problem.hint or f"dora machines ssh {machine.id}"
    make = warning if machine.optional else error
    return make(check, problem.reason, remedy)


def links(evidence: Evidence, source: str) -> Iterator[Finding]:
    """Ports of others that this machine does not reach. Of two routers one calls the other one, by
    UDP; for direct links the reader's machine calls the sender's, by TCP."""
    for link in evidence.links:
        if link.source != source or link.reached.error is None:
            continue
        problem, remedy = _silent(link)
        if link.protocol == TCP:
            make = error if link.deployment and link.inputs else warning
            yield make("port", f"{problem}; {_who_needs(link)}", remedy)
        elif dials(source, link.target):
            yield error("port", problem, remedy)
        else:
            yield note("port", f"{problem}; {link.target} calls {source}, that is enough", remedy)


def _who_needs(link: Link) -> str:
    inputs = ", ".join(link.inputs)
    if not inputs:
        return f"inputs of {link.deployment} with `link: direct` may need it"
    if link.deployment:
        return f"{inputs} of {link.deployment} needs it (`link: direct`)"
    return f"on these machines {inputs} would need it (`link: direct`)"


def _silent(link: Link) -> tuple[str, str]:
    protocol = link.protocol.upper()
    where = f"{protocol} port {link.port} of {link.target} ({link.host})"
    if link.reached.error == "dns":
        return (
            f"it cannot resolve {link.host!r}, the address of {link.target}'s data plane",
            f"address: IP, of {link.target} in the inventory",
        )
    if link.reached.error == "no_route":
        return (
            f"it has no way to {where}: {link.reached.text}",
            f"are both in one network? `address:` of {link.target} in the inventory says where "
            f"others reach it; dora machines exec {link.source} -- ip route get {link.host}",
        )
    allow = f"let {protocol} through on {link.target} (ufw allow {link.port}/{link.protocol})"
    if link.reached.error == "refused":
        refused = f"it reaches {link.target}, but not {where}: "
        logs = f"dora logs {link.deployment} --node dora-router --machine {link.target}"
        if link.protocol == TCP:
            look = logs if link.deployment else f"is {link.host} really {link.target}?"
            return f"{refused}refused", f"{allow}; {look}; see `address:` in the inventory"
        return (
            (f"{refused}the router of {link.deployment} does not listen", logs)
            if link.deployment
            else (
                f"{refused}refused",
                f"is {link.host} really {link.target}? see `address:` in the inventory",
            )
        )
    return (
        f"nothing comes back from {where}",
        f"{allow}, and look at `address:` in the inventory: it says where the other machines reach "
        "it",
    )


def inventory(evidence: Evidence) -> Iterator[Finding]:
    """What the file says that cannot work, or was left aside."""
    for issue in evidence.inventory.notes:
        yield note("inventory", str(issue), "remove it, or leave it to dora")
    far = [machine for machine in evidence.machines if not machine.embedded]
    seen: dict[str, str] = {}
    for machine in far:
        address = address_of(machine)
        where = f"{evidence.inventory.file}:{machine.line}"
        if len(evidence.machines) > 1 and is_loopback(address):
            yield warning(
                "inventory",
                f"{where}: other machines are to reach {machine.id} at {address}, and that is "
                "themselves",
                f"address: IP, of {machine.id}, where the others reach it",
            )
        elif address in seen:
            yield warning(
                "inventory",
                f"{where}: {machine.id} and {seen[address]} have the same address, {address}",
                "give each its own `address:`, unless they are users of one host",
            )
        seen.setdefault(address, machine.id)
    if far and len(far) < len(evidence.machines):
        names = ", ".join(it.id for it in evidence.machines if it.embedded)
        yield warning(
            "inventory",
            f"embedded machines ({names}) listen on this laptop's loopback: no data comes to them "
            "from the other machines",
            "choose either with --limit, or make this laptop a machine of its own with sshd",
        )


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
