"""The terminal, which obeys nobody but us. Laptop only; loaded with the first word."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from dora.cli.harmless import harmless


class SafeConsole(Console):
    """Whatever is printed as a str, cells of tables too, goes through `harmless`."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(harmless(text), **options)
