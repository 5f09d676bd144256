"""Documents: what YAML becomes, where its values stand, and how schemas speak."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import inventory_schema
from deploy.document import (
    bandwidth,
    check,
    core_list,
    duration,
    mistakes,
    name,
    parse,
    read,
    shown,
    size,
    suggest,
)
from dora.dataflow.schema import FLOW


def told(text: str) -> list[str]:
    return [str(issue) for issue in parse(text, "f.yml").issues]


def checked(text: str, schema: dict[str, object]) -> list[str]:
    return [str(issue) for issue in sorted(check(parse(text, "f.yml"), schema).issues)]


def test_scalars_are_those_of_yaml_1_2() -> None:
    """What YAML 1.1 made of yes, octals, dates and underscores does not happen."""
    text = "[yes, on, 0755, 1e3, 0o17, 0x1f, ~, true, 2024-01-01, 1_000, '5', !!str 6, 1:30]"
    assert [
        "yes", "on", 755, 1000.0, 15, 31, "null", True, "2024-01-01", "1_000", "5", "6", "1:30",
    ] == parse(text.replace("~", "'null'"), "f.yml").value  # fmt: skip


def test_keys_are_text_as_written() -> None:
    """A port or a number can name something."""
    assert {"1": "a", "true": "b", "0755": "c"} == parse("{1: a, true: b, 0755: c}", "f").value


def test_positions_are_those_of_the_file() -> None:
    """Line and column, from 1, of keys and of values, also inside lists."""
    document = parse("a:\n  - x\n  - {b: c}\n", "f.yml")
    assert (1, 1) == document.at_key(("a",))
    assert (2, 3) == document.at(("a",))
    assert (3, 5) == document.at(("a", 1))
    assert (3, 6) == document.at_key(("a", 1, "b"))
    assert (3, 9) == document.at(("a", 1, "b"))
    assert (3, 9) == document.at(("a", 1, "b", "not", "there"))


def test_aliases_and_merged_keys_work() -> None:
    """What is merged in stands where it was written; own keys win, then earlier mappings."""
    document = parse(
        "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  c: 3\n  <<: [*x, *y]\nagain: *x\n", "f.yml"
    )
    assert {"c": 3, "a": 1, "b": 1} == document.value["z"]
    assert {"a": 1, "b": 1} == document.value["again"]
    assert (4, 6) == document.at(("z", "c"))
    assert (1, 11) == document.at(("z", "a"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "f.yml:2:1: the key 'a' stands here twice; the first one is in line 1"),
        ("a: [1, ~]", "f.yml:1:8: an entry of this list is empty; remove it"),
        ("? [a]\n: 1", "f.yml:1:3: a list or mapping cannot be a key"),
        ("a: {<<: 5}", "f.yml:1:9: only a mapping can be merged in with <<"),
        ("a: &a [*a]", "f.yml:1:4: an alias stands inside of what it stands for"),
        ("a: !!int foo", "f.yml:1:4: 'foo' cannot be read as int"),
        ("a: !foo b", "f.yml:1:4: the tag !foo means nothing here; remove the tag"),
        ("a: *x", "f.yml:1:4: this is not YAML: found undefined alias 'x'"),
        ("a: 'b", "f.yml:1:6: this is not YAML: found unexpected end of stream"),
        ("a: 1\n---\nb: 2", "f.yml:2:1: this is not YAML: but found another document"),
        ("a:\n b: \0", "f.yml:2:5: this is not YAML: special characters are not allowed"),
        ("[" * 2000, "f.yml:1:1: lists and mappings are nested too deeply"),
    ],
)  # fmt: skip
def test_problems_of_the_yaml_itself_are_issues(text: str, expected: str) -> None:
    """Nothing that a file can hold becomes an exception."""
    found = told(text)
    assert expected == found[0]


def test_billion_laughs_are_refused() -> None:
    """Aliases of aliases of aliases do not fill the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]")
    document = parse("\n".join(lines), "f.yml")
    assert document.value is None
    assert ["this is not YAML: the aliases in it stand for too many values"] == [
        issue.message for issue in document.issues
    ]


def test_a_file_that_cannot_be_read_is_an_issue(tmp_path: Path) -> None:
    """A missing file, a folder, and bytes that are no text say so with their name."""
    (tmp_path / "latin").write_bytes(b"a: 1\nb: \xe9\n")
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert [f"{tmp_path}/none:1:1: cannot be read: no such file or directory"] == [
        str(issue) for issue in read(tmp_path / "none").issues
    ]
    assert [f"{tmp_path}:1:1: cannot be read: is a directory"] == [
        str(issue) for issue in read(tmp_path).issues
    ]
    assert [f"{tmp_path}/latin:2:4: the file is not UTF-8 text"] == [
        str(issue) for issue in read(tmp_path / "latin").issues
    ]
    assert {"a": 1} == read(tmp_path / "bom").value


SCHEMA: dict[str, object] = {
    "name": {"type": "string", "required": True},
    "mode": {"allowed": ["fast", "slow"]},
    "count": {"type": "integer", "min": 1, "max": 9},
    "wait": {"coerce": duration},
    "names": {"type": "list", "schema": {"type": "string", "empty": False}},
    "inner": {"type": "dict", "schema": {"type": {"type": "string"}, "coerce": {"type": "string"}}},
    "old": {"unsupported": "use `name`"},
}


