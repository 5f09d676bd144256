"""The inputs and outputs of a node or operator, checked. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.document import DocumentPath, shown
from dora.dataflow.ids import data_id
from dora.dataflow.model import Input
from dora.dataflow.report import Report
from dora.dataflow.sources import BadSource, Offers

Values = Mapping[str, Any]


def inputs_of(
    report: Report, path: DocumentPath, given: Values, offers: Offers
) -> dict[str, Input]:
    """The inputs under `path`; those without a valid source are left out."""
    inputs: dict[str, Input] = {}
    for name, value in given.items():
        place = (*path, name)
        report.check_name(place, name, data_id, key=True)
        long: Values = {"source": value} if isinstance(value, str) else value
        if "source" not in long:
            continue
        at = place if isinstance(value, str) else (*place, "source")
        try:
            source = offers.resolve(long["source"])
        except BadSource as error:
            report.error(at, f"input {shown(name)}: {error.message}", error.hint)
            continue
        if source is not None:
            inputs[name] = Input(
                name=name,
                source=source,
                mark=report.mark(at),
                queue_size=max(1, long.get("queue_size", offers.queue_size(source))),
                queue_policy=long.get("queue_policy", "drop_oldest"),
                input_timeout=long.get("input_timeout"),
                deadline=long.get("deadline"),
                distribution=long.get("distribution"),
                key=long.get("key"),
                direct=long.get("link") == "direct",
            )
    return inputs


def outputs_of(
    report: Report, path: DocumentPath, given: list[str | None] | None
) -> tuple[str, ...]:
    """The declared outputs, each once."""
    outputs: dict[str, None] = {}
    for index, output in enumerate(given or ()):
        if output is None:
            continue
        report.check_name((*path, index), output, data_id)
        if output in outputs:
            report.error((*path, index), f"the output {shown(output)} stands here twice")
        outputs[output] = None
    return tuple(outputs)
