"""The rows of the fault table: each does one thing to the bench and checks what was promised.

A row takes the bench when all is well, and leaves it so. It raises AssertionError where a promise
does not hold; what it saw until then is in its finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tests.faults.bench import CLOCKED, FULL, VICTIM, Bench, states
from tests.faults.fault import Fault
from tests.faults.findings import Finding
from tests.faults.follower import Follower
from tests.faults.tapes import Edge
from tests.scenarios.fleet import wait_until

Row = Callable[[Bench, Finding, float], None]

ROWS: dict[str, Row] = {}


def row(function: Row) -> Row:
    ROWS[function.__name__.replace("_", "-")] = function
    return function


# Seconds that faults last in the short form; other rows take the time that they need.
SHORT = {
    "coordinator-killed": 2,
    "link-cut": 8,
    "link-flaps": 5,
    "packets-lost": 6,
    "gone-for-good": 5,
    "clock-jumps": 4,
    "log-disk-full": 4,
}


@contextmanager
def finally_(undo: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    finally:
        undo()


def lossless(bench: Bench, robot: int) -> list[Edge]:
    """What a robot's link may not cost, whatever befalls it: all but its `drop` edges."""
    return [it for it in bench.edges if not it.touches(robot) or it.kind == "reliable"]


def sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))


def unknown(status: Mapping[str, object], robot: str) -> None:
    """`status` knows that it does not know, since when, and what to do."""
    machines = status["machines"]
    assert isinstance(machines, Mapping)
    found = machines[robot]
    assert "unknown" == found["link"]
    assert found["since"]
    assert found["error"]
    assert found["hint"]


@row
def coordinator_killed(bench: Bench, finding: Finding, seconds: float) -> None:
    command = ("coordinator", bench.flow, "--window", "0.2")
    with Follower(bench.fleet, *command) as coordinator:
        coordinator.first(lambda row: "outcome" in row)
        fault = Fault(bench, finding)
        coordinator.kill()
    sleep_until(fault.at + min(seconds, 10))
    assert {"running"} == set().union(*states(bench.status()).values())
    finding.status = "running, all"
    again = time.monotonic()
    with Follower(bench.fleet, *command) as coordinator:
        found = coordinator.first(lambda row: "outcome" in row)
        assert "unchanged" == coordinator.rows[0][1]["outcome"]
        finding.normal = found - again
    fault.judge(bench.edges)
    fault.keeps()
    fault.silences([])
    fault.links_stay()


