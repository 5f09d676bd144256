"""Rows of the fault table: one process is killed. Each waits until all is well again."""

from __future__ import annotations

import time

from tests.faults.bench import VICTIM, Bench, states
from tests.faults.fault import Fault, lossless, sleep_until
from tests.faults.findings import Finding
from tests.faults.follower import Follower
from tests.scenarios.fleet import wait_until


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


def sender_killed(bench: Bench, finding: Finding, seconds: float) -> None:
    """What reads it on its own machine gets all that it has sent."""
    fault = Fault(bench, finding)
    node, unit = f"talk-{VICTIM}", f"talk-{VICTIM}@{VICTIM}"
    fault.at = bench.kill(VICTIM, fault.pids[unit])
    fault.detected("watch", bench.change(node, VICTIM, fault.pids[unit], fault.at))
    heard = [bench.event("NODE_RESTARTED", node, f"hear-{i}", fault.at) for i in bench.lan.robots]
    fault.detected("nodes", max(heard))
    of_it = [it for it in bench.edges if it.talker == VICTIM]
    came = bench.flowing(of_it, _new_run(bench, VICTIM, fault.at))
    finding.normal = max(came.values()) - fault.at
    bench.unit(node, VICTIM, "running", fault.at)
    finding.status = "starting, then running, restarts + 1"
    finding.events = f"NODE_RESTARTED at all readers, on {len(heard)} machines"
    fault.judge([it for it in bench.edges if it not in of_it])
    before = {it.run for it in bench.tapes.said[VICTIM] if it.at <= fault.at}
    last = max(it for it in bench.tapes.said[VICTIM] if it.run in before)
    within, now = [it for it in of_it if it.within], time.monotonic()
    bench.flowing(within, now)  # then all that was sent before has come, or will not
    for edge in within:  # the last one may have been on its tape, and not yet sent
        assert set(bench.tapes.lost(edge, fault.calm, now)) <= {last}
    fault.keeps(unit)
    fault.nothing_else({"NODE_RESTARTED"})


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
        [it for it in bench.edges if it.hearer != VICTIM or (it.kind != "drop" and not it.within)]
    )
    fault.keeps(unit)
    fault.nothing_else({"START"})
    finding.events = "none at others"


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


def _new_run(bench: Bench, talker: int, since: float) -> float:
    """When the talker's new process had its first message."""
    old = {it.run for it in bench.tapes.said[talker] if it.at <= since}

    def first() -> list[float]:
        bench.tapes.read()
        return [it.at for it in bench.tapes.said[talker] if it.run not in old]

    wait_until(first, f"talk-{talker} talks again")
    return first()[0]
