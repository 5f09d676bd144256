"""The text of an input -> where its messages come from. Pure; laptop only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deploy.document import shown, suggest
from dora.dataflow.model import LogSource, OutputSource, Source, TimerSource
from dora.dataflow.schema import LEVELS

_UNITS = {"secs": 1_000_000_000, "millis": 1_000_000, "micros": 1_000, "nanos": 1}
_TIMER_FORMS = "dora/timer/millis/20, dora/timer/secs/1 or dora/timer/hz/30"


QUEUE_SIZE = 10


class BadSource(ValueError):
    """No source: what is wrong, and what would be right."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Offer:
    """What a node sends. `operators` is None for nodes whose outputs have no operator in front.

    `complete` is false if the file is wrong there: then nobody is blamed for reading too much.
    """

    outputs: tuple[str, ...] = ()
    operators: Mapping[str, tuple[str, ...]] | None = None
    complete: bool = True
    kept: Mapping[str, int] = field(default_factory=dict)  # by name; of reliable outputs

    @property
    def names(self) -> list[str]:
        """The outputs as they are written behind `<node>/`."""
        if self.operators is None:
            return list(self.outputs)
        return [f"{op}/{output}" for op, outputs in self.operators.items() for output in outputs]


@dataclass(frozen=True)
class Offers:
    """What all nodes of a dataflow send."""

    nodes: Mapping[str, Offer] = field(default_factory=dict)

    def resolve(self, text: str) -> Source | None:
        """The source that `text` names; None if a mistake elsewhere leaves that open.

        Raises BadSource.
        """
        head, slash, rest = text.partition("/")
        if not slash or not head or not rest or rest.startswith("/") or rest.endswith("/"):
            hint = suggest(text, self._all()) or f"for a timer write {_TIMER_FORMS}"
            raise BadSource(f"{shown(text)} is no source; it must be `node/output`", hint)
        if head == "dora":
            return self._builtin(text, rest)
        if offer := self.nodes.get(head):
            if found := _output(head, offer, rest):
                return found
            if not offer.complete:
                return None
        hosts = [
            node
            for node, offer in self.nodes.items()
            if offer.operators is not None and rest in offer.operators.get(head, ())
        ]
        if len(hosts) == 1:  # as in 2022: operator/output
            return OutputSource(hosts[0], rest, head)
        if len(hosts) > 1:
            ways = " or ".join(f"{node}/{text}" for node in hosts)
            raise BadSource(f"several nodes have an operator {shown(head)}", f"write {ways}")
        raise self._unknown(text, head, rest)

    def queue_size(self, source: Source) -> int:
        """How many messages wait at most for an input that does not say.

        For a reliable output twice what its sender keeps: after a cut all of that may come at
        once, behind what waits already.
        """
        if isinstance(source, OutputSource) and (offer := self.nodes.get(source.node)):
            name = str(source).partition("/")[2]
            return 2 * offer.kept.get(name, 0) or QUEUE_SIZE
        return QUEUE_SIZE

    def _builtin(self, text: str, rest: str) -> Source:
        kind, *parts = rest.split("/")
        if kind == "timer":
            return _timer(text, parts)
        if kind != "logs":
            hint = suggest(rest, ["timer", "logs"]) or f"write {_TIMER_FORMS}, or dora/logs"
            raise BadSource(f"{shown(text)} is no source: dora itself has timers and logs", hint)
        level, node = (*parts, None, None)[:2]
        if len(parts) > 2 or (level is not None and level not in LEVELS):
            form = f"dora/logs, or dora/logs/<level>[/<node>] with a level of {', '.join(LEVELS)}"
            raise BadSource(f"{shown(text)} is no source of logs", f"write {form}")
        if node is not None and node not in self.nodes:
            raise BadSource(f"there is no node {shown(node)}", suggest(node, self.nodes))
        return LogSource(level, node, text)

    def _unknown(self, text: str, head: str, rest: str) -> BadSource:
        offer = self.nodes.get(head)
        if offer is None:
            if any(head in (other.operators or ()) for other in self.nodes.values()):
                hint = suggest(text, self._all()) or f"its outputs are {_listed(self._of(head))}"
                return BadSource(f"the operator {shown(head)} has no output {shown(rest)}", hint)
            near = suggest(head, self.nodes) or suggest(text, self._all())
            return BadSource(
                f"there is no node {shown(head)}", near or f"the nodes are {_listed(self.nodes)}"
            )
        message = f"the node {shown(head)} has no output {shown(rest)}"
        if offer.operators is not None and len(
            owners := [op for op, outputs in offer.operators.items() if rest in outputs]
        ):
            return BadSource(
                message, "write " + " or ".join(f"{head}/{op}/{rest}" for op in owners)
            )
        if offer.operators is None and rest.rpartition("/")[2] in offer.outputs:
            return BadSource(message, f"write {head}/{rest.rpartition('/')[2]}")
        if not offer.names:
            return BadSource(message, "it has no outputs at all; declare it in its `outputs:`")
        near = suggest(rest, offer.names)
        return BadSource(message, near or f"its outputs are {_listed(offer.names)}")

    def _of(self, operator: str) -> list[str]:
        """Outputs of the operators of that name."""
        offers = [offer.operators or {} for offer in self.nodes.values()]
        return [output for operators in offers for output in operators.get(operator, ())]

    def _all(self) -> list[str]:
        return [f"{node}/{name}" for node, offer in self.nodes.items() for name in offer.names]


def _output(node: str, offer: Offer, rest: str) -> OutputSource | None:
    if offer.operators is None:
        return OutputSource(node, rest) if rest in offer.outputs else None
    operator, _, output = rest.partition("/")
    if output in offer.operators.get(operator, ()):
        return OutputSource(node, output, operator)
    return None


def _timer(text: str, parts: list[str]) -> TimerSource:
    unit, amount = (*parts, "", "")[:2]
    problem: str | None = None
    if len(parts) != 2 or (unit not in _UNITS and unit != "hz"):
        problem = f"{shown(text)} is no timer"
    elif unit == "hz":
        try:
            rate = float(amount)
        except ValueError:
            rate = math.nan
        if 0 < rate <= 1e9 and round(1e9 / rate) > 0:
            return TimerSource(round(1e9 / rate), text)
        problem = f"{shown(text)} is no timer: {shown(amount)} is not a number of ticks per second"
    elif amount.isascii() and amount.isdigit() and len(amount) < 16 and int(amount) > 0:
        return TimerSource(int(amount) * _UNITS[unit], text)
    else:
        problem = f"{shown(text)} is no timer: {shown(amount)} is not a whole number above 0"
    raise BadSource(problem, f"write for example {_TIMER_FORMS}")


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return ", ".join(known[:12]) + more
