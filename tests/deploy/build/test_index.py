"""Packages from an index of our own: for any platform, from source, behind a password."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.build.python import python_tree
from deploy.build.workshop import Workshop
from deploy.deployment import PythonEnvironment
from deploy.errors import BuildError
from deploy.facts import Facts
from tests.deploy.build.index import Index, alone
from tests.deploy.build.wheels import facts

LOGIN = "me:hu%sh"
QUOTED = "me:hu%25sh"


class Build:
    """One laptop: its cache, its lock file, and an index that is all it knows of the world."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.index = Index(folder / "index")
        self.lock = folder / "flow.lock"
        self.said: list[str] = []
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("NETRC", str(folder / "netrc"))
        monkeypatch.delenv("UV_INDEX", raising=False)
        self.knows(self.index.url)
        self.forget()

    def knows(self, url: str) -> None:
        for name, value in alone(url).items():
            self._monkeypatch.setenv(name, value)

    def forget(self) -> None:
        """What uv has fetched, and what was built: as on another laptop."""
        fresh = self.folder / f"caches-{len(list(self.folder.iterdir()))}"
        fresh.mkdir()
        self._monkeypatch.setenv("UV_CACHE_DIR", str(fresh / "uv"))
        self.workshop = Workshop(cache=fresh / "dora", lock=self.lock)

    def tree(
        self,
        *requirements: str,
        on: Facts | None = None,
        environment: PythonEnvironment | None = None,
    ) -> dict[str, str]:
        """Paths of the tree, and texts of the modules in it."""
        wanted = environment or PythonEnvironment(requirements, base=self.folder)
        wanted = replace(wanted, base=self.folder)
        tree = python_tree(wanted, on or facts(), self.workshop, ["camera"], self.said.append)
        folder = Path(self.workshop.kept.tree_path(tree.name))
        return {entry.path: (folder / entry.path).read_text() for entry in tree.entries}


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    return Build(tmp_path, monkeypatch)


PLATFORMS = {
    "manylinux_2_28_aarch64": facts("a", "aarch64", libc_version=(2, 31)),
    "manylinux_2_28_x86_64": facts("b", "x86_64", libc_version=(2, 36)),
    "musllinux_1_2_aarch64": facts("c", "aarch64", "musl", (1, 2)),
    "musllinux_1_2_x86_64": facts("d", "x86_64", "musl", (1, 2)),
}


def test_every_platform_gets_the_wheel_with_its_tags(build: Build) -> None:
    """Processor, C library and Python choose; the laptop's own do not matter."""
    for tag in PLATFORMS:
        build.index.wheel("fast", tag=f"cp311-cp311-{tag}")
        build.index.wheel("fast", tag=f"cp312-cp312-{tag}")
    for tag, machine in PLATFORMS.items():
        for minor in (11, 12):
            on = replace(machine, python_version=(3, minor, 1))
            text = build.tree("fast", on=on)["fast/__init__.py"]
            assert f"version, tag = '1.0', 'cp3{minor}-cp3{minor}-{tag}'\n" == text


@pytest.mark.parametrize(
    ("machine", "tags", "words"),
    [
        ("manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_34_aarch64", "manylinux_2_34_aarch64"),
        ("manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_28_x86_64", "manylinux_2_28_x86_64"),
        ("musllinux_1_2_aarch64", "cp311-cp311-manylinux_2_28_aarch64", "manylinux_2_28_aarch64"),
        ("manylinux_2_28_x86_64", "cp39-cp39-manylinux_2_28_x86_64", "cp39"),
    ],
)
def test_a_wheel_for_others_is_missing(build: Build, machine: str, tags: str, words: str) -> None:
    """Who needs it, on which machine, which tags it would take and which there are."""
    build.index.wheel("fast", tag=tags)
    on = PLATFORMS[machine]
    with pytest.raises(BuildError) as failure:
        build.tree("fast", on=on)
    told = str(failure.value)
    assert f"Python packages of camera for {on.machine} ({on.arch}" in told
    assert "fast" in told
    assert words in told
    assert not build.lock.exists()


def test_source_packages_are_built_only_when_told(build: Build) -> None:
    """Those that are named, on the laptop, if they are pure Python; all others stay wheels."""
    build.index.source("raw")
    build.index.wheel("tiny")
    with pytest.raises(BuildError, match=r"raw==1\.0 has no usable wheels") as failure:
        build.tree("raw", "tiny")
    assert "`build_from_source: [name]` of the node" in str(failure.value.hint)

    told = PythonEnvironment(("raw", "tiny"), build_from_source=("Raw",))
    aarch64 = PLATFORMS["manylinux_2_28_aarch64"]
    assert "built = True\n" == build.tree(environment=told, on=aarch64)["raw/__init__.py"]
    assert '"build_from_source"' in build.lock.read_text()

    build.index.source("native", tag="cp311-cp311-linux_x86_64")
    told = PythonEnvironment(("native",), build_from_source=("native",))
    with pytest.raises(BuildError, match="native was built from source here, and runs here alone"):
        build.tree(environment=told)
    told = PythonEnvironment(("tiny",), build_from_source=("other",))
    with pytest.raises(BuildError, match="names other, which nothing here needs"):
        build.tree(environment=told)


