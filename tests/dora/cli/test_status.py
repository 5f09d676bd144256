"""What `dora status` prints."""

from __future__ import annotations

import io

from rich.console import Console

from dora.cli.status import _text
from dora.coordinator.status import NodeStatus, Status


def test_an_error_of_a_node_is_shown_as_it_is() -> None:
    """Brackets in it are no markup."""
    shown = io.StringIO()
    error = "'x[/b]' is not a program on this machine"
    status = Status((NodeStatus("flow", "base", "camera", "failed", error=error),))
    _text(Console(file=shown, soft_wrap=True), status)

    assert f"camera@base: {error}" in shown.getvalue()
