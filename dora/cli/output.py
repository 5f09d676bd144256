"""Where a command's words go: results to stdout, progress to stderr; text or JSON. Laptop only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dora.cli.harmless import harmless

if TYPE_CHECKING:
    from rich.console import Console

    from deploy.events import Event


class Output:
    """`json` makes stdout one JSON document (or one a line, for streams) and nothing else.

    Colours only on a terminal, never with NO_COLOR (rich sees to both).
    """

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose

    # What writes is loaded with the first word: mostly there is something better to do before it.

    @cached_property
    def console(self) -> Console:
        from dora.cli.console import SafeConsole

        return SafeConsole(soft_wrap=True, highlight=False)

    @cached_property
    def progress(self) -> Console:
        from dora.cli.console import SafeConsole

        return SafeConsole(stderr=True, soft_wrap=True, highlight=False)

    def event(self, event: Event) -> None:
        """A line of progress, where the event is worth one."""
        from dora.cli.progress import describe

        if line := describe(event, verbose=self.verbose):
            self.progress.print(line)

    def say(self, text: str) -> None:
        self.progress.print(text)

    def result(self, data: Any, text: Callable[[Console], None]) -> None:
        if self.as_json:
            self._write(json.dumps(data, indent=2))
        else:
            text(self.console)

    def row(self, data: Any, text: Callable[[Console], None]) -> None:
        """One of many results of a stream, flushed at once."""
        if self.as_json:
            self._write(json.dumps(data))
        else:
            text(self.console)

    def line(self, source: str, text: str) -> None:
        """A line that a node printed, as it printed it: colours, but nothing else that a terminal
        obeys."""
        from rich.text import Text

        self.console.print(f"[cyan]{source}[/cyan] ", end="")
        self.console.print(Text(harmless(text, colours=True)))

    @staticmethod
    def _write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
