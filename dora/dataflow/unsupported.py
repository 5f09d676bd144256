"""What the language of flow files has and this version cannot run, each at its place. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.errors import Issue
from dora.dataflow.graph import DYNAMIC
from dora.dataflow.model import Dataflow, LogSource


def unsupported(dataflow: Dataflow) -> list[Issue]:
    """Sorted; a dataflow with none can be compiled."""
    return sorted(_issues(dataflow))


def _issues(dataflow: Dataflow) -> Iterator[Issue]:
    for node in dataflow.nodes.values():
        if node.path == DYNAMIC:
            yield (node.path_mark or node.mark).issue(
                f"the node {node.id} joins by hand (`path: dynamic`), which is not supported yet",
                "give it a path, so that it is started with the dataflow",
            )
        for name, wired in node.all_inputs.items():
            if isinstance(wired.source, LogSource):
                yield wired.mark.issue(
                    f"input {name!r} reads {wired.source}, and this version does not send logs "
                    "as messages yet",
                    "`dora logs -f` shows them; remove the input",
                )
