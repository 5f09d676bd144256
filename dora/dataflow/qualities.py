"""How a node's outputs travel between machines (`output_qos:`), checked. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.document import DocumentPath, shown, suggest
from dora.dataflow.model import Quality
from dora.dataflow.report import Report
from dora.dataflow.sources import Offer

Values = Mapping[str, Any]


def qualities_of(
    report: Report, path: DocumentPath, given: Mapping[str, Values], offer: Offer
) -> dict[str, Quality]:
    """What stands under `path`, for outputs as they are named behind `<node>/`."""
    for output, values in given.items():
        place = (*path, output)
        if output not in offer.names:
            if offer.complete:
                known = ", ".join(offer.names)
                report.error(
                    place,
                    f"output_qos names {shown(output)}, which is not among the node's outputs",
                    suggest(output, offer.names)
                    or (f"its outputs are {known}" if known else "declare it in `outputs:`"),
                    key=True,
                )
            continue
        said = "delivery" in values or (*place, "delivery") in report.broken
        if "cache" in values and values.get("delivery", None if said else "drop") == "drop":
            report.error(
                (*place, "cache"),
                "`cache` is for reliable outputs",
                "add `delivery: reliable`, or remove it",
                key=True,
            )
    return read_qualities(given)


def read_qualities(given: Mapping[str, Values]) -> dict[str, Quality]:
    """As they stand there, whatever they are for."""
    return {
        output: Quality(
            delivery=values.get("delivery", "drop"),
            cache=values.get("cache", Quality.cache),
            priority=values.get("priority", Quality.priority),
        )
        for output, values in given.items()
    }
