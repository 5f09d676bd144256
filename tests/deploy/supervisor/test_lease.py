"""Leases: what runs only while this machine is heard of; histories, and a machine that sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from deploy.supervisor.confirmation import Moment
from deploy.supervisor.control import Refusal
from deploy.supervisor.engine import Engine
from deploy.supervisor.layout import Layout
from deploy.supervisor.leasing import SILENT, Leasing
from deploy.supervisor.restart import Exit
from deploy.supervisor.slot import Slot
from deploy.unit import StopPolicy
from tests.deploy.supervisor.history import ALWAYS, CRASH, History, unit

LEASE = 10.0


def leased(name: str, **fields: object) -> History:
    """A unit with a lease and one without, of which nobody was heard yet."""
    return History(unit(name, lease=LEASE, **fields), unit("free", restart=ALWAYS))


def renew(history: History, age: float = 0.0) -> None:
    """Somebody answers what was said `age` seconds ago."""
    history.perform(history.units.renew("flow", history.now - age, history.now))


def test_a_unit_with_a_lease_waits_until_it_is_renewed() -> None:
    """At boot, however long that takes; one without a lease does not wait for anybody."""
    history = leased("a")
    assert ["spawn free"] == history.take()
    history.wait(1000)
    assert [] == history.take()
    assert "waiting" == history.slot("a").state.value
    renew(history)
    assert ["spawn a"] == history.take()


def test_it_ends_with_its_lease_and_comes_back_with_the_next() -> None:
    """It ends once, and does not begin anew by its restart policy or by a restart by hand."""
    history = leased("a", restart=ALWAYS)
    renew(history)
    history.take()
    history.wait(LEASE - 0.1)
    assert [] == history.take()
    history.wait(0.2)
    assert ["ask a"] == history.take()
    history.exited("a", CRASH)
    history.perform(history.units.restart(history.slot("a").key, history.now))
    history.wait(100)
    assert [] == history.take()
    assert ("waiting", True) == (history.slot("a").state.value, history.slot("a").withheld)
    renew(history)
    assert ["spawn a"] == history.take()


def test_an_answer_that_was_held_up_is_worth_no_more_than_what_it_answers() -> None:
    """One that comes after a cut link is back starts nothing; a late one does not shorten."""
    history = leased("a")
    renew(history, age=LEASE)
    assert ["spawn free"] == history.take()
    renew(history, age=LEASE - 4)
    assert ["spawn a"] == history.take()
    renew(history, age=LEASE - 2)
    history.wait(3.9)
    assert [] == history.take()
    history.wait(0.2)
    assert ["ask a"] == history.take()


def test_who_does_not_leave_is_killed_soon() -> None:
    """Within three seconds, whatever time its stop policy gives; the others keep theirs."""
    history = leased("a", stop=StopPolicy(term_after=60, kill_after=60))
    renew(history)
    history.take()
    history.wait(LEASE)
    history.wait(3)
    assert ["ask a", "SIGTERM a", "SIGKILL a"] == history.take()


def test_one_that_was_leaving_slowly_has_less_time_when_the_lease_is_over() -> None:
    """A restart was asked for a moment before."""
    history = leased("a", stop=StopPolicy(term_after=60, kill_after=60))
    renew(history)
    history.wait(LEASE - 1)
    history.perform(history.units.restart(history.slot("a").key, history.now))
    history.take()
    history.wait(4)
    assert ["SIGTERM a", "SIGKILL a"] == history.take()


def test_a_renewal_while_it_leaves_lets_it_leave_and_come_again() -> None:
    """It was told to; there are never two of it."""
    history = leased("a")
    renew(history)
    history.wait(LEASE)
    history.take()
    renew(history)
    assert [] == history.take()
    history.exited("a")
    assert ["spawn a"] == history.take()


def test_one_that_waits_to_come_back_waits_for_the_lease() -> None:
    """Its delay is over before the lease is renewed."""
    history = leased("a", restart=replace(ALWAYS, delay=5.0))
    renew(history)
    history.wait(LEASE - 1)
    history.exited("a", CRASH)
    assert "backoff" == history.slot("a").state.value
    history.take()
    history.wait(50)
    assert [] == history.take()
    renew(history)
    assert ["spawn a"] == history.take()


def test_what_a_later_generation_frees_from_its_lease_runs() -> None:
    """`wait` again instead of `move`; the process of one that runs is kept either way."""
    history = leased("a")
    history.take()
    history.activate(unit("a"), unit("free", restart=ALWAYS))
    assert ["spawn a"] == history.take()
    renew(history)
    history.activate(unit("a", lease=LEASE), unit("free", restart=ALWAYS))
    assert [] == history.take()
    history.wait(LEASE)
    assert ["ask a"] == history.take()


def test_it_does_not_keep_others_from_starting() -> None:
    """A unit of a higher order waits for those before it, not for a lease."""
    history = History(unit("a", lease=LEASE), unit("b", order=1))
    assert ["spawn b"] == history.take()


def test_a_machine_that_slept_has_no_longer_leases() -> None:
    """The clock by which units are run stands still meanwhile."""
    history = leased("a")
    renew(history)
    history.take()
    history.units.leases.slept(LEASE)
    history.perform(history.units.tick(history.now))
    assert ["ask a"] == history.take()


def test_it_is_finished_like_others_when_the_lease_is_over() -> None:
    """What has ended as it should stays so, with and without a lease."""
    history = leased("a")
    renew(history)
    history.exited("a", Exit(code=0))
    history.wait(LEASE * 2)
    renew(history)
    assert "ended" == history.slot("a").state.value


def test_a_slot_is_withheld_anew_by_the_next_supervisor() -> None:
    """The journal does not say so: leases do."""
    history = leased("a")
    assert history.slot("a").withheld
    assert not Slot.from_json(history.slot("a").to_json()).withheld


class Heard:
    """An engine as far as leases go; what it was told."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.told: list[tuple[str, str, float]] = []
        self.moments: dict[str, float] = {}
        self.sleep = 0.0
        self.awake = asyncio.Event()

    def renew(self, deployment: str, age: float) -> None:
        self.told.append(("renew", deployment, round(age, 3)))
        self.moments[deployment] = self.machine.uptime - age

    def foresee(self, deployment: str, age: float) -> None:
        self.told.append(("foresee", deployment, round(age, 3)))
        self.moments[deployment] = self.machine.uptime - age

    def heard(self) -> dict[str, float]:
        return {name: self.machine.uptime - it for name, it in self.moments.items()}

    def slept(self, seconds: float) -> None:
        self.sleep += seconds
        self.awake.set()


