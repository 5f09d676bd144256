"""Log files: their last lines, following them, and keeping them small."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deploy.supervisor import logs
from deploy.supervisor.key import Key
from deploy.supervisor.layout import Layout
from deploy.supervisor.logkeeper import (
    ROOM,
    LogKeeper,
    previous,
    rotate,
    rotated,
    shrink,
    times,
)
from deploy.supervisor.logs import LONGEST_LINE, Follower, ending
from deploy.unit import Unit


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def tail(log: Path, count: int, end: int | None = None) -> list[str]:
    return [line.text for line in logs.tail(log, count, end)]


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_tail_is_the_last_lines(log: Path, count: int) -> None:
    """However many blocks they lie in; a line without its newline counts."""
    append(log, "x" * 100_000 + "\n" + "".join(f"{n}\n" for n in range(50_000)) + "half")
    expected = [*(str(n) for n in range(49_990, 50_000)), "half"]
    assert (expected[-count:] if count else []) == tail(log, count)


def test_the_tail_goes_on_in_the_rotated_file(log: Path) -> None:
    """And ends where a follower begins."""
    append(previous(log), "1\n2\n")
    append(log, "3\n4\n")
    assert ["2", "3", "4"] == tail(log, 3)
    assert ["1", "2", "3"] == tail(log, 9, end=2)
    assert [] == tail(log.with_name("missing"), 3)


def test_a_follower_begins_at_the_end_and_waits_for_whole_lines(log: Path) -> None:
    """What comes in parts is told once, whole."""
    append(log, "old\n")
    follower = Follower(log)
    append(log, "ne")
    assert [] == follower.read()
    append(log, "w\nhalf")
    assert (["new"], ["half"]) == (follower.read(), follower.rest())
    follower.close()


def test_a_line_that_is_being_written_is_told_whole_and_once(log: Path) -> None:
    """By the follower: `print(a, b)` writes in pieces, and anybody may look in between."""
    append(log, "old\nha")
    follower = Follower(log, whole=True)
    assert ["old"] == tail(log, 9, end=follower.begin)
    append(log, "lf\nnew\n")
    assert ["half", "new"] == follower.read()
    follower.close()
    for text, begin in (("first", 0), ("x" * LONGEST_LINE, LONGEST_LINE + 5), ("\n", -1)):
        append(log.with_name("b.log"), text)
        follower = Follower(log.with_name("b.log"), whole=True)
        assert (begin if begin >= 0 else LONGEST_LINE + 6) == follower.begin
        follower.close()


def test_the_last_words_of_a_rotated_file_are_a_line_of_their_own(log: Path) -> None:
    """Its process was killed in the midst of them; the next one's begin in the new file."""
    append(log, "1\n")
    follower = Follower(log)
    append(log, "hal")
    assert [] == follower.read()
    log.rename(previous(log))
    append(log, "first\n")
    assert ["hal", "first"] == follower.read() + follower.read()
    follower.close()


def test_a_follower_waits_for_a_file_that_is_not_there_yet(log: Path) -> None:
    """A unit that has not started has no log."""
    follower = Follower(log)
    assert [] == follower.read()
    append(log, "first\n")
    assert ["first"] == follower.read()
    follower.close()


def test_a_follower_reads_a_renamed_file_to_its_end(log: Path) -> None:
    """Nothing is lost in a rotation."""
    append(log, "1\n")
    follower = Follower(log, from_start=True)
    assert ["1"] == follower.read()
    append(log, "2\n")
    log.rename(previous(log))
    append(log, "3\n")
    assert ["2", "3"] == follower.read() + follower.read()
    follower.close()


def test_a_follower_starts_over_in_an_emptied_file(log: Path) -> None:
    """As `shrink` leaves it."""
    append(log, "1\n" * 100)
    follower = Follower(log)
    assert shrink(log, limit=10)
    append(log, "2\n")
    assert ["2"] == follower.read()
    assert "1\n" * 100 == previous(log).read_text()
    follower.close()


def test_a_line_without_end_is_cut(log: Path) -> None:
    """It does not gather in memory."""
    follower = Follower(log)
    append(log, "x" * (3 * LONGEST_LINE + 5) + "\n")
    lines = follower.read()
    assert max(len(line) for line in lines) <= 2 * LONGEST_LINE
    assert 3 * LONGEST_LINE + 5 == sum(len(line) for line in lines)
    assert [LONGEST_LINE, 5] == [len(line) for line in tail(log, 2)]
    follower.close()


def test_only_what_is_over_the_limit_is_rotated(log: Path) -> None:
    """One rotated file is kept."""
    append(log, "1\n")
    rotate(log, limit=10)
    assert not previous(log).exists()
    for text in ("2" * 20, "3" * 20):
        append(log, text)
        rotate(log, limit=10)
    assert "3" * 20 == previous(log).read_text()
    assert not log.exists()
    assert not shrink(log, limit=10)


