"""Checks of what nodes need in Python packages, on all machines at once. Pure; laptop only."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.build.available import FETCHED
from dora.coordinator.doctor.evidence import Evidence, Supply
from dora.coordinator.doctor.finding import Finding, error, note, warning

LIBRARY = "dora"  # who needs what every node needs
LONGEST = 400  # characters of uv's own words
REMEDY = "name versions that have wheels for it, or a wheel of yours (`./name.whl`)"


def of_machine(evidence: Evidence, name: str) -> Iterator[Finding]:
    """Nodes whose packages are not to be had for this machine: an error, unless there is another
    one for them."""
    for supply in evidence.supplies.get(name, ()):
        if supply.origin is not None or supply.no_index:
            continue
        facts = evidence.looks[name].facts
        libc = ".".join(map(str, facts.libc_version))
        python = ".".join(map(str, facts.python_version[:2]))
        problem = (
            f"packages of {', '.join(supply.nodes)} are not to be had for {facts.arch}, "
            f"{facts.libc} {libc} and Python {python}: {_short(supply)}"
        )
        elsewhere = LIBRARY not in supply.nodes and all(
            _runs_elsewhere(evidence, name, node) for node in supply.nodes
        )
        if elsewhere:
            problem += "; other machines can run them"
        make = warning if elsewhere else error
        yield make("wheels", problem, supply.hint or REMEDY)


def of_laptop(evidence: Evidence) -> Iterator[Finding]:
    """Whether the package index can be asked, where it has to be."""
    lacking = [name for name, rows in evidence.supplies.items() if any(it.no_index for it in rows)]
    if lacking:
        said = next(it for it in evidence.supplies[lacking[0]] if it.no_index)
        yield error(
            "index",
            f"there is no way from this laptop to the package index, and what {', '.join(lacking)} "
            f"need{'s' * (len(lacking) == 1)} was never fetched: {_short(said)}",
            "connect the laptop (proxies: HTTPS_PROXY, another index: UV_DEFAULT_INDEX), deploy "
            "once where there is internet, or name wheels of yours; machines need no internet",
        )
    elif any(it.origin == FETCHED for rows in evidence.supplies.values() for it in rows):
        yield note(
            "index",
            "there is no way from this laptop to the package index; what is needed was fetched "
            "before",
            "nothing, until other packages are asked for",
        )


def _runs_elsewhere(evidence: Evidence, name: str, node: str) -> bool:
    return any(
        other != name
        and all(it.origin is not None for it in rows if node in it.nodes)
        and any(node in it.nodes for it in rows)
        for other, rows in evidence.supplies.items()
    )


def _short(supply: Supply) -> str:
    text = " ".join(supply.problem.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
