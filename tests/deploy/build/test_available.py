"""Whether packages can be had, asked without building them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.build.available import BUILT, FETCHED, INDEX, origin
from deploy.build.python import python_tree
from deploy.build.workshop import Workshop
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError, NoIndex
from deploy.facts import Facts
from tests.deploy.build.wheels import facts


def found(
    tmp_path: Path, *requirements: str, lock: bool = True, machine: Facts | None = None
) -> str:
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock" if lock else None)
    environment = PythonEnvironment(requirements, base=tmp_path)
    return origin(environment, machine or facts(), workshop, ["camera"])


def cut(monkeypatch: pytest.MonkeyPatch, uv_cache: Path | None = None) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    if uv_cache is not None:
        monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))


def test_what_the_index_has_can_be_had_and_nothing_is_kept(tmp_path: Path) -> None:
    """Asked again, it is the same answer: no lock is written, nothing built."""
    assert INDEX == found(tmp_path, "markupsafe")
    assert [] == list(tmp_path.iterdir())


def test_what_was_built_needs_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what its lock names, for that platform; locked alone does not do."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    environment = PythonEnvironment(("markupsafe",), base=tmp_path)
    tree = python_tree(environment, facts(), workshop, ["camera"], lambda _: None)
    cut(monkeypatch, tmp_path / "uv")
    assert BUILT == found(tmp_path, "markupsafe")
    assert BUILT == found(tmp_path)
    with pytest.raises(NoIndex):
        found(tmp_path, "markupsafe", machine=facts(arch="aarch64"))
    workshop.kept.remove_tree(tree.name)
    with pytest.raises(NoIndex):
        found(tmp_path, "markupsafe")


def test_locked_versions_are_asked_for_as_they_are(tmp_path: Path) -> None:
    """Without what was built the index has them still."""
    workshop = Workshop(cache=tmp_path / "cache", lock=tmp_path / "flow.lock")
    environment = PythonEnvironment(("markupsafe<3",), base=tmp_path)
    tree = python_tree(environment, facts(), workshop, ["camera"], lambda _: None)
    workshop.kept.remove_tree(tree.name)
    assert INDEX == found(tmp_path, "markupsafe<3")


def test_what_uv_has_fetched_does_without_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a build would find it: not from an index of another address."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    assert INDEX == found(tmp_path, "markupsafe==3.0.2", lock=False)
    # An address at which nobody is, by a proxy: the index stays the one that was asked.
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    assert FETCHED == found(tmp_path, "markupsafe==3.0.2", lock=False)
    with pytest.raises(NoIndex):
        found(tmp_path, "itsdangerous", lock=False)


@pytest.mark.parametrize(
    ("requirement", "machine"),
    [
        ("pyarrow==15.0.0", facts(python_version=(3, 13, 0))),
        ("pyarrow==15.0.0", facts(libc="musl", libc_version=(1, 2))),
        ("pyarrow>=15", facts(libc_version=(2, 12))),
        ("pyarrow>=15", facts(arch="armv7l")),
        ("markupsafe==0.23", facts()),
    ],
)
def test_what_has_no_wheel_for_that_machine_is_told(
    tmp_path: Path, requirement: str, machine: Facts
) -> None:
    """For its libc, its kind of processor, its Python, or at all."""
    with pytest.raises(BuildError) as failure:
        found(tmp_path, requirement, machine=machine)
    assert not isinstance(failure.value, NoIndex)
