"""What a node says of its messages, as its status. Node writes (>= 3.10), laptop reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST = 3500  # bytes; a status must fit a datagram of 4 KB


@dataclass(frozen=True)
class InputTraffic:
    received: int  # given to the program
    dropped: int = 0  # lost by a full queue or on the way
    waiting: int = 0  # before this one of several replicas, of an input that they share

    def to_json(self) -> list[int]:
        row = [self.received, self.dropped]
        return [*row, self.waiting] if self.waiting else row


@dataclass(frozen=True)
class OperatorTraffic:
    """One operator of a runtime. Times in microseconds; lateness is that of the misses."""

    state: str  # running | backoff | ended | failed
    restarts: int
    received: int  # messages that came
    runs: int  # calls
    misses: int  # deadlines that were not met
    skipped: int  # of the misses: messages that it was not called with
    dropped: int
    overruns: int  # calls longer than its budget
    depth: int  # messages that wait
    lateness_mean: int
    lateness_max: int
    run_time: int
    run_max: int

    def to_json(self) -> list[object]:
        return list(vars(self).values())

    @classmethod
    def from_json(cls, data: list[object]) -> OperatorTraffic:
        state, *numbers = data
        return cls(str(state), *[int(str(number)) for number in numbers])


@dataclass(frozen=True)
class Traffic:
    """Counts since the node's process started. `inputs` and `outputs` are empty for a node with so
    many that their names do not fit; the sums are always there. Of the operators of a runtime those
    are there that fit; `operator_states` counts all."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    inputs: Mapping[str, InputTraffic] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)
    operators: Mapping[str, OperatorTraffic] = field(default_factory=dict)
    operator_states: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)  # bytes of each output's last message

    @classmethod
    def of(
        cls,
        inputs: Mapping[str, InputTraffic],
        outputs: Mapping[str, int],
        sizes: Mapping[str, int] | None = None,
    ) -> Traffic:
        return cls(
            received=sum(it.received for it in inputs.values()),
            sent=sum(outputs.values()),
            dropped=sum(it.dropped for it in inputs.values()),
            inputs=inputs,
            outputs=outputs,
            sizes=sizes or {},
        )

    def to_text(self) -> str:
        """One line of JSON, below MOST bytes."""
        sums: dict[str, object] = {
            "received": self.received,
            "sent": self.sent,
            "dropped": self.dropped,
        }
        if self.operator_states:
            sums["operator_states"] = dict(self.operator_states)
        inputs = {name: it.to_json() for name, it in self.inputs.items()}
        edges: dict[str, object] = {"inputs": inputs, "outputs": dict(self.outputs)}
        operators = {name: it.to_json() for name, it in self.operators.items()}
        if self.sizes:  # the first to be left out
            every = {**edges, "sizes": dict(self.sizes)}
            text = _line({**sums, **every, **({"operators": operators} if operators else {})})
            if len(text) < MOST:
                return text
        if not operators:
            text = _line({**sums, **edges})
            return text if len(text) < MOST else _line(sums)
        text = _line({**sums, **edges, "operators": operators})
        if len(text) < MOST:
            return text
        return _line({**sums, "operators": _fitting(operators, MOST - len(_line(sums)))})

    @classmethod
    def from_text(cls, text: str) -> Traffic:
        """Raises ValueError on anything but `to_text`'s output."""
        try:
            data = json.loads(text)
            return cls(
                received=int(data["received"]),
                sent=int(data["sent"]),
                dropped=int(data["dropped"]),
                inputs={
                    str(name): InputTraffic(*_counts(row))
                    for name, row in data.get("inputs", {}).items()
                },
                outputs={str(k): int(n) for k, n in data.get("outputs", {}).items()},
                operators={
                    str(name): OperatorTraffic.from_json(it)
                    for name, it in data.get("operators", {}).items()
                },
                operator_states={
                    str(name): int(it) for name, it in data.get("operator_states", {}).items()
                },
                sizes={str(name): int(it) for name, it in data.get("sizes", {}).items()},
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"not a node's traffic: {error}") from error


def _counts(row: Sequence[object]) -> tuple[int, ...]:
    """Of an input. Raises ValueError."""
    if not 2 <= len(row) <= 3:
        raise ValueError(f"{len(row)} counts of an input")
    return tuple(int(str(count)) for count in row)


def _fitting(operators: Mapping[str, object], room: int) -> dict[str, object]:
    """The first of them, in less than `room` bytes."""
    found: dict[str, object] = {}
    room -= len(_line({"operators": {}}))
    for name, operator in operators.items():
        room -= len(_line({name: operator})) + 1
        if room <= 0:
            break
        found[name] = operator
    return found


def _line(data: Mapping[str, object]) -> str:
    return json.dumps(data, separators=(",", ":"))
