"""What may stand in an inventory: cerberus schemas, and what its values must be. Laptop only."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from deploy.document import bandwidth, core_list, duration, flag_text, name, text

_HOST = re.compile(r"[^\s@/-][^\s@/]*\Z")
_USER = re.compile(r"[^\s@:/-][^\s@:/]*\Z")
_JUMP = re.compile(
    r"(?:[^\s@:/,-][^\s@:/,]*@)?(?:[^\s@:/,-][^\s@:/,]*|\[[0-9a-fA-F:.]+\])(?::\d+)?\Z"
)
_ARCHIVE = re.compile(r"\.(?:tar(?:\.[a-z0-9]+)?|t[gbx]z2?|zip)\Z")
_INDEX_URL = re.compile(r"(?:https?|file)://[^\s]+\Z")
_HOST_KEY = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?\Z")


def _host(value: object) -> str:
    host = text(value)
    if re.fullmatch(r"[^:]*:\d+", host):
        raise ValueError("a name or an address alone; the port is a key of its own, `port:`")
    if "@" in host:
        raise ValueError("a name or an address alone; the user is a key of its own, `user:`")
    if not _HOST.match(host):
        raise ValueError("a host name or an address, without spaces, not beginning with -")
    return host


def _user(value: object) -> str:
    user = text(value)
    if not _USER.match(user):
        raise ValueError("a user name, without spaces or @, not beginning with -")
    return user


def _jump(value: object) -> str:
    jump = text(value)
    if not all(_JUMP.match(hop) for hop in jump.split(",")):
        raise ValueError("hosts to go through, as [user@]host[:port], separated by commas")
    return jump


def _host_key(value: object) -> str:
    key = text(value)
    if not _HOST_KEY.match(key):
        raise ValueError(
            "a fingerprint as `ssh-keygen -l` shows it: SHA256: and 43 characters of base64"
        )
    return key.rstrip("=")


def is_archive(python: str) -> bool:
    """Whether a `python:` is the file of a packed Python rather than a program."""
    return _ARCHIVE.search(python) is not None


def _python(value: object) -> str:
    if not isinstance(value, str) or not is_archive(value):
        return _program(value)
    if value.endswith((".zst", ".zip")):
        raise ValueError("a program, or an archive that is packed as .tar.gz, .tar.xz or .tar.bz2")
    return value


def _index_url(value: object) -> str:
    url = text(value)
    if not _INDEX_URL.match(url):
        raise ValueError("an address such as https://pypi.example.org/simple, or file:///folder")
    return url


def _program(value: object) -> str:
    program = text(value)
    if not program or program.startswith("-") or "\n" in program:
        raise ValueError("the name or the path of a Python, such as python3.11")
    return program


def _folder(value: object) -> str:
    folder = text(value)
    if not folder.startswith(("/", "~/")):
        raise ValueError("an absolute path, or one that begins with ~/")
    return folder.rstrip("/") or "/"


def _address(value: object) -> str:
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise ValueError(
            "an address of the machine, 127.0.0.1 for itself alone, 0.0.0.0 for all"
        ) from None


SHORTEST_GRACE = 10.0  # seconds; half of it is a lease, which is renewed about each second


def _grace(value: object) -> float:
    seconds = duration(value)
    if seconds < SHORTEST_GRACE:
        raise ValueError(f"a duration of {SHORTEST_GRACE:.0f}s at least, such as 30s or 2m")
    return seconds


def _tag(value: object) -> str:
    tag = text(value)
    if not re.match(r"[^\s@!,*?\[-][^\s@!,*?\[]*\Z", tag):
        raise ValueError("a word without spaces and without any of @ ! , * ? [")
    return tag


_SHARED: dict[str, Any] = {
    "port": {"type": "integer", "min": 1, "max": 65535},
    "user": {"coerce": _user},
    "identity": {"type": "string", "empty": False},
    "jump": {"coerce": _jump},
    "labels": {"type": "dict", "valuesrules": {"coerce": flag_text}},
    "tags": {"type": "list", "schema": {"coerce": _tag}},
    "cores": {"coerce": core_list},
    "python": {"coerce": _python},
    "supervisor_python": {"coerce": _program},
    "index_urls": {"type": "list", "schema": {"coerce": _index_url}},
    "store": {"coerce": _folder},
    "optional": {"type": "boolean"},
    "link": {"coerce": bandwidth},
    "grace": {"coerce": _grace},
    "metrics": {
        "type": "dict",
        "schema": {
            "port": {"type": "integer", "min": 1, "max": 65535},
            "bind": {"coerce": _address},
        },
    },
}
_MACHINE: dict[str, Any] = {
    "host": {"coerce": _host},
    "host_key": {"coerce": _host_key},
    "address": {"coerce": _host},
    **_SHARED,
}
_LISTED: dict[str, Any] = {  # dora's cluster.yml
    "id": {"coerce": name, "required": True},
    **_MACHINE,
    "zenoh_addr": {"coerce": _host},
    "daemon_port": {"type": "integer"},
    "zenoh_port": {"type": "integer"},
}
_MACHINES = "the machines by their ids, or a list of machines with `id:`"


def schema(machines: object) -> dict[str, Any]:
    """For the whole file; `machines` is what it has below that key, in one form or the other."""
    entry = {"type": "dict", "schema": _LISTED if isinstance(machines, list) else _MACHINE}
    rules: dict[str, Any] = {"type": ["dict", "list"], "meta": {"is": _MACHINES}, "required": True}
    rules["schema" if isinstance(machines, list) else "valuesrules"] = entry
    return {
        "defaults": {"type": "dict", "schema": _SHARED},
        "machines": rules,
        "coordinator": {},
    }