def test_machines_have_indexes_of_their_own(build: Build) -> None:
    """The same name, another package: as for boards whose wheels are elsewhere."""
    build.index.wheel("torch", "1.0")
    jetson = Index(build.folder / "jetson")
    jetson.wheel("torch", "0.9")
    ours = PythonEnvironment(("torch",), index_urls=(jetson.url,))
    assert "'1.0'" in build.tree("torch")["torch/__init__.py"]
    assert "'0.9'" in build.tree(environment=ours)["torch/__init__.py"]


@pytest.mark.parametrize("source", ["index", "requirement", "file", "constraint"])
def test_passwords_of_addresses_are_used_and_not_kept(build: Build, source: str) -> None:
    """Neither in the lock, nor in what is said, nor in the tree. Another laptop with the same
    files needs no resolving."""
    build.index.wheel("tiny")
    with build.index.served(LOGIN) as served:
        build.knows(Index(build.folder / "empty").url)
        url = served.url_with(QUOTED)
        wheel = f"tiny @ {url}/tiny/tiny-1.0-py3-none-any.whl"
        (build.folder / "tiny.txt").write_text(f"-i {url}\ntiny\n")
        (build.folder / "pinned.txt").write_text("tiny\n-c limits.txt\n")
        (build.folder / "limits.txt").write_text(f"{wheel}\n")
        environments = {
            "index": PythonEnvironment(("tiny",), index_urls=(url,)),
            "requirement": PythonEnvironment((wheel,)),
            "file": PythonEnvironment(("tiny.txt",)),
            "constraint": PythonEnvironment(("pinned.txt",)),
        }
        first = build.tree(environment=environments[source])
        build.forget()
        assert first == build.tree(environment=environments[source])
    assert ["versions", "packages", "packages"] == [it.split()[0] for it in build.said]
    assert served.host in build.lock.read_text()
    for text in (build.lock.read_text(), str(build.said), str(first), repr(environments)):
        assert "hu%" not in text


@pytest.mark.parametrize("requirement", ["gone @ {}/gone/gone-1.0-py3-none-any.whl", "-i {}"])
def test_errors_show_no_password(build: Build, requirement: str) -> None:
    """Neither uv's words nor ours."""
    build.index.wheel("tiny")
    with build.index.served("me:another") as served:
        build.knows(Index(build.folder / "empty").url)
        lines = f"tiny\n{requirement.format(served.url_with(QUOTED))}\n"
        (build.folder / "all.txt").write_text(lines)
        with pytest.raises(BuildError) as failure:
            build.tree("all.txt")
    assert "hu%" not in str(failure.value)


def test_passwords_are_found_where_uv_finds_them(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ~/.netrc (or $NETRC), and in variables that an address names."""
    build.index.wheel("tiny")
    netrc = build.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hu%sh\n")
    netrc.chmod(0o600)
    with build.index.served(LOGIN) as served:
        build.knows(served.url)
        assert "tiny/__init__.py" in build.tree("tiny")
        netrc.unlink()
        build.forget()
        build.lock.unlink()
        build.knows(Index(build.folder / "empty").url)
        monkeypatch.setenv("INDEX_LOGIN", QUOTED)
        wheel = f"tiny @ http://${{INDEX_LOGIN}}@{served.host}/tiny/tiny-1.0-py3-none-any.whl"
        assert "tiny/__init__.py" in build.tree(wheel)
        assert "/tiny/tiny-1.0-py3-none-any.whl" in served.asked
    assert "INDEX_LOGIN" not in build.lock.read_text()


def test_a_python_that_will_not_do_is_told(build: Build) -> None:
    """Before anything is resolved: who asks for which, and which there is."""
    asking = PythonEnvironment(("tiny",), pythons=(("node.py:1", ">=3.12"),))
    with pytest.raises(BuildError, match=r"node\.py:1: camera needs .*>=3\.12, and m has 3\.11\.2"):
        build.tree(environment=asking)
    wrong = PythonEnvironment(("tiny",), pythons=(("node.py:1", "three"),))
    with pytest.raises(BuildError, match="`requires-python` is 'three'"):
        build.tree(environment=wrong)
