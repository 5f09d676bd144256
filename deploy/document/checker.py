"""A document held against a cerberus schema, with the problems in plain words. Laptop only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cerberus import TypeDefinition, Validator, errors
from cerberus.schema import DefinitionSchema, SchemaError

from deploy.document.reader import Document, DocumentPath
from deploy.document.wording import shown, suggest
from deploy.errors import Issue


@dataclass(frozen=True)
class Checked:
    """A document after its check: what is wrong is gone from `value`, its paths are in `broken`.

    A wrong entry of a list is replaced by None, so that the others keep their places.
    """

    value: dict[str, Any]
    issues: list[Issue]
    broken: frozenset[DocumentPath]


def check(document: Document, schema: Mapping[str, Any]) -> Checked:
    """The document held against a cerberus schema: every problem of it at once.

    Beyond cerberus' own rules a schema may say:

    - `coerce` with a function whose ValueError completes "it must be ...";
    - `unsupported: text`: the key is known, but cannot be used, and why or what to use instead;
    - `meta: {'is': text}`: what a value of the wrong type should have been, in words.

    Null counts as absent. Wrong keys and wrong values are left out of the result.
    """
    issues = list(document.issues)
    broken = set(document.broken)
    if document.value is None:
        if not issues:
            issues.append(document.issue((), "the file is empty", _known(schema)))
        return Checked({}, issues, frozenset({()}))
    if not isinstance(document.value, dict):
        message = f"the file holds {shown(document.value)}; it must be a mapping"
        return Checked({}, [*issues, document.issue((), message, _known(schema))], frozenset({()}))
    value = _without_nulls(document.value)

    def collect(found: Iterable[Any]) -> None:
        for path, message, hint, key in _problems(found, schema):
            if path not in broken:
                issues.append(document.issue(path, message, hint, key=key))
                broken.add(path)
        for path in broken:
            _remove(value, path)

    # Cerberus would coerce first and look at types later, and stumble over containers of the wrong
    # type on the way: so types first, then, without what was wrong, coercions.
    validator = _PlainValidator()
    validator.schema = _OurSchema(validator, schema)
    validator.validate(value, normalize=False)
    collect(validator._errors)
    value = validator.normalized(value, always_return_document=True)
    collect(validator._errors)
    return Checked(value, issues, frozenset(broken))


def mistakes(schema: Mapping[str, Any]) -> str:
    """What is wrong with a schema itself; "" if nothing is. For tests of schemas: `check` takes
    them as they are, since to check one takes longer than all that it is used for."""
    try:
        DefinitionSchema(_PlainValidator(), schema)
    except SchemaError as error:
        return str(error)
    return ""


class _OurSchema(DefinitionSchema):  # type: ignore[misc]  # cerberus is untyped
    def validate(self, schema: object = None) -> None:
        """Does nothing: see `mistakes`."""


class _PlainValidator(Validator):  # type: ignore[misc]  # cerberus is untyped
    types_mapping: ClassVar[dict[str, Any]] = {
        **Validator.types_mapping,
        "number": TypeDefinition("number", (int, float), (bool,)),
        "float": TypeDefinition("float", (int, float), (bool,)),
    }

    def _validate_allowed(self, allowed: list[str], field: str, value: object) -> None:
        """{'type': 'list'}"""
        # Cerberus would look at the entries of a list, and be content with an empty one.
        if value not in allowed:
            self._error(field, errors.UNALLOWED_VALUE, value)

    def _validate_unsupported(self, reason: str, field: str, value: object) -> None:
        """{'type': 'string'}"""
        self._error(field, reason)


_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "float": "a number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


def _problems(
    found: Iterable[Any], schema: Mapping[str, Any]
) -> Iterator[tuple[DocumentPath, str, str | None, bool]]:
    """Cerberus' errors in plain words: path, message, hint, whether the key is to blame."""
    for error in found:
        if error.is_group_error:
            yield from _problems(error.child_errors, schema)
            continue
        path: DocumentPath = tuple(error.document_path)
        name = _subject(path)
        subject = f"{name} is {shown(error.value)}"
        if error.code == errors.UNKNOWN_FIELD.code:
            known = _rules(schema, path[:-1])["schema"]
            usable = [key for key in known if "unsupported" not in known[key]]
            hint = suggest(path[-1], usable) or _known(known)
            yield path, f"unknown key {shown(path[-1])}", hint, True
        elif error.code == errors.REQUIRED_FIELD.code:
            where = f" in {_subject(path[:-1])}" if len(path) > 1 else ""
            yield path, f"the key {shown(path[-1])} is missing{where}", None, False
        elif error.code == errors.CUSTOM.code:
            yield path, f"{path[-1]} is not supported by this version", str(error.info[0]), True
        elif error.code == errors.COERCION_FAILED.code:
            yield path, f"{subject}; it must be {error.info[0]}", None, False
        elif error.code == errors.BAD_TYPE.code:
            yield path, f"{subject}; it must be {_expected(_rules(schema, path))}", None, False
        elif error.code == errors.UNALLOWED_VALUE.code:
            allowed = ", ".join(map(str, error.constraint))
            near = suggest(error.value, map(str, error.constraint))
            yield path, f"{subject}; it must be one of {allowed}", near, False
        elif error.code == errors.MIN_VALUE.code:
            yield path, f"{subject}; it must be at least {error.constraint}", None, False
        elif error.code == errors.MAX_VALUE.code:
            yield path, f"{subject}; it must be at most {error.constraint}", None, False
        elif error.code in (errors.EMPTY_NOT_ALLOWED.code, errors.NOT_NULLABLE.code):
            yield path, f"{name} is empty; it must not be", None, False
        else:
            raise ValueError(f"a schema uses the rule {error.rule!r}, which has no words here")


def _subject(path: DocumentPath) -> str:
    """What the value of `path` is called: its key, or the list that it stands in."""
    if isinstance(path[-1], str):
        return path[-1]
    return f"an entry of {path[-2]}" if len(path) > 1 else "an entry"


def _rules(schema: Mapping[str, Any], path: DocumentPath) -> Mapping[str, Any]:
    """What the schema says about the value of `path`."""
    rules: Mapping[str, Any] = {"schema": schema}
    for part in path:
        inner = rules.get("valuesrules") or rules["schema"]
        rules = inner if isinstance(part, int) or "valuesrules" in rules else inner[part]
    return rules


def _expected(rules: Mapping[str, Any]) -> str:
    if said := rules.get("meta", {}).get("is"):
        return str(said)
    kinds = rules["type"] if isinstance(rules["type"], list) else [rules["type"]]
    return " or ".join(_WORDS[kind] for kind in kinds)


def _known(schema: Mapping[str, Any]) -> str:
    usable = sorted(key for key, rules in schema.items() if "unsupported" not in rules)
    return f"the keys here are {', '.join(usable)}"


def _without_nulls(value: Any) -> Any:
    """A copy of `value`; keys of mappings whose value is null are gone."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _remove(value: Any, path: DocumentPath) -> None:
    """Takes the value of `path` out; it may be gone already."""
    for part in path[:-1]:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(value, dict):
        value.pop(path[-1], None)
    elif isinstance(value, list) and path and isinstance(path[-1], int) and path[-1] < len(value):
        value[path[-1]] = None
