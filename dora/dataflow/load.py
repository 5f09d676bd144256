"""A flow file -> `Dataflow` with its warnings, or every problem of it at once. Laptop only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.document import Document, check, parse, read
from deploy.errors import Issue
from dora.dataflow.builder import Builder
from dora.dataflow.descriptor import descriptor
from dora.dataflow.model import Dataflow
from dora.dataflow.schema import FLOW
from dora.dataflow.validate import validate
from dora.errors import DataflowError


@dataclass(frozen=True)
class LoadedDataflow:
    """A dataflow that may run, and what its author should still know about it."""

    dataflow: Dataflow
    warnings: tuple[Issue, ...] = ()


def load(path: str | Path, environ: Mapping[str, str] = os.environ) -> LoadedDataflow:
    """The dataflow of a file; `environ` is what `$X` in `env:` is taken from.

    Looks at no other file (see `dora.dataflow.files.check_files`). Raises DataflowError.
    """
    return _load(read(path), os.path.dirname(os.path.abspath(path)), environ)


def loads(
    content: str,
    file: str = "flow.yml",
    directory: str = ".",
    environ: Mapping[str, str] = os.environ,
) -> LoadedDataflow:
    """The dataflow of YAML text, as if it stood in `file`. Raises DataflowError."""
    return _load(parse(content, file), directory, environ)


def _load(document: Document, directory: str, environ: Mapping[str, str]) -> LoadedDataflow:
    checked = check(document, FLOW)
    builder = Builder(document, checked, environ)
    dataflow = builder.dataflow(directory, descriptor(document.value))
    found = validate(dataflow)
    issues = [*builder.report.issues, *found.errors]
    if issues:
        raise DataflowError(issues)
    return LoadedDataflow(dataflow, tuple(sorted([*builder.report.warnings, *found.warnings])))
