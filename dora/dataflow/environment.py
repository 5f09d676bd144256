"""Values of `env:` -> text, with variables of the laptop put in. Laptop only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deploy.document import DocumentPath, flag_text, shown
from dora.dataflow.report import Report

_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^}]*))?\})")

RESERVED = frozenset(
    {
        "DORA_NODE_CONFIG",
        "DORA_RUNTIME_CONFIG",
        "DORA_REPLICA",
        "DORA_AUTH_TOKEN",
        "DORA_RUN_PARENT_PID",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
    }
)


class Undefined(Exception):
    """A variable has no value; `names` holds all such of one text."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def env_text(value: object, environ: Mapping[str, str]) -> str:
    """Text, number or bool as text, with `$X`, `${X}`, `${X:-default}` expanded; `$$` is `$`.

    A default also stands in for an empty variable, as in a shell. Unlike dora, quoted digits stay
    as they are. Raises Undefined, and ValueError for a value that is no text.
    """
    text = flag_text(value)
    if not isinstance(value, str):
        return text
    missing: list[str] = []

    def put(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        variable, default = match[2] or match[3], match[4]
        if default is not None:
            return environ.get(variable) or default
        if variable not in environ:
            missing.append(variable)
        return environ.get(variable, "")

    expanded = _VARIABLE.sub(put, text)
    if missing:
        raise Undefined(missing)
    return expanded


def env_of(
    report: Report, path: DocumentPath, given: Any, environ: Mapping[str, str]
) -> dict[str, str]:
    """`given` is a mapping, or, as in 2022, a list of mappings. Null is looked up in the
    document: the check leaves it out."""
    if isinstance(given, list):
        env: dict[str, str] = {}
        for index, part in enumerate(given):
            if isinstance(part, dict):
                env.update(env_of(report, (*path, index), part, environ))
            elif part is not None:
                message = f"an entry of env is {shown(part)}; it must be `NAME: value`"
                report.error((*path, index), message)
        return env
    env = {}
    for name in report.document.value_at(path) or ():
        place = (*path, name)
        if place in report.broken:
            continue
        if name in RESERVED:
            report.warn(place, "is left out: dora sets it itself, or it would break dora")
            continue
        if not name or "=" in name or "\0" in name:
            report.error(place, f"{shown(name)} cannot name a variable", key=True)
            continue
        try:
            env[name] = env_text(given.get(name), environ)
        except Undefined as error:
            for variable in error.names:
                hint = f"export {variable}, or give a default: ${{{variable}:-value}}"
                report.error(place, f"the variable {variable} is not set", hint)
        except ValueError as error:
            report.error(place, f"{name} is {shown(given.get(name))}; it must be {error}")
    return env
