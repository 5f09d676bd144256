"""What is found wrong or doubtful while a flow file becomes a model. Laptop only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deploy.document import Checked, Document, DocumentPath, shown
from deploy.errors import Issue
from dora.dataflow.model import Mark
from dora.dataflow.schema import WITHOUT_EFFECT


class Report:
    """Collects issues and warnings, each at its place in the document."""

    def __init__(self, document: Document, checked: Checked) -> None:
        self.document = document
        self.broken = checked.broken
        self.issues = list(checked.issues)
        self.warnings: list[Issue] = []

    def error(
        self, path: DocumentPath, message: str, hint: str | None = None, *, key: bool = False
    ) -> None:
        self.issues.append(self.document.issue(path, message, hint, key=key))

    def warn(self, path: DocumentPath, message: str) -> None:
        """A warning about the key of `path`, whose name begins the sentence."""
        text = f"{path[-1]} {message}"
        self.warnings.append(self.document.issue(path, text, key=True))

    def check_name(
        self, path: DocumentPath, name: str, rule: Callable[[str], str], *, key: bool = False
    ) -> None:
        try:
            rule(name)
        except ValueError as error:
            self.error(path, f"{shown(name)} cannot be a name; it must be {error}", key=key)

    def without_effect(self, path: DocumentPath, given: Mapping[str, Any]) -> None:
        """Warns of the keys that are known, and change nothing."""
        for key in given:
            if key in WITHOUT_EFFECT:
                self.warn((*path, key), f"has no effect: {WITHOUT_EFFECT[key]}")

    def mark(self, path: DocumentPath) -> Mark:
        return Mark(self.document.file, *self.document.at(path))
