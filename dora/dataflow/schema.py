"""What may stand in a flow file: cerberus schemas, data only. Laptop only.

All keys of dora 1.1 are here. Those that this version cannot honour are `unsupported` and say so;
those that change nothing that anybody could observe are in `WITHOUT_EFFECT` and give a warning.
Unlike dora, unknown keys of inputs and operators are refused: nothing is ignored silently.
"""

from __future__ import annotations

from typing import Any

from deploy.document import core_list, duration, flag_text, size, text

Schema = dict[str, Any]

MOST_KEPT = 1_000_000  # messages of a reliable output

MOST_REPLICAS = 100

LEVELS = ["stdout", "trace", "debug", "info", "warn", "error"]


def _arguments(value: object) -> str:
    if isinstance(value, list):
        raise ValueError("one line of text, split as a shell would: 'a b' rather than [a, b]")
    return text(value)


def _texts(value: object) -> list[str]:
    """A list of text, or one text alone."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise ValueError("text or a list of text")


def _devices(value: object) -> list[str]:
    """As `_texts`; each below /dev."""
    devices = _texts(value)
    if not devices or not all(device.startswith("/dev/") for device in devices):
        raise ValueError("a path below /dev, or a list of them: /dev/video0, /dev/ttyUSB*")
    return devices


def _words(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(it, str) for it in value):
        raise ValueError("a list of words, as there is no shell: [pass, show, robots/token]")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MOST_KEPT:
        raise ValueError(f"a whole number of messages, 1 to {MOST_KEPT}")
    return value


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise ValueError("a number above 0")
    return float(value)


def _time(value: object) -> float:
    seconds = duration(value)
    if seconds <= 0:
        raise ValueError("a duration above 0, such as 20ms")
    return seconds


_INPUT: Schema = {
    "type": ["string", "dict"],
    "meta": {"is": "a source such as camera/frames, or a mapping with `source:`"},
    "schema": {
        "source": {"type": "string", "required": True},
        "queue_size": {"coerce": _whole},
        "queue_policy": {"allowed": ["drop_oldest", "backpressure"]},
        "input_timeout": {"coerce": duration},
        "link": {"allowed": ["routers", "direct"]},
        "distribution": {"allowed": ["balance", "broadcast"]},
        "key": {"type": "string", "empty": False},
    },
}
_OPERATOR_INPUT: Schema = {**_INPUT, "schema": {**_INPUT["schema"], "deadline": {"coerce": _time}}}
_INPUTS: Schema = {"type": "dict", "valuesrules": _INPUT}
_OPERATOR_INPUTS: Schema = {"type": "dict", "valuesrules": _OPERATOR_INPUT}
_OUTPUTS: Schema = {"type": "list", "schema": {"coerce": text}}
_LEVEL: Schema = {"allowed": LEVELS}
_TEXT: Schema = {"type": "string"}
_ANY: Schema = {}
_ENV: Schema = {"type": "dict"}  # its values are looked at where they are expanded

WITHOUT_EFFECT = {
    "output_types": "types of messages are not checked yet",
    "input_types": "types of messages are not checked yet",
    "output_metadata": "metadata is not checked yet",
    "pattern": "message patterns are not checked yet",
    "strict_types": "types of messages are not checked yet",
    "type_rules": "types of messages are not checked yet",
    "output_framing": "the communication layer chooses how values travel",
    "shared_memory_pool_size": "shared memory grows as needed",
    "health_check_interval": "timeouts are kept without a sweep",
    "debug": "this version cannot look into topics",
    "build": "nothing is built; name what the node needs in `requirements:` and `files:`",
    "send_stdout_as": "lines go to the log alone (`dora logs`)",
    "send_logs_as": "lines go to the log alone (`dora logs`)",
    "min_log_level": "the log keeps every line",
    "finish_grace_secs": "nodes may work on as long as they like after their inputs have closed",
    "working_dir": "a node works in its own folder below `state/`",
}

_RESTART: dict[str, Schema] = {
    "restart_policy": {"allowed": ["never", "on-failure", "always"]},
    "max_restarts": {"coerce": _whole},
    "restart_delay": {"coerce": duration},
    "max_restart_delay": {"coerce": duration},
    "restart_window": {"coerce": duration},
}

_AUTOSCALE: Schema = {
    "type": "dict",
    "schema": {
        "min": {"type": "integer", "min": 1, "max": MOST_REPLICAS},
        "max": {"type": "integer", "min": 1, "max": MOST_REPLICAS, "required": True},
        "target_queue": {"coerce": _positive},
        "target_cpu": {"coerce": _positive},
        "cooldown": {"coerce": duration},
    },
}

_NO_CONDA: Schema = {"unsupported": "name packages in the node's `requirements:`"}
_OPERATOR: dict[str, Schema] = {
    "id": {"coerce": text},
    "name": _TEXT,
    "description": _TEXT,
    "python": {
        "type": ["string", "dict"],
        "meta": {"is": "the path of a Python file"},
        "schema": {"source": {"type": "string", "required": True}, "conda_env": _NO_CONDA},
    },
    "shared-library": _TEXT,
    "shared_library": _TEXT,  # of 2022
    "wasm": _TEXT,
    "inputs": _OPERATOR_INPUTS,
    "outputs": _OUTPUTS,
    "priority": {"type": "integer"},
    "deadline": {"coerce": _time},
    "on_deadline_miss": {"allowed": ["run", "skip", "event"]},
    "budget": {"coerce": _time},
    "memory": {"coerce": size},
    "thread": {"type": "boolean"},
    "replicas": {"type": "integer", "min": 1, "max": MOST_REPLICAS},
    "autoscale": _AUTOSCALE,
    **_RESTART,
    "build": _TEXT,
    "send_stdout_as": _TEXT,
    "send_logs_as": {"unsupported": "use send_stdout_as, or an input from dora/logs"},
    "min_log_level": {"unsupported": "say it of the node, for all of its operators"},
    "max_log_size": {"unsupported": "say it of the node, for all of its operators"},
    "conda_env": _NO_CONDA,
    **dict.fromkeys(("output_types", "input_types", "output_metadata", "output_framing"), _ANY),
}

_SECRET: dict[str, Schema] = {
    "file": {"type": "string", "empty": False},
    "env": {"type": "string", "empty": False},
    "command": {"coerce": _words},
    "as": {"allowed": ["env", "path"]},
}

_CUSTOM: dict[str, Schema] = {
    "run": _TEXT,
    "source": _TEXT,
    "args": {"coerce": _arguments},
    "env": {"type": ["dict", "list"]},
    "inputs": _INPUTS,
    "outputs": _OUTPUTS,
    "working-directory": _TEXT,
    "working_directory": _TEXT,
    "build": _TEXT,
}

_DEPLOY: dict[str, Schema] = {
    "machine": {"coerce": text},
    "labels": {"type": "dict", "valuesrules": {"coerce": flag_text}},
    "working_dir": _TEXT,
    "cores": {"type": "integer", "min": 1},
    "core_kind": {"allowed": ["big", "little"]},
    "realtime": {
        "type": "dict",
        "schema": {
            "policy": {"allowed": ["fifo", "rr"]},
            "priority": {"type": "integer", "min": 1, "max": 99, "required": True},
        },
    },
    "nice": {"type": "integer", "min": -20, "max": 19},
    "memory": {"coerce": size},
    "near": {"coerce": text},
    "apart": {"coerce": _texts},
    "devices": {"coerce": _devices},
    "replicas": {"type": "integer", "min": 1, "max": MOST_REPLICAS},
    "spread": {"type": "boolean"},
    "autoscale": _AUTOSCALE,
    "on_machine_loss": {"allowed": ["wait", "move"]},
    "distribute": {"unsupported": "code is always copied over SSH"},
}

_GIT = "fetch the code beside the flow file and name it in `path:`"
_NODE: dict[str, Schema] = {
    "id": {"coerce": text, "required": True},
    "name": _TEXT,
    "description": _TEXT,
    "path": _TEXT,
    "args": {"coerce": _arguments},
    "env": _ENV,
    "inputs": _INPUTS,
    "outputs": _OUTPUTS,
    "operator": {"type": "dict", "schema": _OPERATOR},
    "operators": {
        "type": "list",
        "schema": {
            "type": "dict",
            "schema": {**_OPERATOR, "id": {**_OPERATOR["id"], "required": True}},
        },
    },
    "custom": {"type": "dict", "schema": _CUSTOM},
    "build": _TEXT,
    "send_stdout_as": _TEXT,
    "send_logs_as": _TEXT,
    "min_log_level": _LEVEL,
    "max_log_size": {"coerce": size},
    "max_rotated_files": {"coerce": _whole},
    "scheduler": {"allowed": ["fifo", "priority", "edf"]},
    **_RESTART,
    "startup_timeout": {"coerce": duration},
    "health": {"coerce": _texts},
    "health_timeout": {"coerce": duration},
    "health_check_timeout": {"coerce": duration},
    "finish_grace_secs": {"coerce": duration},
    "cpu_affinity": {"coerce": core_list},
    "deploy": {"type": "dict", "schema": _DEPLOY},
    "requirements": {"coerce": _texts},
    "build_from_source": {"coerce": _texts},
    "files": {"coerce": _texts},
    "secrets": {"type": "dict", "valuesrules": {"type": "dict", "schema": _SECRET}},
    "output_rates": {
        "type": "dict",
        "valuesrules": {
            "type": "dict",
            "schema": {
                "hz": {"coerce": _positive, "required": True},
                "bytes": {"coerce": size, "required": True},
            },
        },
    },
    "output_qos": {
        "type": "dict",
        "valuesrules": {
            "type": "dict",
            "schema": {
                "delivery": {"allowed": ["drop", "reliable"]},
                "cache": {"coerce": _count},
                "priority": {"allowed": ["realtime", "high", "normal", "bulk"]},
            },
        },
    },
    "ros2": {"unsupported": "run a bridge of its own as a node"},
    "module": {"unsupported": "write the module's nodes into this file"},
    "params": {"unsupported": "use `env:`"},
    "hub": {"unsupported": "install the node and name its program in `path:`"},
    "git": {"unsupported": _GIT},
    "branch": {"unsupported": _GIT},
    "tag": {"unsupported": _GIT},
    "rev": {"unsupported": _GIT},
    "path_sha256": {"unsupported": "code is not downloaded; put it beside the flow file"},
    **dict.fromkeys(
        (
            "output_types",
            "input_types",
            "output_metadata",
            "output_framing",
            "pattern",
            "shared_memory_pool_size",
        ),
        _ANY,
    ),
}

NODE_KEYS = frozenset(_NODE)

FLOW: dict[str, Schema] = {
    "nodes": {"type": "list", "schema": {"type": "dict", "schema": _NODE}},
    "env": _ENV,
    "exit_when_nodes_finish": {"type": "boolean"},
    "communication": {
        "type": "dict",
        "schema": {
            "layer": {"allowed": ["auto", "zenoh", "shm"]},
            "zenoh": {"type": "dict", "schema": {"prefix": _TEXT}},  # of 2022
        },
    },
    "deploy": {"type": "dict", "schema": _DEPLOY},
    **dict.fromkeys(("strict_types", "type_rules", "health_check_interval", "debug"), _ANY),
}