def test_the_ending_of_a_log_is_bounded(tmp_path: Path) -> None:
    """By lines and by bytes; of a line that is too long its end is shown."""
    log = tmp_path / "a.log"
    assert [] == ending(log)
    log.write_bytes(b"")
    assert [] == ending(log)
    log.write_text("".join(f"{number}\n" for number in range(50)) + "no newline")
    assert [*(str(number) for number in range(31, 50)), "no newline"] == ending(log)
    log.write_text("x" * 100 + "\nlast\n")
    assert ["last"] == ending(log, size=50)
    log.write_text("x" * 100)
    assert ["x" * 50] == ending(log, size=50)
    log.write_bytes("ü".encode() * 100 + b"\n\xff\n")
    assert ["\ufffd"] == ending(log, size=50)


def test_as_many_rotated_files_are_kept_as_are_asked_for(log: Path) -> None:
    """With their indexes; the oldest go. None at all empties the log."""
    for number in range(5):
        log.write_text(f"{number}" * 20)
        times(log).write_text(f"{number}")
        assert shrink(log, limit=10, keep=3)
    kept = rotated(log)
    assert ["4" * 20, "3" * 20, "2" * 20] == [path.read_text() for path in kept]
    assert ["4", "3", "2"] == [times(path).read_text() for path in kept]
    assert not times(log).exists()
    log.write_text("5" * 20)
    rotate(log, limit=10, keep=1)
    assert ["5" * 20] == [path.read_text() for path in rotated(log)]
    log.write_text("6" * 20)
    assert shrink(log, limit=10, keep=0)
    assert ("", []) == (log.read_text(), rotated(log))


def test_a_second_in_which_a_log_grew_is_noted(tmp_path: Path) -> None:
    """And none in which it did not."""
    layout = Layout(str(tmp_path))
    key, unit = Key("flow", "a"), Unit("a", ("x",), "/")
    asked: list[tuple[int, int]] = []
    keeper = LogKeeper(layout, reserve=lambda _, begin, count: asked.append((begin, count)))
    output = keeper.open(key, unit)
    for wall, text in [(10.0, b"one\n"), (11.0, b""), (12.0, b"two\n" * ROOM), (13.0, b"")]:
        os.write(output, text)
        keeper.tend(key, unit, wall)
    os.close(output)
    size = 4 + 4 * ROOM
    assert f"10.00 4\n12.00 {size}\n" == times(layout.log(*key)).read_text()
    assert [(0, ROOM), (4, ROOM), (size, ROOM)] == asked


def test_on_a_full_disk_the_oldest_lines_make_way(tmp_path: Path) -> None:
    """Rotated files before the log itself; where even that is too little, nothing is kept."""
    layout = Layout(str(tmp_path))
    key, unit = Key("flow", "a"), Unit("a", ("x",), "/")
    log = layout.log(*key)
    log.parent.mkdir(parents=True)

    def full(_: int, begin: int, count: int) -> None:
        if begin or rotated(log):
            raise OSError(errno.ENOSPC, "full")

    for path, text in [(log, "new"), (previous(log), "old")]:
        path.write_text(text)
    os.close(LogKeeper(layout, reserve=full).open(key, unit))
    assert ("", []) == (log.read_text(), rotated(log))

    def fuller(_: int, begin: int, count: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    output = LogKeeper(layout, reserve=fuller).open(key, unit)
    assert os.fstat(output).st_rdev == os.stat(os.devnull).st_rdev
    os.close(output)
    assert "lost" in log.read_text()


def test_lines_have_the_time_of_the_second_in_which_the_log_grew(log: Path) -> None:
    """Those that say it themselves have their own; what came after the last look is the file's."""
    own = '{"timestamp": "1970-01-01T00:01:40+00:00", "level": "warn", "message": "x"}'
    log.write_text(f"a\nb\n{own}\nlast\n")
    times(log).write_text(f"10.00 2\nnonsense\n20.5 {5 + len(own)}\n30")
    os.utime(log, (50, 50))
    previous(log).write_text("old\n")
    times(previous(log)).write_text("5.00 4\n")
    lines = logs.tail(log, None)
    assert [(5, "old"), (10, "a"), (20.5, "b"), (100, own), (50, "last")] == [
        (line.time, line.text) for line in lines
    ]
    assert ["stdout"] * 3 + ["warn", "stdout"] == [line.level for line in lines]
    assert [own] == [line.text for line in logs.tail(log, 5, level="info")]
    assert ["b", own, "last"] == [line.text for line in logs.tail(log, None, since=15)]
    assert ["last"] == [line.text for line in logs.tail(log, 1, since=15)]


def test_a_line_is_not_later_than_the_next_one_of_its_log(log: Path) -> None:
    """Logs are merged by time; a print that was noted after a logged line came before it."""
    own = '{"timestamp": "1970-01-01T00:00:20Z", "level": "info", "message": "x"}'
    log.write_text(f"print\n{own}\nprint\n")
    times(log).write_text(f"20.9 {len(own) + 13}\n")
    assert [20, 20, 20.9] == [line.time for line in logs.tail(log, 9)]
