"""Where things lie, and who may enter."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.supervisor.layout import Layout, UnsafeFolder, check_private, private
from deploy.supervisor.lockfile import try_lock, unlock
from deploy.supervisor.probe import supervisor_facts


def test_run_is_short_however_long_the_root_is() -> None:
    """Every socket's path fits into sun_path's 108 bytes, with the longest names."""
    longest = "n" * 63
    for root in ("/r", "/" + "r" * 48, "/" + "r" * 49, "/" + "r" * 3000, "/" + "ü" * 40):
        layout = Layout(root, uid=4_000_000_000)
        assert len(os.fsencode(layout.notify(longest, longest))) < 108
        assert len(os.fsencode(layout.socket)) < 108


def test_a_long_root_has_its_own_run_of_its_user() -> None:
    """Two roots, or two users, never share one."""
    a, b = ("/" + "r" * 60 + name for name in "ab")
    runs = {Layout(a, uid=1).run, Layout(b, uid=1).run, Layout(a, uid=2).run}
    assert 3 == len(runs)
    assert Layout(a, uid=1).run.name.startswith("dora-1-")


def test_a_home_is_expanded() -> None:
    """On the machine, not on the laptop."""
    assert Path.home() / ".local/share/dora" == Layout("~/.local/share/dora").root


def test_missing_folders_are_made_private_and_others_are_left_alone(tmp_path: Path) -> None:
    """Also those in between."""
    (tmp_path / "there").mkdir(mode=0o755)
    private(tmp_path / "there" / "new" / "newer")
    modes = [
        (tmp_path / name).stat().st_mode & 0o777
        for name in ("there", "there/new", "there/new/newer")
    ]
    assert [0o755, 0o700, 0o700] == modes


def test_a_run_that_is_not_ours_alone_is_refused(tmp_path: Path) -> None:
    """A link, an open folder, a file, or somebody else's: /tmp is everybody's."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "file").touch()
    check_private(tmp_path / "real")
    for name in ("link", "open", "file"):
        with pytest.raises(UnsafeFolder, match=name):
            check_private(tmp_path / name)
    with pytest.raises(UnsafeFolder, match="belongs to user"):
        check_private(tmp_path / "real", uid=os.getuid() + 1)


def test_whoever_listens_in_an_open_run_is_not_taken_for_the_supervisor(tmp_path: Path) -> None:
    """In /tmp, anybody may be there first; he would be handed the keys of the data plane."""
    layout = Layout(str(tmp_path / ("r" * 60)))
    layout.run.mkdir()
    layout.run.chmod(0o777)
    try:
        with pytest.raises(UnsafeFolder, match="may be entered by others"):
            supervisor_facts(layout)
    finally:
        layout.run.rmdir()


def test_the_lock_has_one_holder_and_leaves_no_file(tmp_path: Path) -> None:
    """A removed lock file is not somebody else's lock."""
    layout = Layout(str(tmp_path))
    first = try_lock(layout)
    assert first is not None
    assert try_lock(layout) is None
    unlock(layout, first)
    assert not layout.lock.exists()
    second = try_lock(layout)
    assert second is not None
    unlock(layout, second)
