"""Why no data comes: from what was seen to one sentence. Pure; laptop only.

Causes are looked for from the outside in: what does not run, then what is not connected, then what
runs and does not move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dora.compile.dataplane import ROUTER, dials
from dora.coordinator.onlooker import TCP
from dora.coordinator.status import NodeStatus
from dora.coordinator.why.situation import Situation, Way
from dora.coordinator.why.wording import clock, number, silence
from dora.protocol.config import NETWORK

RUNNING = "running"
BACKPRESSURE = "backpressure"


@dataclass(frozen=True)
class Answer:
    """`cause` is one word for programs; `flows` where data comes, after all."""

    cause: str
    sentence: str
    remedy: str | None = None
    flows: bool = False


Cause = Callable[[Situation], Answer | None]


def decide(situation: Situation) -> Answer:
    for cause in CAUSES:
        answer = cause(situation)
        if answer is not None:
            return answer
    return _lost_on_the_way(situation)


# what does not run


def consumer_down(situation: Situation) -> Answer | None:
    return _down(situation, situation.consumer, "consumer")


def producer_down(situation: Situation) -> Answer | None:
    if situation.producer is None:
        return None
    return _down(situation, situation.producer, "producer")


def process_halted(situation: Situation) -> Answer | None:
    producers = [situation.producer, *situation.replicas]
    if situation.replicas and situation.received.moves:
        producers = []  # the others do its work
    routers = [] if _passes_routers_by(situation) else situation.routers.values()
    for end in (*producers, *routers, situation.consumer):
        if end is not None and (end.machine, end.node) in situation.halted:
            return Answer(
                "halted",
                f"{_name(end)} is stopped by a signal (SIGSTOP) or a debugger: process {end.pid}",
                f"dora machines exec {end.machine} -- kill -CONT {end.pid}",
            )
    return None


def operator_down(situation: Situation) -> Answer | None:
    """An operator at either end whose runtime runs without it."""
    wire = situation.wire
    ends = [(situation.producer, wire.output), (situation.consumer, wire.input)]
    for node, name in ends:
        operator, slash, _ = name.partition("/")
        found = node.traffic.operators.get(operator) if node and node.traffic and slash else None
        if node is None or found is None or found.state == RUNNING:
            continue
        return Answer(
            "operator",
            f"operator {operator} of {node.node} is not called: it is {found.state}, after "
            f"{found.restarts} restarts",
            f"dora logs {wire.deployment} --node {node.node}",
        )
    return None


def router_down(situation: Situation) -> Answer | None:
    if situation.wire.layer not in NETWORK or _passes_routers_by(situation):
        return None
    for machine in situation.machines:
        router = situation.routers.get(machine)
        if router is None:
            return Answer(
                "router",
                f"no router is known on {machine}, and this edge needs one",
                "deploy again",
            )
        if router.state != RUNNING:
            return _down(situation, router, "router")
    return None


def _passes_routers_by(situation: Situation) -> bool:
    """Routers only help direct links to come about: one over which messages come needs none."""
    return situation.is_direct and situation.received.moves


def _down(situation: Situation, end: NodeStatus, role: str) -> Answer | None:
    if end.state == RUNNING:
        return None
    who = _name(end)
    logs = f"dora logs {end.deployment} --node {end.node} --machine {end.machine}"
    since = f" since {clock(end.since)}" if end.since is not None else ""
    why = f" ({end.error})" if end.error else ""
    if end.state == "unknown":
        return Answer(
            "machine",
            f"nobody knows what {who} does: {end.error or 'its machine does not answer'}",
            f"dora doctor --limit {end.machine}",
        )
    if end.state == "backoff":
        again = "it is started again"
        if end.restarts_at is not None:
            left = max(end.restarts_at - situation.now, 0.0)
            again += " at once" if left < 0.1 else f" in {left:.1f} s"
        return Answer(role, f"{who} is down{since}{why}; {again}", logs)
    said = {
        "failed": f"{who} has failed{since}{why}, and does not come back by itself",
        "ended": f"{who} has ended{since}, as it should, and sends and takes nothing any more",
        "waiting": f"{who} waits{since} for others that start or end before it",
        "starting": f"{who} is starting{since} and not ready yet",
        "stopping": f"{who} was asked to leave{since}",
    }
    remedy = {
        "failed": f"{logs}; then deploy again",
        "ended": f"dora deploy starts it again if its files changed; {logs}",
        "waiting": f"dora status {end.deployment}",
    }
    sentence = said.get(end.state, f"{who} is {end.state}{since}{why}")
    return Answer(role, sentence, remedy.get(end.state, logs))


def _name(end: NodeStatus) -> str:
    return f"{end.machine}'s router" if end.node == ROUTER else f"{end.node} on {end.machine}"


# what is not connected


def network_cut(situation: Situation) -> Answer | None:
    """Where one way answers there is a network: which way is needed says `port_closed`, and where
    nothing comes `_lost_on_the_way`."""
    ways = situation.ways
    if not ways or _passes_routers_by(situation) or any(way.reached.error is None for way in ways):
        return None
    ends = " and ".join(situation.machines)
    return Answer(
        "network",
        f"{ends} do not reach each other: {silence(ways[0])}",
        f"dora doctor --limit {','.join(situation.machines)}",
    )


def port_closed(situation: Situation) -> Answer | None:
    """The consumer of a direct link cannot call the producer."""
    way = _call(situation)
    if way is None or way.reached.error is None or situation.received.moves:
        return None
    wire = situation.wire
    return Answer(
        "port",
        f"{wire.consumer} on {way.source} cannot call {wire.producer} on {way.target}, as "
        f"`link: direct` has it do: {silence(way)}",
        _open(situation, way),
    )


def _call(situation: Situation) -> Way | None:
    """The way that the consumer of a direct link takes to the producer."""
    return next((way for way in situation.ways if way.protocol == TCP), None)


def _open(situation: Situation, way: Way) -> str:
    doctor = f"dora doctor --limit {','.join(situation.machines)}"
    if way.reached.error not in ("timeout", "refused"):
        return f"look at `address:` of {way.target} in the inventory; {doctor}"
    through = f"let {way.protocol.upper()} through on {way.target}"
    return f"{through} (ufw allow {way.port}/{way.protocol}); {doctor}"


# what does not move


def it_flows(situation: Situation) -> Answer | None:
    if not situation.received.moves:
        return None
    received, dropped = situation.received.rate or 0.0, situation.dropped.rate or 0.0
    wire = situation.wire
    sentence = f"data comes to {wire.where}: {number(received)} messages a second"
    if not dropped:
        return Answer("none", sentence, None, True)
    how = f"as {wire.consumer} takes them slower than they come"
    if wire.layer in NETWORK:
        how = f"on the way between machines, or {how}"  # they are counted together
    return Answer(
        "overflow",
        f"{sentence}, and {number(dropped)} a second are lost {how} (queue of {wire.queue_size}, "
        f"{wire.queue_policy})",
        f"a larger `queue_size` for bursts, `queue_policy: {BACKPRESSURE}` to hold "
        f"{wire.producer or 'the producer'} back, or a quicker {wire.consumer}",
        True,
    )


def just_started(situation: Situation) -> Answer | None:
    """Counts of two processes are not compared."""
    ends = ((situation.producer, situation.sent), (situation.consumer, situation.received))
    for end, count in ends:
        if end is not None and count.total is not None and count.rate is None:
            return Answer(
                "untold",
                f"{end.node} was started while it was looked at: nobody can say yet what moves",
                f"dora why {situation.wire.where} {situation.wire.deployment}",
            )
    return None


def consumer_stuck(situation: Situation) -> Answer | None:
    """Messages come to its queue, and it takes none."""
    wire, consumer = situation.wire, situation.consumer.node
    logs = f"dora logs {wire.deployment} --node {consumer}; what does it do in its event loop?"
    if wire.is_timer:
        if situation.received.total is None:
            return _silent_node(situation, consumer)
        return Answer(
            "consumer_stuck",
            f"{consumer} takes no ticks of {wire.source}: none in the last "
            f"{situation.seconds:.0f} s, {situation.received.total} since it started",
            logs,
        )
    if situation.dropped.moves:
        return Answer(
            "consumer_stuck",
            f"{consumer} takes nothing: its queue of {wire.queue_size} is full, and "
            f"{number(situation.dropped.rate or 0)} messages a second are lost there",
            logs,
        )
    holds = wire.queue_policy == BACKPRESSURE and bool(situation.sent.total)
    if holds and not situation.sent.moves and situation.received.rate == 0:
        behind = (situation.sent.total or 0) - (situation.received.total or 0)
        if behind > 0:
            return Answer(
                "consumer_stuck",
                f"{consumer} takes nothing, and its full queue holds {wire.producer} back "
                f"({behind} messages wait or are lost; queue_policy: {BACKPRESSURE})",
                logs,
            )
    return None


def producer_silent(situation: Situation) -> Answer | None:
    wire, producer = situation.wire, situation.producer
    if producer is None or situation.sent.moves:
        return None
    if situation.sent.total is None:
        return _silent_node(situation, producer.node)
    late = f"in the last {situation.seconds:.0f} s"
    if situation.sent.total == 0:
        sentence = f"{wire.producer} runs since {clock(producer.since)} and has sent nothing yet on"
        sentence += f" {wire.output}"
    else:
        sentence = f"{wire.producer} has sent {situation.sent.total} messages on {wire.output}, "
        sentence += f"and none {late}"
    inputs = list(producer.traffic.inputs) if producer.traffic is not None else []
    if inputs and situation.fed.total is not None and not situation.fed.moves:
        when = late if situation.fed.total else "yet"
        return Answer(
            "producer_hungry",
            f"{sentence}; it has received nothing itself {when}",
            f"dora why {producer.node}/{inputs[0]} {wire.deployment}",
        )
    return Answer(
        "producer_silent", sentence, f"dora logs {wire.deployment} --node {producer.node}"
    )


def _silent_node(situation: Situation, node: str) -> Answer:
    return Answer(
        "untold",
        f"{node} runs, and has said nothing of its messages: it has not begun to use the dora "
        "library, has just started, or has more edges than it can tell of",
        f"dora logs {situation.wire.deployment} --node {node}",
    )


def consumer_untold(situation: Situation) -> Answer | None:
    if situation.received.total is None:
        return _silent_node(situation, situation.consumer.node)
    return None


def _lost_on_the_way(situation: Situation) -> Answer:
    wire = situation.wire
    rate = f"{number(situation.sent.rate or 0)} messages a second leave {wire.producer}"
    none = f"{rate}, and none comes to {wire.where} (over {wire.layer})"
    logs = f"dora logs {wire.deployment} --node"
    if situation.is_direct:
        call = _call(situation)
        if call is not None:
            none += f", although {call.source} reaches TCP port {call.port} of {call.target}"
        remedy = f"{logs} {wire.consumer}: did {wire.producer} answer, does it read its events?"
        return Answer("lost", none, remedy)
    for way in situation.ways:
        if way.reached.error is not None and dials(way.source, way.target):
            sentence = (
                f"{none}: {way.source}'s router is to call {way.target}'s, and {silence(way)}"
            )
            return Answer("port", sentence, _open(situation, way))
    if wire.layer in NETWORK:
        return Answer("lost", none, f"{logs} {ROUTER}; dora doctor")
    return Answer("lost", none, f"{logs} {wire.consumer}: does it read its events?")


CAUSES: tuple[Cause, ...] = (
    consumer_down,
    producer_down,
    router_down,
    process_halted,
    network_cut,
    port_closed,
    operator_down,
    it_flows,
    just_started,
    consumer_stuck,
    producer_silent,
    consumer_untold,
)