@row
def link_cut(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    with finally_(lambda: bench.lan.heal(VICTIM)):
        bench.lan.cut(VICTIM)
        status = bench.status(code=4)
        fault.detected("watch", bench.linked(VICTIM, "unknown", fault.at))
        sleep_until(fault.at + seconds)
    healed = time.monotonic()
    fault.normal(healed)
    unknown(status, bench.name(VICTIM))
    found = states(status)
    assert {"unknown"} == found.pop(bench.name(VICTIM))
    assert {"running"} == set().union(*found.values())
    back = bench.linked(VICTIM, "up", healed) - healed
    finding.status = (
        f"{bench.name(VICTIM)} unknown since, the others running; up {back:.1f} s after"
    )
    fault.judge(lossless(bench, VICTIM))
    fault.keeps()
    fault.silences(bench.touching(VICTIM, "drop"))


@row
def link_flaps(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    end = fault.at + seconds
    with finally_(lambda: bench.lan.heal(VICTIM)):
        while time.monotonic() < end:
            bench.lan.cut(VICTIM)
            time.sleep(0.7)
            bench.lan.heal(VICTIM)
            time.sleep(0.7)
    fault.normal(time.monotonic())
    bench.status()
    _link_is_up(bench)
    lost = bench.watch.said(lambda row: row.get("link") == "unknown", fault.calm)
    finding.status = f"running, all; the watch lost the link {len(lost)} times"
    fault.judge(lossless(bench, VICTIM))
    fault.keeps()
    fault.perhaps_silences(bench.touching(VICTIM, "drop"))


@row
def packets_lost(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    with finally_(lambda: bench.lan.lose(VICTIM, 0)):
        bench.lan.lose(VICTIM, 30)
        asked = time.monotonic()
        code, status = bench.ask()
        took = time.monotonic() - asked
        sleep_until(fault.at + seconds)
        through = bench.tapes.pause(bench.touching(VICTIM, "drop"), fault.at, time.monotonic())
    fault.normal(time.monotonic())
    # A session of SSH may die of it; then the truth is that nobody knows.
    if code == 0:
        assert {"running"} == set().union(*states(status).values())
    else:
        assert 4 == code
        unknown(status, bench.name(VICTIM))
    _link_is_up(bench)
    lost = bench.watch.said(lambda row: row.get("link") == "unknown", fault.calm)
    said = "running, all" if code == 0 else f"{bench.name(VICTIM)} unknown since"
    finding.status = f"{said}, told within {took:.1f} s; the watch lost the link {len(lost)} times"
    fault.judge(lossless(bench, VICTIM))
    fault.keeps()
    finding.meanwhile += f"; messages crossed, the longest pause {through:.1f} s"
    fault.perhaps_silences(bench.touching(VICTIM, "drop"))


@row
def supervisor_killed(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    pid = bench.supervisor(VICTIM)
    assert pid is not None
    bench.kill(VICTIM, pid)
    fault.detected("watch", bench.linked(VICTIM, "unknown", fault.at))
    back = bench.linked(VICTIM, "up", fault.at)
    finding.normal = back - fault.at
    assert bench.supervisor(VICTIM) not in (None, pid)
    found = bench.status()
    assert {"running"} == set().union(*states(found).values())
    finding.status = "running, all; whoever watches or asks starts another one"
    fault.judge(bench.edges)
    fault.keeps()
    fault.silences([])
    # What it has taken over it also restarts.
    died = bench.kill(VICTIM, bench.pids()[f"hear-{VICTIM}@{VICTIM}"])
    bench.event("START", None, f"hear-{VICTIM}", died)


@row
def sender_killed(bench: Bench, finding: Finding, seconds: float) -> None:
    """What reads it on its own machine gets all that it has sent."""
    fault = Fault(bench, finding)
    node, unit = f"talk-{VICTIM}", f"talk-{VICTIM}@{VICTIM}"
    fault.at = bench.kill(VICTIM, fault.pids[unit])
    fault.detected("watch", bench.change(node, VICTIM, fault.pids[unit], fault.at))
    heard = [bench.event("NODE_RESTARTED", node, f"hear-{i}", fault.at) for i in bench.lan.robots]
    fault.detected("nodes", max(heard))
    of_it = [it for it in bench.edges if it.talker == VICTIM]
    bench.flowing(of_it, _new_run(bench, VICTIM, fault.at))
    fault.normal(fault.at, of_it)
    bench.unit(node, VICTIM, "running", fault.at)
    finding.status = "starting, then running, restarts + 1"
    finding.events = f"NODE_RESTARTED at all readers, on {len(heard)} machines"
    fault.judge([it for it in bench.edges if it not in of_it])
    last = max(it for it in bench.tapes.said[VICTIM] if it.at <= fault.at)
    for edge in of_it:
        if edge.within:  # the last one may have been on its tape, and not yet sent
            assert set(bench.tapes.lost(edge, fault.calm, time.monotonic() - 1)) <= {last}
    fault.keeps(unit)
    fault.nothing_else({"NODE_RESTARTED"})


@row
def reader_killed(bench: Bench, finding: Finding, seconds: float) -> None:
    """It gets from other machines, on reliable edges, what was sent meanwhile."""
    fault = Fault(bench, finding)
    node, unit = f"hear-{VICTIM}", f"hear-{VICTIM}@{VICTIM}"
    fault.at = bench.kill(VICTIM, fault.pids[unit])
    fault.detected("watch", bench.change(node, VICTIM, fault.pids[unit], fault.at))
    fault.detected("restarted", bench.event("START", None, node, fault.at))
    fault.normal(fault.at, [it for it in bench.edges if it.hearer == VICTIM])
    bench.unit(node, VICTIM, "running", fault.at)
    finding.status = "starting, then running, restarts + 1"
    fault.judge(
        [
            it
            for it in bench.edges
            if it.hearer != VICTIM or (it.kind == "reliable" and not it.within)
        ]
    )
    fault.keeps(unit)
    fault.nothing_else({"START"})
    finding.events = "none at others"


@row
def router_killed(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    unit = f"dora-router@{VICTIM}"
    fault.at = bench.kill(VICTIM, fault.pids[unit])
    fault.detected("watch", bench.change("dora-router", VICTIM, fault.pids[unit], fault.at))
    fault.normal(fault.at)
    bench.unit("dora-router", VICTIM, "running", fault.at)
    assert {"running"} == set().union(*states(bench.status()).values())
    finding.status = "router: starting, then running, restarts + 1"
    fault.judge(lossless(bench, VICTIM))
    fault.keeps(unit)
    fault.perhaps_silences(bench.touching(VICTIM, "drop"))


@row
def rebooted(bench: Bench, finding: Finding, seconds: float) -> None:
    """All processes at once; cron starts what was confirmed."""
    bench.boots(VICTIM)
    fault = Fault(bench, finding)
    bench.lan.power_off(VICTIM)
    fault.detected("watch", bench.linked(VICTIM, "unknown", fault.at))
    bench.lan.power_on(VICTIM)
    on = time.monotonic()
    bench.lan.run(VICTIM, ["/usr/sbin/cron"])
    fault.normal(on)
    bench.linked(VICTIM, "up", on)
    assert {"running"} == set().union(*states(bench.status()).values())
    finding.status = f"{bench.name(VICTIM)} unknown since, then running, all"
    fault.judge(_without(bench, VICTIM))
    fault.keeps(*(it for it in fault.pids if it.endswith(f"@{VICTIM}")))
    fault.nothing_else({"START", "INPUT_CLOSED", "INPUT_RECOVERED", "NODE_RESTARTED"})
    finding.events = "as after a cut; the returned nodes begin anew"


@row
def gone_for_good(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    with finally_(lambda: bench.lan.power_on(VICTIM)):
        bench.lan.power_off(VICTIM)
        fault.detected("watch", bench.linked(VICTIM, "unknown", fault.at))
        closed = [
            bench.event("INPUT_CLOSED", it.input, it.reader, fault.at)
            for it in bench.touching(VICTIM, "drop")
            if it.talker == VICTIM
        ]
        fault.detected("nodes", min(closed))
        status = bench.status(code=4)
        sleep_until(fault.at + seconds)
        rest = bench.others(VICTIM)
        rest = [it for it in rest if it.talker != VICTIM]
        end = time.monotonic()
        bench.flowing(rest, end)
        fault.finding.promised = bench.tapes.count(rest, fault.calm, end)
        assert 0 == fault.finding.promised.lost
        assert bench.tapes.pause(rest, fault.at, end) < seconds
        fault.keeps(*(it for it in fault.pids if it.endswith(f"@{VICTIM}")))
        fault.nothing_else({"INPUT_CLOSED"})
        finding.events = "INPUT_CLOSED where input_timeout is set"
        unknown(status, bench.name(VICTIM))
        finding.status = f"{bench.name(VICTIM)} unknown since, the others running; exit code 4"
    bench.linked(VICTIM, "up", end)
    bench.calm()


@row
def clock_jumps(bench: Bench, finding: Finding, seconds: float) -> None:
    """An hour ahead, then two back."""
    fault = Fault(bench, finding)
    with finally_(lambda: bench.clock.ahead(0)):
        for ahead in (3600, -3600):
            bench.clock.ahead(ahead)
            time.sleep(min(seconds, 10) / 2)
            read = bench.lan.run(CLOCKED, ["date", "+%s"]).stdout
            assert abs(int(read) - time.time() - ahead) < 60
        assert {"running"} == set().union(*states(bench.status()).values())
        finding.status = "running, all"
        fault.judge(bench.edges)
        fault.keeps()
        fault.silences([])
        fault.links_stay()
        died = bench.kill(CLOCKED, bench.pids()[f"hear-{CLOCKED}@{CLOCKED}"])
        restarted = bench.event("START", None, f"hear-{CLOCKED}", died) - died
        finding.status += f"; a node killed then was back after {restarted:.1f} s"


@row
def log_disk_full(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    with finally_(bench.empty):
        bench.fill()
        sleep_until(fault.at + seconds)
        assert {"running"} == set().union(*states(bench.status()).values())
        finding.status = "running, all"
        fault.judge(bench.edges)
    fault.keeps()
    fault.silences([])
    fault.links_stay()
    bench.tapes.read()
    last = bench.tapes.said[FULL][-1].n
    emptied = time.monotonic()

    def logged() -> bool:
        lines = bench.fleet.lines(f"talk-{FULL}")
        return any(int(line.split()[1]) > last for line in lines if line.startswith("said "))

    wait_until(logged, "lines after the disk has room again")
    finding.normal = time.monotonic() - emptied


def _new_run(bench: Bench, talker: int, since: float) -> float:
    """When the talker's new process had its first message."""
    old = {it.run for it in bench.tapes.said[talker] if it.at <= since}

    def first() -> list[float]:
        bench.tapes.read()
        return [it.at for it in bench.tapes.said[talker] if it.run not in old]

    wait_until(first, f"talk-{talker} talks again")
    return first()[0]


def _without(bench: Bench, robot: int) -> list[Edge]:
    """What is promised when all processes of a robot die: what the others tell each other, and
    what they send it on reliable edges."""
    return [
        it
        for it in bench.edges
        if robot not in (it.talker, it.hearer) or (it.touches(robot) and _reliable_to(it, robot))
    ]


def _reliable_to(edge: Edge, robot: int) -> bool:
    return edge.kind == "reliable" and edge.hearer == robot


def _link_is_up(bench: Bench) -> None:
    """As the watch sees it by now, or soon."""

    def up() -> bool:
        told = bench.watch.said(lambda row: row.get("machine") == bench.name(VICTIM), 0.0)
        links = [it["link"] for it in told if "link" in it]
        return not links or links[-1] == "up"

    wait_until(up, "the link is up again")
