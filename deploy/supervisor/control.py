"""The language of the supervisor's socket: requests, replies, refusals. Pure; Python >= 3.8.

One JSON object per line each way. A request is `{"op": ..., fields}`; its reply is
`{"ok": true, ...}` or `{"ok": false, "code": ..., "error": ...}` and then nothing was changed.

    hello        stay?, leave?            agent, pid, root, run, time, boot_id; with `stay` one
                                          that has nothing to do waits half a minute for work,
                                          with `leave` no longer
    deployments                           deployments: {name: {current, hash, created, creator,
                                          lock: {owner, since} | null, units, revision, pending:
                                          {number, previous, wall, ...} | null}}
    generations  deployment               generations: all, oldest first, without profiles: {number,
                                          created, creator, revision, note, failure | null, hash,
                                          units: names}; current, booted, pending
    generation   deployment, number?      generation: as in its file | null; numbers: all there are;
                                          missing: store paths of it that are not here
    status       deployment?              units: [state], each with `before`, what it said of itself
                                          some seconds before `status` ({text, seconds} | null);
                                          missing: of what is current, if one asked:
                                          names of trees, and secrets/<deployment>/<reference>
    secret       deployment, name, value (base64); needs the lock
    secrets      deployment               names
    read_public  deployment, name         text | null
    lock         deployment, owner        held until `unlock`, the end of this connection, 30 s in
                                          which it says nothing (`hello` is enough), or the end of
                                          a trial's time
    unlock       deployment
    lock_all, unlock_all   owner          keeps everybody from locking anything
    break_lock   deployment               broken: {owner, since} | null; whoever holds it is refused
    holds                                 holds: who holds updates up here: [{deployment, unit,
                                          owner, reason, since}]; a pause has an owner, no unit
    pause        owner, reason?           nothing is switched here until `resume`    pause
    resume                                pause: what it was | null
    claim        deployment, regardless?; needs the lock    nobody can hold updates up from now on,
                                          until the lock and the trial that follows are over
    unclaim      deployment; needs the lock    it is not going to be switched after all
    activate     deployment, profile, creator, expected (hash | null), confirm_timeout?, revision?,
                 note?, mark? (as in `lease`); needs the lock; claims if it is not claimed and some
                 process changes
                                          number, previous (what it would go back to), pending |
                                          null, started, restarted, stopped, kept
    confirm      deployment, number       what is on trial stays. Needs no lock
    revert       deployment, reason; needs the lock    number that runs again | null
    prune        keep; needs `lock_all`   removed: {deployment: numbers}; closure: store paths that
                                          running units need
    stop         deployment, force?; needs the lock; claims as `activate`, with `force` regardless;
                                          stopped: names, once all have ended
    restart      deployment, unit, force?
    reload       deployment, unit, what   reloaded: true, false if the unit goes on as it is, null
                                          if it does not listen or does not answer in time
    lease        deployment, mark?, owner?    renews the leases of its units, as of the moment when
                                          this machine answered `mark`. With `owner` this connection
                                          keeps them, and nobody else may until it ends or says
                                          nothing for 10 s    mark, lease (the shortest, seconds |
                                          null), holder ({owner, since} | null)
    metrics      port (null), bind        metrics: {bind, port} | null: where figures of all units
                                          are served by HTTP from now on, also after a reboot
    watch        deployment?              lines without end: the first has `units` with all states,
                                          later ones those that changed, or `heartbeat`: time
    logs         deployment, units?, tail?, follow?, since? (epoch), ago? (seconds), level?
                                          {"ok": true}, then lines {unit, line, time, level};
                                          without `follow` then {"end": true} and no more, with it
                                          {"live": true} before the first new one
    store                                 {"ok": true}; then the connection is that of a process
                                          of the machine's store, see `deploy.store.serve`
    upgrade      agent, python?           goes on as that agent; connections drop, units run on

A unit's state: deployment, name, state, pid, since (epoch), restarts_at (epoch, while it waits to
be started again), restarts, exit ({code} | {signal} | null; with `reason` if it was killed for one:
"watchdog", "memory" with `used` and `limit` in bytes, "oom"), error, last_lines (of its log, at its
last end if that was an error: 20 lines, 4 KiB at most), cores and scheduling ({policy, priority,
nice}), read back from the kernel, shortfall (how that is not what it asks for: text | null), rss,
memory_peak (bytes), cpu (a share of one core since the look before), cpu_seconds (these are null
until there was a look), memory_limit, ready, late (not ready in its start_timeout), health (of its
health commands, while it is on trial: {state: running | passed | failed, error, last_lines} |
null), generation, fingerprint. In `watch` one that has gone has state "gone".
With a `confirm_timeout` (seconds) an activated generation is on trial: unless it is confirmed in
that time, the machine goes back to `previous` by itself, or to nothing.
Codes: bad_request, unknown_op, too_long, locked (with owner, since), not_locked, stale (with hash),
cores_taken (with clashes: others are pinned to cores of the profile), metrics (nobody can listen
there), held (with holds), updating (it cannot be paused while it is switched), leased (with owner,
since), missing_paths (with paths), unknown (no such deployment or unit), gone_back (with current),
not_pending (with current), upgrade_failed, io, internal.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Dict, List, Optional

from deploy.profile import NAME, Profile

LONGEST_LINE = 16 * 1024 * 1024  # bytes of one request; a profile with its documents must fit


class Refusal(Exception):
    """Why a request is not done; nothing was changed."""

    def __init__(self, code: str, error: str, **facts: Any) -> None:
        super().__init__(error)
        self.code = code
        self.facts = facts

    def to_json(self) -> Dict[str, Any]:
        return {"ok": False, "code": self.code, "error": str(self), **self.facts}


class Request:
    """A request's fields, read with their types. Every reader raises Refusal("bad_request")."""

    def __init__(self, data: Dict[str, Any]) -> None:
        self._data = data
        self.op = self.text("op")

    def __repr__(self) -> str:
        return f"<Request {self.op}>"  # never with values: there are secrets among them

    def text(self, field: str) -> str:
        value = self._data.get(field)
        if not isinstance(value, str):
            raise bad(f"{field!r} must be text, not {_shown(value)}")
        return value

    def name(self, field: str) -> str:
        """Text that may become a file's name."""
        value = self.text(field)
        if not NAME.match(value):
            raise bad(f"{field!r} must be a plain name, not {_shown(value)}")
        return value

    def optional_text(self, field: str) -> Optional[str]:
        return None if self._data.get(field) is None else self.text(field)

    def optional_name(self, field: str) -> Optional[str]:
        return None if self._data.get(field) is None else self.name(field)

    def number(self, field: str, default: Optional[int] = None) -> Optional[int]:
        value = self._data.get(field, default)
        if value is not None and (type(value) is not int or value < 0):
            raise bad(f"{field!r} must be a whole number from 0, not {_shown(value)}")
        return value

    def seconds(self, field: str, most: float = 1e9) -> float:
        """0 when it is not given."""
        value = self._data.get(field, 0)
        if type(value) not in (int, float) or not 0 <= value < most:
            raise bad(f"{field!r} must be a number of seconds, not {_shown(value)}")
        return float(value)

    def flag(self, field: str) -> bool:
        value = self._data.get(field, False)
        if not isinstance(value, bool):
            raise bad(f"{field!r} must be true or false, not {_shown(value)}")
        return value

    def names(self, field: str) -> Optional[List[str]]:
        value = self._data.get(field)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise bad(f"{field!r} must be a list of names, not {_shown(value)}")
        return value

    def base64(self, field: str) -> bytes:
        try:
            return base64.b64decode(self.text(field), validate=True)
        except (binascii.Error, ValueError):
            raise bad(f"{field!r} is not base64") from None

    def profile(self, field: str) -> Profile:
        try:
            return Profile.from_json(self._data[field])
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise bad(f"{field!r} is not a profile: {type(error).__name__}: {error}") from error


def parse(line: bytes) -> Request:
    """Raises Refusal."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise bad(f"a request is an object, not {_shown(data)}")
    return Request(data)


def bad(error: str) -> Refusal:
    return Refusal("bad_request", error)


def encode(data: Dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


class Lines:
    """Cuts a stream of bytes into lines; one that is too long is dropped, not kept in memory."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._parts: List[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> List[Optional[bytes]]:
        """The lines that `data` completes; None stands for one that was too long."""
        *whole, rest = data.split(b"\n")
        lines: List[Optional[bytes]] = []
        for part in whole:
            self._add(part)
            lines.append(b"".join(self._parts) if self._size <= self._longest else None)
            self._parts, self._size = [], 0
        self._add(rest)
        return lines

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._longest:
            self._parts.append(part)
        else:
            self._parts = []
