"""A unit: what one machine runs for one node. Data only; laptop and machine (Python >= 3.8)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from string import Template
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Type, TypeVar

from deploy.secret import Secret

Policy = TypeVar("Policy", "RestartPolicy", "StopPolicy")

SHARED, NAMED, EXCLUSIVE = "shared", "named", "exclusive"  # whose a unit's cores are
MOST_SOCKETS = 64  # of one unit
_SOCKET_NAME = re.compile(r"[!-9;-~]{1,255}\Z")  # sd_listen_fds joins names with colons


@dataclass(frozen=True)
class RestartPolicy:
    """When an ended process comes back. Times in seconds; `max_restarts` 0 means no limit."""

    when: str = "never"  # never | on-failure | always
    max_restarts: int = 0
    delay: float = 0.0
    max_delay: float = 0.0  # the delay doubles with each restart, up to this; 0: it stays as it is
    window: float = 0.0  # a process that lived this long starts counting anew; 0: never


@dataclass(frozen=True)
class StopPolicy:
    """How a process is asked to leave: the control line `stop`, then SIGTERM, then SIGKILL.

    Each number is the time in seconds before the next step. A process that does not listen on its
    control pipe gets SIGTERM at once. Signals go to the whole process group.
    """

    term_after: float = 10.0
    kill_after: float = 5.0


@dataclass(frozen=True)
class Socket:
    """A listening Unix socket that the unit inherits under `name`, as sd_listen_fds tells it.

    `path` is absolute or starts in the deployment's run folder, `run/<deployment>/`. It is there
    before any unit of the deployment starts and as long as the unit is wanted.
    """

    name: str
    path: str
    kind: str = "stream"  # stream | seqpacket


@dataclass(frozen=True)
class HealthCommand:
    """What has to exit with 0 while a generation is on trial: run in the unit's folder, with its
    environment, once every unit of the deployment on that machine is ready. `text` is how people
    know it; `timeout` (seconds) ends its whole process group."""

    argv: Tuple[str, ...]
    text: str
    timeout: float = 10.0


@dataclass(frozen=True)
class Realtime:
    """The kernel's real-time scheduling: before everything that has none, on its cores."""

    policy: str  # fifo | rr
    priority: int  # 1 to 99