def test_a_check_finds_everything_at_once() -> None:
    """Each problem has its place, its value and what would be right."""
    text = """\
nmae: x
mode: fasst
count: 12
wait: soon
names: [a, 5, '']
inner: {typo: 1, type: []}
old: 1
"""
    assert [
        "f.yml:1:1: the key 'name' is missing",
        "f.yml:1:1: unknown key 'nmae'; did you mean 'name'?",
        "f.yml:2:7: mode is 'fasst'; it must be one of fast, slow; did you mean 'fast'?",
        "f.yml:3:8: count is 12; it must be at most 9",
        "f.yml:4:7: wait is 'soon'; it must be a duration such as 20ms, 2s or 1m, "
        "or a number of seconds",
        "f.yml:5:12: an entry of names is 5; it must be text",
        "f.yml:5:15: an entry of names is empty; it must not be",
        "f.yml:6:9: unknown key 'typo'; did you mean 'type'?",
        "f.yml:6:24: type is a list; it must be text",
        "f.yml:7:1: old is not supported by this version; use `name`",
    ] == checked(text, SCHEMA)


def test_containers_of_the_wrong_type_are_told_and_nothing_else() -> None:
    """Also where the wrong container's keys look like rules of the schema."""
    text = "name: x\nnames: {type: string, coerce: y}\ninner: [type, coerce]\n"
    assert [
        "f.yml:2:8: names is a mapping; it must be a list",
        "f.yml:3:8: inner is a list; it must be a mapping",
    ] == checked(text, SCHEMA)


def test_what_is_right_survives_what_is_wrong() -> None:
    """So that the caller can look for problems further on."""
    result = check(parse("name: x\ncount: 0\nwait: 20ms\nnames: [a, 5, b]\n", "f.yml"), SCHEMA)
    assert {"name": "x", "wait": 0.02, "names": ["a", None, "b"]} == result.value
    assert {("count",), ("names", 1)} == result.broken


def test_a_check_leaves_the_document_alone() -> None:
    """What the file said can still be shown."""
    document = parse("name: x\nwait: 2s\nnames: [a]\ncount:\n", "f.yml")
    result = check(document, SCHEMA)
    assert {"name": "x", "wait": 2.0, "names": ["a"]} == result.value
    assert {"name": "x", "wait": "2s", "names": ["a"], "count": None} == document.value


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*SCHEMA, "type", "coerce", "x"]), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_no_value_breaks_the_checker(value: object) -> None:
    """Whatever stands in a file, the answer is a list of issues, each in words."""
    document = parse("x: 1\n", "f.yml")
    document.value = value
    result = check(document, SCHEMA)
    assert all(issue.message for issue in result.issues)
    assert set(result.value) <= set(SCHEMA)


def test_durations_are_seconds() -> None:
    """Text has a unit; a number is seconds."""
    texts = ["20ms", "2s", "1m", "1.5h", "250us", " 3 s ", 0.5, 4, 0]
    assert [0.02, 2.0, 60.0, 5400.0, 0.00025, 3.0, 0.5, 4.0, 0.0] == [*map(duration, texts)]


def test_sizes_are_bytes() -> None:
    """KB is a thousand, KiB is 1024; case does not matter."""
    texts = ["512MiB", "1GB", "100KB", "1kib", "5", "7B", 9, "1.5K"]
    assert [512 << 20, 10**9, 100_000, 1024, 5, 7, 9, 1500] == [*map(size, texts)]


def test_bandwidths_are_bytes_a_second() -> None:
    """Bits and bytes are told apart; the prefix is a thousand in any case."""
    texts = ["100Mbit", "1Gbit", "12.5MB", "500 kbit/s", "8bit", "3GB/s"]
    assert [12.5e6, 125e6, 12.5e6, 62_500.0, 1.0, 3e9] == [*map(bandwidth, texts)]


def test_core_lists_are_sorted_and_unique() -> None:
    """Ranges, lists and single numbers say the same."""
    values = ["2-4", "0,2", "4, 0-1", 3, [1, 0, 1], "5"]
    assert [(2, 3, 4), (0, 2), (0, 1, 4), (3,), (0, 1), (5,)] == [*map(core_list, values)]


@pytest.mark.parametrize(
    ("function", "value"),
    [(duration, value) for value in ("", "5", "-1s", "1 year", True, None, -1, float("nan"), [])]
    + [(size, value) for value in ("", "x", "-1", "1.5 EB", True, None, -1, 1.5)]
    + [(bandwidth, value) for value in ("", "100", "0Mbit", "fast", "1Mb", 100, True, None)]
    + [(core_list, value) for value in ("", "a", "2-1", [], [True], None, -1, "0-1024", "1,,2")]
    + [(name, value) for value in ("", ".a", "-a", "a b", "a/b", "x" * 64, True, None, "a\n", "é")],
)  # fmt: skip
def test_what_is_no_quantity_is_refused_in_words(function, value) -> None:  # type: ignore[no-untyped-def]
    """The text completes "it must be"."""
    with pytest.raises(ValueError, match=r"^[a-z1].*"):
        function(value)


def test_suggestions_are_near_or_none() -> None:
    """Far is worse than nothing."""
    assert "did you mean 'inputs'?" == suggest("inptus", ["outputs", "inputs"])
    assert None is suggest("zzz", ["outputs", "inputs"])


def test_values_are_quoted_in_the_words_of_yaml() -> None:
    """And briefly."""
    assert ["true", "empty", "'x'", "5", "a list", "a mapping"] == [
        shown(value) for value in (True, None, "x", 5, [1], {})
    ]
    assert 62 == len(shown("y" * 500))


@pytest.mark.parametrize("schema", [FLOW, inventory_schema.schema({}), inventory_schema.schema([])])
def test_our_schemas_are_schemas(schema: dict[str, object]) -> None:
    """`check` does not look at them again for each file."""
    assert "" == mistakes(schema)


def test_a_mistake_in_a_schema_is_told() -> None:
    """A rule that there is not, as a misspelt one."""
    assert "knid" in mistakes({"key": {"knid": "text"}})
