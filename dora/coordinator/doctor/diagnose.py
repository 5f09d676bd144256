"""From what was seen to what is wrong. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dora.coordinator.doctor import fleet, wheels
from dora.coordinator.doctor.condition import condition
from dora.coordinator.doctor.evidence import Evidence
from dora.coordinator.doctor.finding import Finding, error, warning, worst_first
from dora.coordinator.doctor.fitness import fitness


@dataclass(frozen=True)
class Diagnosis:
    """Findings by machine, in the order of the inventory, and of the whole; errors come first."""

    machines: Mapping[str, tuple[Finding, ...]]
    fleet: tuple[Finding, ...]

    @property
    def all(self) -> tuple[Finding, ...]:
        return (*self.fleet, *(it for row in self.machines.values() for it in row))

    @property
    def healthy(self) -> bool:
        """Whether there is no error."""
        return not any(finding.fatal for finding in self.all)


def diagnose(evidence: Evidence) -> Diagnosis:
    machines = {
        machine.id: worst_first(_of_machine(evidence, machine.id)) for machine in evidence.machines
    }
    return Diagnosis(machines, worst_first(_of_all(evidence)))


def _of_all(evidence: Evidence) -> Iterator[Finding]:
    yield from fleet.inventory(evidence)
    yield from wheels.of_laptop(evidence)


def _of_machine(evidence: Evidence, name: str) -> Iterator[Finding]:
    look = evidence.looks.get(name)
    if name in evidence.unreachable:
        machine = next(it for it in evidence.machines if it.id == name)
        yield fleet.absence(machine, evidence.unreachable[name])
    if look is None:
        return
    yield from fitness(look)
    yield from condition(look)
    yield from fleet.links(evidence, name)
    yield from wheels.of_machine(evidence, name)
    if look.port is None and not look.routers and len(evidence.looks) > 1:
        yield error(
            "port",
            f"there is no free port for the data plane; tried {list(look.facts.free_ports)}",
            f"see what listens there: dora machines exec {name} -- ss -lntu",
        )
    elif look.no_door and len(evidence.looks) > 1:
        yield warning(
            "port",
            f"by TCP none of the ports {list(look.no_door)} is free, and readers with "
            "`link: direct` are to call there",
            f"see what listens there: dora machines exec {name} -- ss -lntp",
        )
