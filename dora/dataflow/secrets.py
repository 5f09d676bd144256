"""`secrets:` of a node -> where each is read on the laptop, and how the node gets it. Laptop only.

Nothing is read here: the file may be checked where the secrets are not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from deploy.document import DocumentPath, shown
from dora.dataflow.environment import RESERVED
from dora.dataflow.model import Mark, SecretSource
from dora.dataflow.report import Report

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
ORIGINS = ("file", "env", "command")
OF_SUPERVISOR = ("DEPLOY_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_USEC", "PYTHONPATH")


def secrets_of(
    report: Report, path: DocumentPath, given: Mapping[str, Any], env: Collection[str]
) -> tuple[SecretSource, ...]:
    """`env` are the variables that the node's own `env:` sets. Null is looked up in the document:
    the check leaves it out."""
    found: list[SecretSource] = []
    written = report.document.value_at(path)
    for name in written if isinstance(written, dict) else ():
        place = (*path, name)
        values = given.get(name)
        if any(broken[: len(place)] == place for broken in report.broken):
            continue
        if values is None:
            message = f"the secret {shown(name)} does not say where it is"
            report.error(place, message, _ORIGIN, key=True)
            continue
        if not isinstance(name, str) or not _VARIABLE.match(name):
            hint = "letters, digits and _, not beginning with a digit: API_TOKEN"
            report.error(place, f"{shown(name)} cannot name a variable", hint, key=True)
            continue
        origins = [origin for origin in ORIGINS if origin in values]
        if len(origins) != 1:
            both = " and ".join(f"`{origin}`" for origin in origins)
            told = f"has {both}" if both else "does not say where it is"
            report.error(place, f"the secret {shown(name)} {told}", _ORIGIN, key=True)
            continue
        secret = SecretSource(
            name=name,
            mark=Mark(report.document.file, *report.document.at_key(place)),
            file=values.get("file"),
            env=values.get("env"),
            command=tuple(values.get("command", ())),
            path=values.get("as") == "path",
        )
        if secret.variable in RESERVED or secret.variable.startswith(OF_SUPERVISOR):
            message = f"{secret.variable} is set by dora itself; a secret needs another name"
            report.error(place, message, key=True)
            continue
        if secret.variable in env:
            message = f"{secret.variable} stands in `env:` and in `secrets:` of this node"
            report.error(place, message, "keep one of them", key=True)
            continue
        found.append(secret)
    return tuple(found)


_ORIGIN = "give it exactly one of `file: path`, `env: VARIABLE` or `command: [program, argument]`"