@dataclass(frozen=True)
class Unit:
    """One process to be kept running on one machine; knows nothing of dataflows.

    `env` is the whole environment but for HOME, PATH, LANG, USER, which come from the machine, and
    the variables of the supervisor's own protocol (see `deploy.supervisor.process`).

    A process that can change something about itself while it runs, such as its code, is told its
    path: at its start by $DEPLOY_RELOAD, then by the control line `reload <path>`. It answers by
    READY=1, or by ERRNO=... if it goes on without it.
    """

    name: str
    argv: Tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    cores: Tuple[int, ...] = ()  # pinned with taskset; empty: wherever the kernel likes
    # Whose `cores` are: shared (it may run there, but for those that others are pinned to), named
    # (others may be named there as well) or exclusive (nobody else is pinned there).
    pin: str = SHARED
    closure: Tuple[str, ...] = ()  # store path names that must be present
    links: Optional[str] = None  # store path whose top-level entries are linked into cwd
    readiness: str = "started"  # started | notify (sd_notify's READY=1)
    start_timeout: float = 60.0  # to become ready
    restart: RestartPolicy = RestartPolicy()
    stop: StopPolicy = StopPolicy()
    order: int = 0  # lower is ready before others start, and asked to leave when they have left
    rank: int = 0  # within an order: lower starts first, without waiting, and leaves last
    sockets: Tuple[Socket, ...] = ()
    watchdog: float = 0.0  # seconds without WATCHDOG=1 after which a ready unit is killed; 0: never
    secrets: Tuple[Secret, ...] = ()
    health: Tuple[HealthCommand, ...] = ()  # one after the other
    reload: Optional[str] = None  # the path of what its process takes over without a restart
    realtime: Optional[Realtime] = None
    nice: int = 0  # -20 (before others) to 19
    memory: int = 0  # bytes that its processes may use together before they are killed; 0: any
    log_size: int = 0  # bytes after which its log is put aside; 0: as the supervisor likes
    log_files: int = 1  # that were put aside and are kept
    # Seconds for which it runs on after this machine was heard of last, because another machine may
    # start it then (see `deploy.supervisor.lease`); 0: for ever.
    lease: float = 0.0

    @property
    def fingerprint(self) -> str:
        """Equal exactly when the process need not be restarted: everything about it is equal, but
        for how others judge its health, its rank among others, how much of its log is kept, and
        what it takes over while it runs, whether others may have its cores, and its lease."""
        data = self.to_json()
        data.pop("health", None)
        data.pop("pin", None)
        data.pop("rank", None)
        data.pop("log_size", None)
        data.pop("log_files", None)
        data.pop("lease", None)
        reload = data.pop("reload", None)
        if reload is not None:
            trees = reload.split("/")
            data["closure"] = [path for path in self.closure if path not in trees]
            data["links"] = None if self.links in trees else self.links
        return hashlib.sha256(canonical(data).encode()).hexdigest()

    def render(self, values: Mapping[str, str]) -> Unit:
        """This unit with `${name}` in argv, cwd, env, sockets' paths, health commands' argv and
        `reload` replaced.

        As `string.Template` does: `$$` is `$`. Raises KeyError for a name that `values` lacks.
        """
        data = self.to_json()
        data["argv"] = [Template(part).substitute(values) for part in self.argv]
        data["cwd"] = Template(self.cwd).substitute(values)
        data["env"] = {key: Template(text).substitute(values) for key, text in self.env.items()}
        for socket in data.get("sockets", ()):
            socket["path"] = Template(socket["path"]).substitute(values)
        if self.reload is not None:
            data["reload"] = Template(self.reload).substitute(values)
        for command in data.get("health", ()):
            command["argv"] = [Template(part).substitute(values) for part in command["argv"]]
        return Unit.from_json(data)

    def to_json(self) -> Dict[str, Any]:
        data = asdict(self)
        data["env"] = dict(self.env)
        # fields that came later are left out while unused: fingerprints stay what they were, and
        # an upgrade of the supervisor restarts nothing
        for name in (
            "rank",
            "sockets",
            "watchdog",
            "health",
            "secrets",
            "reload",
            "memory",
            "log_size",
            "realtime",
            "nice",
            "lease",
        ):
            if not data[name]:
                del data[name]
        if data["pin"] == SHARED:
            del data["pin"]
        if data["log_files"] == 1:
            del data["log_files"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Unit:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made."""
        values = dict(data)
        values["argv"] = tuple(_text(part) for part in _list(values["argv"]))
        values["cwd"] = _text(values["cwd"])
        values["env"] = {_text(key): _text(text) for key, text in values.get("env", {}).items()}
        values["cores"] = tuple(_whole(core) for core in _list(values.get("cores", ())))
        values["closure"] = tuple(_text(path) for path in _list(values.get("closure", ())))
        values["restart"] = _policy(RestartPolicy, values.get("restart", {}))
        values["stop"] = _policy(StopPolicy, values.get("stop", {}))
        values["sockets"] = tuple(_socket(entry) for entry in _list(values.get("sockets", ())))
        secrets = _list(values.get("secrets", ()))
        values["secrets"] = tuple(Secret.from_json(entry) for entry in secrets)
        if values.get("realtime") is not None:
            values["realtime"] = _realtime(values["realtime"])
        values["health"] = tuple(_command(entry) for entry in _list(values.get("health", ())))
        unit = cls(**values)
        if not unit.argv or not unit.name or "/" in unit.name or unit.name.startswith("."):
            raise ValueError(f"a unit needs a plain name and a command: {unit.name!r}")
        for path in (unit.links, unit.reload):
            if path is not None:
                _text(path)
        if unit.reload is not None and "\n" in unit.reload:
            raise ValueError(f"a path that a process is told is one line: {unit.reload!r}")
        _choice("readiness", unit.readiness, ("started", "notify"))
        _choice("restart", unit.restart.when, ("never", "on-failure", "always"))
        _choice("pin", unit.pin, (SHARED, NAMED, EXCLUSIVE))
        if unit.pin != SHARED and not unit.cores:
            raise ValueError(f"a unit that is pinned names its cores: {unit.name!r}")
        if type(unit.nice) is not int or not -20 <= unit.nice <= 19:
            raise ValueError(f"nice is a whole number from -20 to 19, not {unit.nice!r}")
        _number(unit.start_timeout)
        _number(unit.watchdog)
        _number(unit.lease)
        names = [socket.name for socket in unit.sockets]
        if len(names) != len(set(names)) or len(names) > MOST_SOCKETS:
            raise ValueError(f"sockets need different names, at most {MOST_SOCKETS}: {names!r}")
        if type(unit.order) is not int:
            raise TypeError(f"expected a whole number, got {unit.order!r}")
        _whole(unit.rank)
        _whole(unit.memory)
        _whole(unit.log_size)
        _whole(unit.log_files)
        return unit


def escape(text: str) -> str:
    """`text` such that `Unit.render` gives it back unchanged."""
    return text.replace("$", "$$")


def canonical(data: Any) -> str:
    """The one JSON text of `data`: sorted keys, no spaces; what hashes are taken of."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    if "\0" in value:
        raise ValueError(f"no process can be given a NUL: {value!r}")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"expected a list, got {value!r}")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a whole number from 0, got {value!r}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise TypeError(f"expected a number from 0, got {value!r}")
    return float(value)


def _choice(field: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{field} must be one of {list(allowed)}, not {value!r}")


def _socket(data: Mapping[str, Any]) -> Socket:
    socket = Socket(**{field: _text(value) for field, value in data.items()})
    if not _SOCKET_NAME.match(socket.name):
        raise ValueError(f"a socket's name is printable, without colons: {socket.name!r}")
    if not socket.path or socket.path.endswith("/") or ".." in socket.path.split("/"):
        raise ValueError(f"a socket's path names a file, without `..`: {socket.path!r}")
    _choice("a socket's kind", socket.kind, ("stream", "seqpacket"))
    return socket


def _realtime(data: Mapping[str, Any]) -> Realtime:
    realtime = Realtime(**data)
    _choice("a real-time policy", realtime.policy, ("fifo", "rr"))
    if type(realtime.priority) is not int or not 1 <= realtime.priority <= 99:
        raise ValueError(f"a real-time priority is from 1 to 99, not {realtime.priority!r}")
    return realtime


def _command(data: Mapping[str, Any]) -> HealthCommand:
    argv = tuple(_text(part) for part in _list(data["argv"]))
    if not argv or not argv[0]:
        raise ValueError("a health command needs a program")
    timeout = _number(data["timeout"])
    return HealthCommand(**{**data, "argv": argv, "text": _text(data["text"]), "timeout": timeout})


def _policy(kind: Type[Policy], data: Mapping[str, Any]) -> Policy:
    """Every field of a policy is a time or a count, but for `when`."""
    for name, value in data.items():
        if name != "when":
            _number(value)
    return kind(**data)
