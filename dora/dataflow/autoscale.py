"""`autoscale:` of a node or an operator, checked. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.document import DocumentPath
from dora.dataflow.model import Autoscale
from dora.dataflow.report import Report


def autoscale_of(report: Report, path: DocumentPath, owner: Mapping[str, Any]) -> Autoscale | None:
    """Of a `deploy:` block or an operator's entry; None if it has none, or a wrong one."""
    given = owner.get("autoscale")
    if given is None or "max" not in given:
        return None
    place = (*path, "autoscale")
    least, most = given.get("min", 1), given["max"]
    if "replicas" in owner:
        message = "`replicas` and `autoscale` are both there"
        report.error(place, message, "say how many, or between which bounds, not both", key=True)
    if least > most:
        report.error((*place, "max"), f"max is {most}, and min is {least}", "max: not below min")
    targets = {"target_queue", "target_cpu"} & set(given)
    if len(targets) != 1:
        found = "has two targets" if targets else "has no target"
        hint = "name one: `target_queue: 5` (messages that wait for each), or `target_cpu: 0.7`"
        report.error(place, f"`autoscale` {found}", hint, key=True)
    return Autoscale(
        min=min(least, most),
        max=most,
        target_queue=given.get("target_queue"),
        target_cpu=given.get("target_cpu"),
        cooldown=given.get("cooldown", Autoscale.cooldown),
    )
