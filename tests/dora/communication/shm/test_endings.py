"""What later readers learn of a producer that has gone, from its note in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dora.communication.shm.endings import Ending, Endings
from dora.protocol.comeback import ALWAYS, NEVER
from dora.protocol.process import identity


class Machine:
    """The producer is this process; whether it lives is ours to say."""

    def __init__(self, folder: Path) -> None:
        self.document = folder / "dataflow.json"
        self.document.write_text("1")
        self.alive = True
        self.producer = self.endings(folder)
        self.reader = self.endings(folder)

    def endings(self, folder: Path) -> Endings:
        return Endings(str(folder), self.document, lambda process: self.alive)

    def new_generation(self) -> None:
        other = self.document.with_name("new")
        other.write_text("2")
        other.rename(self.document)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_only_routes_that_were_finished_have_ended(machine: Machine) -> None:
    """As long as the producer lives; and before it has ever run nothing is known."""
    assert machine.reader.find("n", "f/n/a") is None
    machine.producer.begin("n", NEVER)
    machine.producer.add("n", "f/n/a")
    assert Ending(identity(), killed=False) == machine.reader.find("n", "f/n/a")
    assert machine.reader.find("n", "f/n/b") is None


@pytest.mark.parametrize("returns", [NEVER, ALWAYS])
def test_all_routes_of_a_killed_producer_end_unless_it_comes_back(
    machine: Machine, returns: int
) -> None:
    """But for those that had ended before, nobody said so."""
    machine.producer.begin("n", returns)
    machine.producer.add("n", "f/n/a")
    machine.alive = False
    assert Ending(identity(), killed=False) == machine.reader.find("n", "f/n/a")
    expected = Ending(identity(), killed=True) if returns == NEVER else None
    assert expected == machine.reader.find("n", "f/n/b")


def test_a_producer_that_was_asked_to_leave_leaves_no_note(machine: Machine) -> None:
    """Whoever asked knows what comes next."""
    machine.producer.begin("n", NEVER)
    machine.producer.forget()
    machine.alive = False
    assert machine.reader.find("n", "f/n/a") is None


def test_the_past_of_another_generation_does_not_count(machine: Machine) -> None:
    """Its readers must not be told of producers that are only about to start."""
    machine.producer.begin("n", NEVER)
    machine.producer.add("n", "f/n/a")
    machine.alive = False
    machine.new_generation()
    assert machine.reader.find("n", "f/n/a") is None


def test_a_damaged_note_tells_nothing(machine: Machine, tmp_path: Path) -> None:
    """It may have been cut off by a full disk."""
    machine.producer.begin("n", NEVER)
    machine.alive = False
    (tmp_path / "n.ended").write_text('{"generation": ')
    assert machine.reader.find("n", "f/n/a") is None
