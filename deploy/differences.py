"""Why one unit is not another: which file, which package, which setting. Pure; laptop only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from deploy.store.outline import Outline
from deploy.unit import Realtime, Unit

# Of a unit; closure, links, env, argv and secrets have words of their own.
SETTINGS = (
    "cwd",
    "cores",
    "pin",
    "realtime",
    "nice",
    "readiness",
    "start_timeout",
    "restart",
    "stop",
    "order",
    "sockets",
    "watchdog",
    "memory",
    "lease",
    "log_size",
    "log_files",
    "health",
)
UNSHOWN = ("cwd", "sockets", "health")  # of settings, their values
PACKAGE = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)\.dist-info\Z")
MOST_NAMES = 3  # files of one tree, and packages, that are named in a text
WORTH_SHOWING = 60  # characters of a setting

Kind = Literal["file", "requirement", "tree", "variable", "command", "setting", "secret"]
Trees = Mapping[str, Outline]  # by the name in the store


@dataclass(frozen=True)
class Reason:
    """`before` and `after` are None for what was not, or is not there; both where values are
    nobody's business (variables, secrets) or too long. `where` is a file's tree."""

    kind: Kind
    name: str
    before: str | None = None
    after: str | None = None
    where: str = ""

    def __str__(self) -> str:
        what = self.name if self.kind != "secret" else f"secret {self.name}"
        if self.kind not in ("requirement", "setting") or self.before == self.after:
            return f"{what} {self.verb}"
        if self.before is not None and self.after is not None:
            return f"{what} {self.before} -> {self.after}"
        return f"{what} {self.after or self.before} {self.verb}"

    @property
    def verb(self) -> str:
        if self.before == self.after:
            return "changed"
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def texts(reasons: Sequence[Reason]) -> list[str]:
    """For people: many files of one tree, or many packages, in a few words."""
    found: list[str] = []
    groups: dict[tuple[str, str], list[Reason]] = {}
    for reason in reasons:
        many = reason.kind in ("file", "requirement")
        key = (reason.kind, reason.where) if many else (reason.kind, str(reason))
        groups.setdefault(key, []).append(reason)
    for (kind, where), group in groups.items():
        words = [str(it) for it in group]
        if len(group) > MOST_NAMES:
            named = ", ".join(it.name for it in group[:MOST_NAMES])
            what = f"files of {where}" if kind == "file" else "packages"
            words = [f"{len(group)} {what} changed ({named}, ...)"]
        found += words
    return found


def differences(old: Unit, new: Unit, trees: Trees | None = None) -> tuple[Reason, ...]:
    """Why `new` is not `old`. Values of variables are not told, but for those of JSON objects where
    the names within are. `trees` are those outlines that are known, of both."""
    return (
        *_trees(old.closure, new.closure, trees or {}),
        *_variables(old.env, new.env),
        *([Reason("command", "command")] if _strip(old.argv) != _strip(new.argv) else ()),
        *_secrets(old, new),
        *_settings(old, new),
    )


# what is in the trees


def _trees(old: Sequence[str], new: Sequence[str], known: Trees) -> Iterable[Reason]:
    before, after = (_labels(it) for it in (old, new))
    pairs = {label: label for label in before.keys() & after.keys()}
    gone, come = (sorted(a.keys() - b.keys()) for a, b in ((before, after), (after, before)))
    for one, other in zip(gone, come, strict=False):  # another script, or another Python
        pairs[one] = other
    for label in sorted(pairs):
        first, second = before[label], after[pairs[label]]
        if first != second:
            yield from _tree(pairs[label], known.get(first), known.get(second))
    for label in gone[len(come) :]:
        yield Reason("tree", label, before=label)
    for label in come[len(gone) :]:
        yield Reason("tree", label, after=label)


def _tree(label: str, old: Outline | None, new: Outline | None) -> Iterable[Reason]:
    found: list[Reason] = []
    if old is not None and new is not None:
        first, second = packages(old), packages(new)
        found += [
            Reason("requirement", name, first.get(name), second.get(name))
            for name in sorted(first.keys() | second.keys())
            if first.get(name) != second.get(name)
        ]
        if not found and old.files is not None and new.files is not None:
            pairs = {
                path: (_short(old.files.get(path)), _short(new.files.get(path)))
                for path in sorted(old.files.keys() | new.files.keys())
                if old.files.get(path) != new.files.get(path)
            }
            found += [Reason("file", path, *pair, where=label) for path, pair in pairs.items()]
    return found or [Reason("tree", label)]


def packages(tree: Outline) -> dict[str, str]:
    """The Python packages that are installed in a tree: name -> version."""
    found = (PACKAGE.match(name) for name in tree.top)
    return {it["name"]: it["version"] for it in found if it is not None}


def _short(content: str | None) -> str | None:
    """A digest as people compare them; executables and links as they are told."""
    if content is None or content.startswith("-> "):
        return content
    digest, *rest = content.split(" ")
    return " ".join([digest[:12], *rest])


def _labels(closure: Sequence[str]) -> dict[str, str]:
    return {path.split("-", 1)[1]: path for path in closure}


# what is said to the process


def _variables(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[Reason]:
    for variable in sorted(old.keys() | new.keys()):
        # A variable that names a store path changes with its tree, which was said already.
        before, after = (_without_trees(env.get(variable)) for env in (old, new))
        if before == after:
            continue
        if before is None or after is None:
            there = [None if it is None else "(not shown)" for it in (before, after)]
            yield Reason("variable", variable, there[0], there[1])
        else:
            paths = _paths(before, after)
            yield from (Reason("variable", f"{variable}: {path}") for path in paths[:MOST_NAMES])
            if not paths or len(paths) > MOST_NAMES:
                yield Reason("variable", variable)


def _paths(before: str, after: str) -> list[str]:
    """Where two JSON objects differ: `inputs.image.queue_size`; [] where these are none."""
    try:
        old, new = json.loads(before), json.loads(after)
    except (ValueError, RecursionError):
        return []
    if not isinstance(old, dict) or not isinstance(new, dict):
        return []
    return list(_unlike(old, new, ()))


def _unlike(old: Any, new: Any, path: tuple[str, ...]) -> Iterable[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _unlike(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield ".".join(path)


def _strip(argv: Sequence[str]) -> list[str | None]:
    return [_without_trees(part) for part in argv]


def _without_trees(text: str | None) -> str | None:
    """`text` with the hashes of store paths blanked."""
    if text is None or "/store/trees/" not in text:
        return text
    head, *rest = text.split("/store/trees/")
    return head + "".join("/store/trees/" + part[40:] for part in rest)


def _secrets(old: Unit, new: Unit) -> Iterable[Reason]:
    before, after = ({it.variable: it for it in unit.secrets} for unit in (old, new))
    for variable in sorted(before.keys() | after.keys()):
        if before.get(variable) != after.get(variable):
            yield Reason("secret", variable)


def _settings(old: Unit, new: Unit) -> Iterable[Reason]:
    for field in SETTINGS:
        before, after = getattr(old, field), getattr(new, field)
        if before == after:
            continue
        if field in ("restart", "stop"):
            parts = {name: (it, getattr(after, name)) for name, it in asdict(before).items()}
        else:
            parts = {"": (before, after)}
        for part, (one, other) in parts.items():
            if one != other:
                name = f"{field}.{part}" if part else field
                shown = [_shown(it) for it in (one, other)]
                if any(len(it) > WORTH_SHOWING for it in shown) or field in UNSHOWN:
                    yield Reason("setting", name)
                else:
                    yield Reason("setting", name, *shown)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "any"
    if value is None:
        return "none"
    if isinstance(value, Realtime):
        return f"{value.policy} {value.priority}"
    return f"{value:g}" if isinstance(value, float) else str(value)
