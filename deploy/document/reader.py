"""YAML text -> plain values and where each of them stands. Laptop only.

Files are YAML 1.2, as dora reads them (`yes` stays text, 0755 is 755, 1e3 is 1000); dates, and
digits with underscores, stay text.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from deploy.document.wording import shown
from deploy.errors import Issue

DocumentPath = tuple[str | int, ...]  # keys of mappings and indices of lists, from the root

_ALIAS_LIMIT = 100_000  # values that aliases may add to a document before it is taken for an attack
_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"


class Position(NamedTuple):
    """Line and column, 1-based."""

    line: int
    column: int


@dataclass
class Document:
    """What a file holds: `value` is made of dict, list, str, int, float, bool and None alone.

    Keys of mappings are text, as written. `issues` are the problems of the YAML itself; `broken`
    are the paths of values that must not be relied on because of one.
    """

    file: str
    value: Any = None
    issues: list[Issue] = field(default_factory=list)
    broken: set[DocumentPath] = field(default_factory=set)
    keys: dict[DocumentPath, Position] = field(default_factory=dict, repr=False)
    values: dict[DocumentPath, Position] = field(default_factory=dict, repr=False)

    def at(self, path: Sequence[str | int]) -> Position:
        """Where the value of `path` begins; of the nearest value around it that exists."""
        return self._find(self.values, tuple(path))

    def at_key(self, path: Sequence[str | int]) -> Position:
        """Where the key of `path` stands; its value, if it has no key (an entry of a list)."""
        return self.keys.get(tuple(path)) or self.at(path)

    def value_at(self, path: Sequence[str | int]) -> Any:
        """The value of `path`; None if there is none."""
        value = self.value
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def issue(
        self, path: Sequence[str | int], message: str, hint: str | None = None, *, key: bool = False
    ) -> Issue:
        """A problem of the value of `path`, or of its key."""
        position = self.at_key(path) if key else self.at(path)
        return Issue(self.file, position.line, position.column, message, hint)

    @staticmethod
    def _find(table: Mapping[DocumentPath, Position], path: DocumentPath) -> Position:
        while path and path not in table:
            path = path[:-1]
        return table.get(path, Position(1, 1))


def read(path: str | Path) -> Document:
    """The document of a file; a file that cannot be read is an issue of it, not an exception."""
    file = str(path)
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or "unknown error"
        return Document(file, issues=[Issue(file, 1, 1, f"cannot be read: {reason.lower()}")])
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        return Document(file, issues=[Issue(file, line, column, "the file is not UTF-8 text")])
    return parse(content, file)


def parse(content: str, file: str) -> Document:
    """The document of YAML text; `file` is what issues call it."""
    document = Document(file)
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(io.StringIO(content))
        if root is not None:
            _Reader(document, yaml).value(root, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        problem = " ".join(str(error.problem or error.context or "cannot be understood").split())
        hint = "indent with spaces, not with tabs" if r"'\t'" in problem else None
        document.value = None
        document.issues.append(Issue(file, *position, f"this is not YAML: {problem}", hint))
    except YAMLError as error:
        document.value = None
        offset = getattr(error, "position", 0) or 0
        line = content.count("\n", 0, offset) + 1
        column = offset - content.rfind("\n", 0, offset)
        reason = getattr(error, "reason", "cannot be understood")
        document.issues.append(Issue(file, line, column, f"this is not YAML: {reason}"))
    except RecursionError:
        document.value = None
        document.issues.append(Issue(file, 1, 1, "lists and mappings are nested too deeply"))
    return document


class _Reader:
    """Builds the plain values from ruamel's tree, because only the tree knows positions."""

    def __init__(self, document: Document, yaml: YAML) -> None:
        self._document = document
        self._yaml = yaml
        self._seen: set[int] = set()
        self._open: set[int] = set()  # the collections that we are inside of
        self._copies = 0

    def value(self, node: Node, path: DocumentPath) -> None:
        self._document.value = self._build(node, path)

    def _build(self, node: Node, path: DocumentPath) -> Any:
        self._document.values[path] = _start(node)
        if id(node) in self._seen:
            self._copies += 1
            if self._copies > _ALIAS_LIMIT:
                raise MarkedYAMLError(
                    problem="the aliases in it stand for too many values",
                    problem_mark=node.start_mark,
                )
        self._seen.add(id(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._problem(node, path, "an alias stands inside of what it stands for")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return self._sequence(node, path)
            assert isinstance(node, MappingNode)  # there is no fourth kind of node
            return self._mapping(node, path)
        finally:
            self._open.remove(id(node))

    def _scalar(self, node: ScalarNode, path: DocumentPath) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if kind in ("str", "timestamp", "merge", "value"):
            return node.value
        if kind in ("int", "float") and "_" in node.value:
            return node.value
        if kind in ("int", "float", "bool", "null"):
            try:
                return self._yaml.constructor.construct_object(node)
            except (ValueError, KeyError):
                self._problem(node, path, f"{shown(node.value)} cannot be read as {kind}")
                return None
        self._problem(node, path, f"the tag {node.tag} means nothing here", "remove the tag")
        return None

    def _sequence(self, node: SequenceNode, path: DocumentPath) -> list[Any]:
        values = []
        for index, item in enumerate(node.value):
            values.append(self._build(item, (*path, index)))
            if values[-1] is None and (*path, index) not in self._document.broken:
                self._problem(item, (*path, index), "an entry of this list is empty", "remove it")
        return values

    def _mapping(self, node: MappingNode, path: DocumentPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, item in self._own_entries(node, path):
            inner = (*path, key.value)
            if key.value in values:
                first = self._document.keys[inner].line
                message = f"the key {shown(key.value)} stands here twice"
                self._problem(key, inner, message, f"the first one is in line {first}")
                continue
            self._document.keys[inner] = _start(key)
            values[key.value] = self._build(item, inner)
        for key, item in self._merged_entries(node, path, {id(node)}):
            if key.value not in values:
                inner = (*path, key.value)
                self._document.keys[inner] = _start(key)
                values[key.value] = self._build(item, inner)
        return values

    def _own_entries(
        self, node: MappingNode, path: DocumentPath
    ) -> Iterator[tuple[ScalarNode, Node]]:
        for key, item in node.value:
            if not isinstance(key, ScalarNode):
                self._problem(key, path, "a list or mapping cannot be a key")
            elif str(key.tag) != _MERGE:
                yield key, item

    def _merged_entries(
        self, node: MappingNode, path: DocumentPath, visited: set[int]
    ) -> Iterator[tuple[ScalarNode, Node]]:
        """What `<<` brings in, the entries that win first; each mapping is visited once."""
        for key, item in node.value:
            if str(key.tag) != _MERGE:
                continue
            for source in item.value if isinstance(item, SequenceNode) else [item]:
                if not isinstance(source, MappingNode):
                    self._problem(source, path, "only a mapping can be merged in with <<")
                elif id(source) not in visited:
                    visited.add(id(source))
                    for inner, value in source.value:
                        if isinstance(inner, ScalarNode) and str(inner.tag) != _MERGE:
                            yield inner, value
                    yield from self._merged_entries(source, path, visited)

    def _problem(
        self, node: Node, path: DocumentPath, message: str, hint: str | None = None
    ) -> None:
        self._document.issues.append(Issue(self._document.file, *_start(node), message, hint))
        self._document.broken.add(path)


def _start(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
