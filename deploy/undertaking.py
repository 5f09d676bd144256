"""What a plan is carried out with, and what comes of it on each machine. Data only; laptop only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deploy.batches import Serial
from deploy.errors import MachineError
from deploy.plan import Plan
from deploy.store.base import Objects
from deploy.store.path import Manifest
from deploy.store.remote import Look
from deploy.trial import WINDOW, trial_time

Outcome = Literal[
    "unchanged", "deployed", "failed", "held", "skipped", "rolled_back", "unconfirmed"
]


@dataclass(frozen=True)
class Closures:
    """What the plan's profiles need, and where the laptop has it. `secrets` (machine -> name ->
    content) go around the store, into files that only the machine's user can read. `looks` are what
    machines were found to lack, so that they need not be asked once more."""

    store: Objects
    manifests: Mapping[str, tuple[Manifest, ...]]  # machine -> trees
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    looks: Mapping[str, Look] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """`confirm_timeout` is in seconds; None: the longest start-up time, and some more. `wait` is
    for those who hold updates up; `regardless` of them it is switched at once."""

    owner: str  # user@laptop, for the lock and the generation
    rollback: bool = True
    window: float = WINDOW  # seconds for which all units have to stay up
    confirm_timeout: float | None = None
    serial: Serial | None = None  # None: all machines at once
    wait: float = 0.0  # seconds
    regardless: bool = False
    revision: str = ""
    note: str = ""

    def timeout(self, plan: Plan) -> float:
        if self.confirm_timeout is not None:
            return self.confirm_timeout
        return trial_time(plan, self.window)


@dataclass
class MachineResult:
    """What became of one machine. `generation` is what is current there now, as far as is known;
    `previous` what was before, `failed` what was gone back from, for `reason`.

    Where an outcome is `held` or `skipped`, everything may have been copied, and nothing was
    switched: somebody holds updates up there, or on a machine of the same batch, or an earlier
    batch failed. An `unconfirmed` machine does not answer: it goes back by itself at `back_at`
    (epoch, by the laptop's clock), unless it has been confirmed.
    """

    machine: str
    outcome: Outcome = "failed"
    generation: int | None = None
    previous: int | None = None
    failed: int | None = None
    reason: str | None = None
    back_at: float | None = None
    bytes: int = 0
    error: MachineError | None = None
    units: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # last known states
    unhealthy: Mapping[str, str] = field(default_factory=dict)  # unit -> why
    last_lines: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of those, if any
    unrestored: Mapping[str, str] = field(default_factory=dict)  # of what was gone back to: why not
