"""What a node says of its messages, as its status. Node writes (>= 3.10), laptop reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST = 3500  # bytes; a status must fit a datagram of 4 KB


@dataclass(frozen=True)
class InputTraffic:
    received: int  # given to the program
    dropped: int = 0  # lost by a full queue or on the way


@dataclass(frozen=True)
class Traffic:
    """Counts since the node's process started. `inputs` and `outputs` are empty for a node with so
    many that their names do not fit; the sums are always there."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    inputs: Mapping[str, InputTraffic] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Mapping[str, InputTraffic], outputs: Mapping[str, int]) -> Traffic:
        return cls(
            received=sum(it.received for it in inputs.values()),
            sent=sum(outputs.values()),
            dropped=sum(it.dropped for it in inputs.values()),
            inputs=inputs,
            outputs=outputs,
        )

    def to_text(self) -> str:
        """One line of JSON, below MOST bytes."""
        sums = {"received": self.received, "sent": self.sent, "dropped": self.dropped}
        inputs = {name: [it.received, it.dropped] for name, it in self.inputs.items()}
        text = _line({**sums, "inputs": inputs, "outputs": dict(self.outputs)})
        return text if len(text) < MOST else _line(sums)

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
                    str(name): InputTraffic(int(received), int(dropped))
                    for name, (received, dropped) in data.get("inputs", {}).items()
                },
                outputs={str(k): int(n) for k, n in data.get("outputs", {}).items()},
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"not a node's traffic: {error}") from error


def _line(data: Mapping[str, object]) -> str:
    return json.dumps(data, separators=(",", ":"))
