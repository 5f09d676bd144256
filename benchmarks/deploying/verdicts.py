"""Figures of deployers beside each other, and whether targets were met. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

OURS = "dora deploy"
COLD = "dora deploy, cold"  # that has the program to load
ATTACHED = "dora coordinator"
ANSIBLE, PYINFRA, RSYNC = "Ansible", "pyinfra", "rsync+ssh"

# How many times quicker than each of the peers ours has to be.
TARGETS = {ANSIBLE: 15.0, PYINFRA: 15.0, RSYNC: 1.0}


@dataclass(frozen=True)
class Sample:
    """One run, in seconds: until every host runs what is new (None: nothing is), and until the
    deployer said that it was done."""

    done: float
    runs: float | None = None

    @property
    def works(self) -> float:
        """When a user has what they asked for."""
        return self.done if self.runs is None else self.runs


@dataclass(frozen=True)
class Row:
    """One thing to do; `samples` are by deployer, the newest last, of one round each."""

    what: str
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)

    def middle(self, name: str) -> Sample | None:
        """The medians of a deployer's runs."""
        found = self.samples.get(name, ())
        if not found:
            return None
        runs = [it.runs for it in found if it.runs is not None]
        return Sample(median(it.done for it in found), median(runs) if runs else None)

    def ratio(self, peer: str, ours: str = OURS) -> float:
        """How many times as long as ours a peer took: the median over the rounds that both ran.
        NaN when there is none."""
        pairs = zip(self.samples.get(peer, ()), self.samples.get(ours, ()), strict=False)
        found = [theirs.works / mine.works for theirs, mine in pairs]
        return median(found) if found else math.nan

    def verdicts(self, ours: str = OURS) -> dict[str, bool]:
        """Target by target, of those peers that ran."""
        ratios = {peer: self.ratio(peer, ours) for peer in TARGETS}
        return {
            peer: ratio >= TARGETS[peer] for peer, ratio in ratios.items() if not math.isnan(ratio)
        }
