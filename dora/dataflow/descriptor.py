"""The flow file as `dataflow_descriptor()` shows it to nodes: plain data. Laptop only.

Environment variables are not expanded in it: it is kept on every machine, and what they stand for
may be secret.
"""

from __future__ import annotations

import math
from typing import Any

from deploy.addresses import without_logins

_NODE_DEFAULTS: dict[str, Any] = {
    "name": None,
    "description": None,
    "env": None,
    "deploy": None,
    "restart_policy": "never",
    "max_restarts": 0,
}


def descriptor(value: Any) -> dict[str, Any]:
    """The file's values with dora's defaults filled in; `{}` for what is no flow file."""
    if not isinstance(value, dict):
        return {}
    nodes = value.get("nodes")
    return {
        "deploy": None,
        "debug": {"enable_debug_inspection": False},
        "health_check_interval": None,
        **_plain(value),
        "nodes": [_node(node) for node in nodes] if isinstance(nodes, list) else [],
    }


def _node(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    node = {**_NODE_DEFAULTS, **_plain(value)}
    if "requirements" in node:
        node["requirements"] = _without_logins(node["requirements"])
    if "secrets" in node:
        # Where they come from is the laptop's business, and a command may have a password in it.
        node["secrets"] = sorted(map(str, node["secrets"] or ()))
    if "id" in node:
        node["id"] = str(node["id"])
    if not {"operator", "operators", "custom"} & node.keys():
        node["inputs"] = node.get("inputs") or {}
        node["outputs"] = sorted(map(str, node.get("outputs") or []))
    return node


def _without_logins(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_logins(item) for item in value]
    return without_logins(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """A copy that JSON can hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