class Machine:
    """A machine with clocks of its own; each `leasing` is that of another supervisor."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(str(root))
        self.layout.prepare()
        self.boot, self.uptime, self.asleep = "one", 1000.0, 0.0
        self.engine = Heard(self)

    def leasing(self) -> Leasing:
        self.engine = Heard(self)
        return Leasing(
            cast(Engine, self.engine),
            self.layout,
            now=lambda: Moment(self.boot, self.uptime, 5.0),
            steady=lambda: self.uptime - self.asleep,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


def code(act: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        act()
    return refused.value.code


def test_a_mark_tells_how_long_ago_it_was_given(machine: Machine) -> None:
    """One of an earlier boot counts for nothing; one that was never given is refused."""
    leasing = machine.leasing()
    mark = leasing.mark()
    machine.uptime += 3
    leasing.renew("flow", mark)
    assert [("renew", "flow", 3.0)] == machine.engine.told
    assert "bad_request" == code(lambda: leasing.renew("flow", "one/2000.0"))
    assert "bad_request" == code(lambda: leasing.renew("flow", "one/nan"))
    assert "bad_request" == code(lambda: leasing.renew("flow", "soon"))
    machine.boot = "two"
    leasing.renew("flow", mark)
    assert 1 == len(machine.engine.told)


async def test_the_next_supervisor_knows_until_when(machine: Machine) -> None:
    """Of the same boot: what runs need not end; after a reboot nobody was heard yet."""
    leasing = machine.leasing()
    leasing.renew("flow", leasing.mark())
    machine.uptime += 4
    leasing.close()
    machine.uptime += 2
    after = machine.leasing()
    after.recall()
    assert [("foresee", "flow", 6.0)] == machine.engine.told
    after.close()
    machine.boot = "two"
    rebooted = machine.leasing()
    rebooted.recall()
    assert [] == machine.engine.told
    rebooted.close()


async def test_a_damaged_note_is_told_and_nothing_starts_for_it(machine: Machine) -> None:
    """Leases wait to be renewed."""
    for damaged in (b"", b"[]", b'{"boot_id": "one", "heard": {"flow": "x"}}'):
        machine.layout.leases.write_bytes(damaged)
        leasing = machine.leasing()
        leasing.recall()
        assert [] == machine.engine.told
        leasing.close()


async def test_sleep_is_found_out(machine: Machine) -> None:
    """By the two clocks, of which one stands still."""
    leasing = machine.leasing()
    leasing.recall()
    machine.uptime += 20
    machine.asleep += 20
    await asyncio.wait_for(machine.engine.awake.wait(), 30)
    assert 20 == machine.engine.sleep
    leasing.close()


def test_one_connection_keeps_the_leases(machine: Machine) -> None:
    """Until it ends or falls silent; another deployment is another matter."""
    leasing = machine.leasing()
    one, other = object(), object()
    leasing.hold("flow", one, "ann@laptop")
    leasing.hold("else", other, "bob@desk")
    assert "leased" == code(lambda: leasing.hold("flow", other, "bob@desk"))
    machine.uptime += SILENT
    leasing.hold("flow", one, "ann@laptop")
    machine.uptime += SILENT
    assert "leased" == code(lambda: leasing.hold("flow", other, "bob@desk"))
    machine.uptime += 1
    leasing.hold("flow", other, "bob@desk")
    leasing.release_all(other)
    assert (None, None) == (leasing.holder("flow"), leasing.holder("else"))
