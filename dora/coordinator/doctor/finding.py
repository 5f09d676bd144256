"""What doctor says: a problem with its remedy. Laptop only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    ERROR = "error"  # dataflows will not run, or not all of them
    WARNING = "warning"  # they run, and something that was promised does not hold
    NOTE = "note"  # good to know


@dataclass(frozen=True)
class Finding:
    """`check` is one word for programs: what was looked at. `remedy` is what to type or change."""

    check: str
    severity: Severity
    problem: str
    remedy: str

    @property
    def fatal(self) -> bool:
        return self.severity is Severity.ERROR


def error(check: str, problem: str, remedy: str) -> Finding:
    return Finding(check, Severity.ERROR, problem, remedy)


def warning(check: str, problem: str, remedy: str) -> Finding:
    return Finding(check, Severity.WARNING, problem, remedy)


def note(check: str, problem: str, remedy: str) -> Finding:
    return Finding(check, Severity.NOTE, problem, remedy)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors, warnings, notes; otherwise in their order."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda it: order.index(it.severity)))
