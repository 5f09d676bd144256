"""Files that people write: YAML -> plain values with positions, checked by schema. Laptop only.

The only home of ruamel.yaml and cerberus: their exceptions do not leave it.
"""

from deploy.document.checker import Checked, check, mistakes
from deploy.document.quantities import (
    bandwidth,
    core_list,
    duration,
    flag_text,
    name,
    number_text,
    size,
    text,
)
from deploy.document.reader import Document, DocumentPath, parse, read
from deploy.document.wording import shown, suggest

__all__ = [
    "Document",
    "DocumentPath",
    "read",
    "parse",
    "Checked",
    "check",
    "mistakes",
    "shown",
    "suggest",
    "bandwidth",
    "core_list",
    "duration",
    "flag_text",
    "name",
    "number_text",
    "size",
    "text",
]
