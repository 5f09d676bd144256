"""Manifests: what is safe, what is one and the same, what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.store.path import Entry, Manifest
from tests.deploy.store.suite import UNSAFE, digest

PART = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)
PATH = st.lists(PART.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4)
FILES = st.dictionaries(PATH.map("/".join), st.binary(max_size=30), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def without_files_below_files(files: dict[str, bytes]) -> dict[str, bytes]:
    return {
        path: content
        for path, content in files.items()
        if not any(path.startswith(other + "/") for other in files)
    }


TREES = FILES.map(without_files_below_files).map(
    lambda files: Manifest(
        "tree",
        tuple(
            Entry(path, digest(content), len(content), len(content) % 2 == 0)
            for path, content in sorted(files.items())
        ),
    )
)


@given(TREES)
def test_manifest_survives_json(tree: Manifest) -> None:
    """What was written is what is read, under the same name."""
    again = Manifest.from_json(json.loads(json.dumps(tree.to_json())))
    assert tree == again
    assert tree.name == again.name


@given(st.fixed_dictionaries({"label": JSON, "entries": JSON | st.lists(st.lists(JSON))}) | JSON)
def test_nonsense_is_refused_clearly(data: object) -> None:
    """Whatever comes instead of a manifest, it is one of three errors, or a safe manifest."""
    try:
        Manifest.from_json(data).check()  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return


@pytest.mark.parametrize("tree", UNSAFE.values(), ids=UNSAFE.keys())
def test_unsafe_manifest_is_not_read(tree: Manifest) -> None:
    """Reading checks as putting does."""
    with pytest.raises(ValueError, match=r"."):
        Manifest.from_json(json.loads(json.dumps(tree.to_json())))


def test_name_tells_content_mode_and_links_apart() -> None:
    """Any difference in a tree gives another name."""
    trees = [
        Manifest("x", ()),
        Manifest("y", ()),
        Manifest("x", (Entry("a", digest(b""), 0),)),
        Manifest("x", (Entry("b", digest(b""), 0),)),
        Manifest("x", (Entry("a", digest(b"1"), 1),)),
        Manifest("x", (Entry("a", digest(b""), 0, executable=True),)),
        Manifest("x", (Entry("a", target="b"),)),
    ]
    assert len(trees) == len({tree.name for tree in trees})
