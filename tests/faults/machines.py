"""Rows of the fault table: what befalls a link or a machine. Each does one thing, and mends it."""

from __future__ import annotations

import re
import time

from tests.faults.bench import CLOCKED, FULL, VICTIM, Bench, states
from tests.faults.fault import Fault, finally_, lossless, sleep_until, unknown
from tests.faults.findings import Finding
from tests.faults.tapes import Edge
from tests.scenarios.fleet import wait_until


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


def packets_lost(bench: Bench, finding: Finding, seconds: float) -> None:
    fault = Fault(bench, finding)
    with finally_(lambda: bench.lan.lose(VICTIM, 0)):
        bench.lan.lose(VICTIM, 30)
        asked = time.monotonic()
        code, status = bench.ask()
        took = time.monotonic() - asked
        sleep_until(fault.at + seconds)
        bench.tapes.read()
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
        whole = [re.match(r"said (\d+) \.", it) for it in bench.fleet.lines(f"talk-{FULL}")]
        return any(int(it[1]) > last for it in whole if it is not None)

    wait_until(logged, "lines after the disk has room again")
    finding.normal = time.monotonic() - emptied


def _without(bench: Bench, robot: int) -> list[Edge]:
    """What is promised when all processes of a robot die: what the others tell each other, and
    what they send it on reliable edges."""
    return [
        it
        for it in bench.edges
        if robot not in (it.talker, it.hearer) or (it.touches(robot) and _reliable_to(it, robot))
    ]


def _reliable_to(edge: Edge, robot: int) -> bool:
    return edge.kind != "drop" and edge.hearer == robot


def _link_is_up(bench: Bench) -> None:
    """As the watch sees it by now, or soon."""

    def up() -> bool:
        told = bench.watch.said(lambda row: row.get("machine") == bench.name(VICTIM), 0.0)
        links = [it["link"] for it in told if "link" in it]
        return not links or links[-1] == "up"

    wait_until(up, "the link is up again")
