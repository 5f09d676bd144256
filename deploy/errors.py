"""The errors of `deploy`: the type says whom to blame, the instance has the facts. Laptop only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class DeployError(Exception):
    """Root of all errors that `deploy` raises on purpose.

    `hint` is what to type or change next; the command line prints it below the message.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, order=True)
class Issue:
    """One problem in a user's file: where it is, what is wrong, what would be right."""

    file: str
    line: int
    column: int
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


class InvalidFile(DeployError):
    """A file that the user wrote is wrong; `issues` holds every problem found in it."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(sorted(issues))
        super().__init__("\n".join(str(issue) for issue in self.issues))


class InventoryError(InvalidFile):
    """The inventory is wrong."""


class MachineError(DeployError):
    """Something failed on, or on the way to, one machine."""

    def __init__(self, machine: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{machine}: {message}", hint=hint)
        self.machine = machine
        self.reason = message


class ConnectionFailed(MachineError):
    """The machine could not be reached, or would not let us in: nothing was changed on it.

    `cause` is one word for programs: `dns`, `refused`, `timeout`, `no_route`, `host_key_unknown`,
    `host_key_changed`, `auth`, `protocol`, `config` (ssh_config or `jump:` is wrong).
    """

    def __init__(self, machine: str, cause: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(machine, message, hint=hint)
        self.cause = cause


class ConnectionLost(MachineError):
    """An open connection died; what was under way on the machine may or may not have finished."""

    def __init__(
        self,
        machine: str,
        message: str,
        *,
        hint: str | None = "what runs there goes on; run the same command again",
    ) -> None:
        super().__init__(machine, message, hint=hint)


class CommandFailed(MachineError):
    """A command on the machine ended with another status than 0."""

    def __init__(self, machine: str, command: str, status: int, stderr: str) -> None:
        tail = "\n".join(stderr.strip().splitlines()[-20:])
        super().__init__(machine, f"`{command}` ended with status {status}: {tail}")
        self.status = status
        self.stderr = stderr


class Refused(MachineError):
    """The machine's supervisor understood a request and refused it; nothing was changed.

    `code` is one word for programs, as `deploy.supervisor.control` lists them.
    """

    def __init__(self, machine: str, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(machine, message, hint=hint)
        self.code = code


class LockHeld(MachineError):
    """Somebody else is deploying there; nothing was changed."""

    def __init__(self, machine: str, deployment: str, owner: str, since: float) -> None:
        super().__init__(
            machine,
            f"deployment {deployment!r} is locked by {owner} since {_clock(since)}",
            hint="wait for them to finish, then run the same command again; if nobody is there any "
            f"more: dora unlock {deployment}",
        )
        self.deployment = deployment
        self.owner = owner
        self.since = since


class UpdatesHeld(MachineError):
    """Somebody on the machine must not be disturbed; nothing was switched or stopped there.

    `holds` say who, as the supervisor's `holds` does.
    """

    def __init__(self, machine: str, holds: Sequence[Mapping[str, Any]]) -> None:
        paused = any(hold.get("owner") for hold in holds)
        force = "--ignore-holds (`dora stop`: --force) does it regardless"
        super().__init__(
            machine,
            f"updates are {'; '.join(map(held_by, holds)) or 'held up'}",
            hint=f"dora machines resume {machine}, when that is over; {force}"
            if paused
            else f"wait for it with --wait SECONDS; {force}",
        )
        self.holds = tuple(holds)


def held_by(hold: Mapping[str, Any]) -> str:
    """`held up by arm (flow) since 12:01:02: moving`, or who paused the machine."""
    if hold.get("owner"):
        who = f"paused by {hold['owner']}"
    elif hold.get("unit"):
        who = f"held up by {hold['unit']} of {hold['deployment']}"
    else:
        who = "held up"
    reason = f": {hold['reason']}" if hold.get("reason") else ""
    return f"{who} since {_clock(float(hold.get('since', 0)))}{reason}"


def _clock(since: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(since))


class BuildError(DeployError):
    """A closure could not be built; nothing was sent to any machine."""


class NoIndex(BuildError):
    """The package index does not answer this laptop."""
