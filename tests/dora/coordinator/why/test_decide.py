"""Why no data comes: one cause, the outermost, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dora.compile.dataplane import ROUTER
from dora.coordinator.onlooker import TCP, Reached
from dora.coordinator.status import NodeStatus
from dora.coordinator.why.decide import decide
from dora.coordinator.why.evidence import evidence
from dora.coordinator.why.situation import Situation, Way
from dora.coordinator.wires import Count, Wire
from dora.protocol.traffic import InputTraffic, OperatorTraffic, Traffic

NOW = 1_800_000_000.0


def node(name: str, machine: str, **more: Any) -> NodeStatus:
    values = {"state": "running", "pid": 7, "since": NOW - 60, **more}
    return NodeStatus("flow", machine, name, **values)


CAMERA, PLOT = node("camera", "base"), node("plot", "rover")
WIRE = Wire("flow", "plot", "image", "camera/frames", "zenoh", 10, "drop_oldest")
WAYS = (
    Way("base", "rover", 7447, Reached(1.0)),
    Way("rover", "base", 7447, Reached(1.0)),
)
READING = replace(CAMERA, traffic=Traffic.of({"go": InputTraffic(9)}, {"frames": 0}))
FLOWING = Situation(
    wire=WIRE,
    consumer=PLOT,
    producer=CAMERA,
    routers={name: node(ROUTER, name, infrastructure=True) for name in ("base", "rover")},
    ways=WAYS,
    sent=Count(600, 10.0),
    received=Count(590, 10.0),
    dropped=Count(0, 0.0),
    seconds=3.0,
    now=NOW,
)
STILL = replace(FLOWING, sent=Count(600, 0.0), received=Count(600, 0.0))
LOSING = replace(FLOWING, received=Count(5, 0.0))


def router(state: str, **more: Any) -> Mapping[str, NodeStatus]:
    down = node(ROUTER, "rover", infrastructure=True, state=state, **more)
    return {**FLOWING.routers, "rover": down}


def silent(error: str) -> tuple[Way, ...]:
    return tuple(replace(way, reached=Reached(error=error, text="no such network")) for way in WAYS)


def operator(state: str) -> Traffic:
    stopped = OperatorTraffic(state, 3, *[0] * 11)
    return Traffic(operators={"op": stopped})


def direct(found: Situation, error: str | None = None, udp: str | None = None) -> Situation:
    """With `link: direct`: how the reader's machine reaches the sender's by TCP, and routers each
    other by UDP."""
    call = Way("rover", "base", 7447, Reached(error=error, text="no such network"), TCP)
    ways = (*(silent(udp) if udp else WAYS), call)
    return replace(found, wire=replace(WIRE, layer="direct"), ways=ways)


CASES: dict[str, tuple[Situation, str, str]] = {
    "data comes": (FLOWING, "none", "data comes to plot/image: 10 messages a second"),
    "more comes than is taken": (
        replace(FLOWING, dropped=Count(50, 2.5)),
        "overflow",
        "2.5 a second are lost on the way between machines, or as plot takes them slower",
    ),
    "more comes than is taken, within a machine": (
        replace(FLOWING, wire=replace(WIRE, layer="shm"), dropped=Count(50, 2.5)),
        "overflow",
        "2.5 a second are lost as plot takes them slower than they come (queue of 10, drop_oldest)",
    ),
    "the consumer has failed": (
        replace(FLOWING, consumer=replace(PLOT, state="failed", error="exited with code 3")),
        "consumer",
        "(exited with code 3), and does not come back",
    ),
    "the consumer's machine is away": (
        replace(FLOWING, consumer=replace(PLOT, state="unknown", error="no route to host")),
        "machine",
        "nobody knows what plot on rover does: no route to host",
    ),
    "the producer is coming back": (
        replace(FLOWING, producer=replace(CAMERA, state="backoff", restarts_at=NOW + 2)),
        "producer",
        "it is started again in 2.0 s",
    ),
    "the producer has done its work": (
        replace(STILL, producer=replace(CAMERA, state="ended")),
        "producer",
        "camera on base has ended",
    ),
    "the producer waits": (
        replace(STILL, producer=replace(CAMERA, state="waiting")),
        "producer",
        "for others",
    ),
    "the producer is starting": (
        replace(STILL, producer=replace(CAMERA, state="starting")),
        "producer",
        "not ready yet",
    ),
    "a router is down": (
        replace(LOSING, routers=router("backoff", restarts_at=NOW + 1.5)),
        "router",
        "rover's router is down since",
    ),
    "a router is missing": (
        replace(LOSING, routers={"base": FLOWING.routers["base"]}),
        "router",
        "no router is known on rover",
    ),
    "a process is stopped": (
        replace(LOSING, halted=frozenset({("rover", "plot")})),
        "halted",
        "plot on rover is stopped by a signal",
    ),
    "one of the producer's replicas is stopped": (
        replace(
            FLOWING, replicas=(replace(CAMERA, pid=8),), halted=frozenset({("base", "camera")})
        ),
        "none",
        "data comes",
    ),
    "a router's process is stopped": (
        replace(LOSING, halted=frozenset({("base", ROUTER)})),
        "halted",
        "base's router is stopped",
    ),
    "machines do not reach each other": (
        replace(LOSING, ways=silent("timeout")),
        "network",
        "base and rover do not reach each other: nothing comes back from UDP port 7447 of rover",
    ),
    "machines have no way to each other": (
        replace(LOSING, ways=silent("no_route")),
        "network",
        "(no such network)",
    ),
    "an operator is not called": (
        replace(
            LOSING,
            wire=replace(WIRE, input="op/image"),
            consumer=replace(PLOT, traffic=operator("failed")),
        ),
        "operator",
        "operator op of plot is not called: it is failed, after 3 restarts",
    ),
    "the consumer takes nothing and loses": (
        replace(LOSING, dropped=Count(90, 10.0)),
        "consumer_stuck",
        "its queue of 10 is full",
    ),
    "the consumer holds the producer back": (
        replace(STILL, wire=replace(WIRE, queue_policy="backpressure"), received=Count(590, 0.0)),
        "consumer_stuck",
        "holds camera back",
    ),
    "the producer has never sent": (
        replace(STILL, sent=Count(0, 0.0), received=Count(0, 0.0)),
        "producer_silent",
        "has sent nothing yet on frames",
    ),
    "the producer has stopped sending": (
        STILL,
        "producer_silent",
        "has sent 600 messages on frames, and none in the last 3 s",
    ),
    "the producer has never received anything": (
        replace(STILL, sent=Count(0, 0.0), fed=Count(0, 0.0), producer=READING),
        "producer_hungry",
        "it has received nothing itself yet",
    ),
    "the producer receives nothing any more": (
        replace(STILL, fed=Count(9, 0.0), producer=READING),
        "producer_hungry",
        "none in the last 3 s; it has received nothing itself in the last 3 s",
    ),
    "the producer receives and does not send": (
        replace(STILL, fed=Count(9, 1.0), producer=READING),
        "producer_silent",
        "none in the last 3 s",
    ),
    "an end was started meanwhile": (
        replace(FLOWING, received=Count(3)),
        "untold",
        "plot was started while it was looked at",
    ),
    "a replica of the producer is stopped, and nothing comes": (
        replace(STILL, replicas=(replace(CAMERA, pid=8),), halted=frozenset({("base", "camera")})),
        "halted",
        "camera on base is stopped",
    ),
    "the producer says nothing": (
        replace(STILL, sent=Count(), received=Count(0, 0.0)),
        "untold",
        "camera runs, and has said nothing",
    ),
    "the consumer says nothing": (
        replace(FLOWING, received=Count()),
        "untold",
        "plot runs, and has said nothing",
    ),
    "messages are lost on the way": (
        LOSING,
        "lost",
        "10 messages a second leave camera, and none comes to plot/image (over zenoh)",
    ),
    "the way that routers need is closed": (
        replace(LOSING, ways=(silent("refused")[0], WAYS[1])),
        "port",
        "base's router is to call rover's, and nothing listens on UDP port 7447 of rover",
    ),
    "a way that nobody needs is closed": (
        replace(LOSING, ways=(WAYS[0], silent("timeout")[1])),
        "lost",
        "none comes to plot/image (over zenoh)",
    ),
    "a direct link's port is closed": (
        direct(LOSING, "timeout"),
        "port",
        "plot on rover cannot call camera on base, as `link: direct` has it do: nothing comes back "
        "from TCP port 7447 of base",
    ),
    "a direct link's port is closed before anything was sent": (
        direct(STILL, "refused"),
        "port",
        "TCP port 7447 of base is refused",
    ),
    "a direct link's machine is not to be found": (
        direct(LOSING, "no_route"),
        "port",
        "rover has no way to TCP port 7447 of base (no such network)",
    ),
    "a direct link's port was closed after the call": (
        direct(FLOWING, "timeout"),
        "none",
        "data comes",
    ),
    "a direct link brings nothing, and its port is open": (
        direct(LOSING),
        "lost",
        "none comes to plot/image (over direct), although rover reaches TCP port 7447 of base",
    ),
    "a direct link where nothing answers": (
        direct(LOSING, "timeout", udp="timeout"),
        "network",
        "do not reach each other",
    ),
    "a direct link without a network for anything new": (
        direct(FLOWING, "timeout", udp="timeout"),
        "none",
        "data comes",
    ),
    "a direct link passes a router that is down by": (
        replace(direct(FLOWING), routers=router("backoff")),
        "none",
        "data comes",
    ),
    "a direct link passes a stopped router by": (
        replace(direct(FLOWING), halted=frozenset({("base", ROUTER)})),
        "none",
        "data comes",
    ),
    "a direct link does not come about without a router": (
        replace(direct(LOSING), routers=router("backoff")),
        "router",
        "rover's router is down since",
    ),
    "a timer's ticks come": (
        replace(FLOWING, wire=replace(WIRE, source="dora/timer/millis/10"), producer=None),
        "none",
        "data comes",
    ),
    "a timer's ticks are not taken": (
        replace(STILL, wire=replace(WIRE, source="dora/timer/hz/5"), producer=None),
        "consumer_stuck",
        "plot takes no ticks of dora/timer/hz/5",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_situation_has_its_cause(kind: str) -> None:
    """And its sentence, and something to do unless all is well."""
    situation, cause, words = CASES[kind]
    answer = decide(situation)

    assert (cause, True) == (answer.cause, words in answer.sentence), answer
    assert (cause == "none") is (answer.remedy is None)
    assert (cause in ("none", "overflow")) is answer.flows


def test_what_does_not_run_is_told_before_what_does_not_move() -> None:
    """A failed producer explains all below it; and whoever reads is asked about before that."""
    everything = replace(
        STILL,
        consumer=replace(PLOT, state="failed"),
        producer=replace(CAMERA, state="failed"),
        routers=router("backoff"),
        ways=silent("timeout"),
    )
    causes = []
    for change in ({"consumer": PLOT}, {"producer": CAMERA}, {"routers": FLOWING.routers}):
        causes.append(decide(everything).cause)
        everything = replace(everything, **change)

    assert ["consumer", "producer", "router", "network"] == [*causes, decide(everything).cause]


@pytest.mark.parametrize("error", ["timeout", "no_route"])
def test_a_closed_port_comes_with_what_to_type(error: str) -> None:
    """What opens it, unless it is the address that is wrong."""
    opens = "let TCP through on base (ufw allow 7447/tcp); "
    looks = "look at `address:` of base in the inventory; "

    expected = f"{opens if error == 'timeout' else looks}dora doctor --limit base,rover"
    assert expected == decide(direct(LOSING, error)).remedy


def test_what_is_called_by_tcp_is_among_the_evidence() -> None:
    """Beside what routers do by UDP."""
    links = [how for what, how in evidence(direct(LOSING, "timeout")) if what == "link"]

    assert "rover -> base by TCP: nothing comes back from TCP port 7447 of base" == links[-1]
    assert ["base -> rover: answers in 1.0 ms", "rover -> base: answers in 1.0 ms"] == links[:-1]


def test_routers_do_not_matter_within_a_machine() -> None:
    """Shared memory needs none."""
    near = replace(FLOWING, wire=replace(WIRE, layer="shm"), routers={}, ways=())

    assert "none" == decide(near).cause


def test_the_evidence_follows_the_data() -> None:
    """From the producer over routers and links to the consumer, and nothing is left out."""
    seen = list(evidence(FLOWING))

    assert [
        *("edge", "producer", "sent", "router", "router", "link", "link"),
        *("consumer", "received", "dropped"),
    ] == [what for what, _ in seen]
    assert "camera/frames -> plot/image, zenoh, queue of 10 drop_oldest" == seen[0][1]
