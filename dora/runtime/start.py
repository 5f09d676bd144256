"""From the environment to a running runtime, and its exit code. Node (>= 3.10)."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

from dora.errors import DoraError
from dora.event import is_precious
from dora.log import patch_basic_config
from dora.participation import Participation, read_summary
from dora.protocol.config import NODE_CONFIG, NodeConfig
from dora.protocol.runtime import RUNTIME_CONFIG, RuntimeConfig, read_runtime
from dora.protocol.supervision import RELOAD_AT_START, notify_reloaded
from dora.rewiring import WaysFile
from dora.runtime.crew import Crew
from dora.runtime.failure import told
from dora.runtime.host import Host
from dora.runtime.mailbox import Mailbox
from dora.runtime.making import Maker
from dora.runtime.operator import Around
from dora.runtime.reload import Reloads
from dora.runtime.report import reporting
from dora.runtime.scaling import Scaling, replica_counts
from dora.runtime.scheduler import Scheduler
from dora.runtime.sending import Exchange
from dora.runtime.state import OperatorStates
from dora.runtime.wiring import wire
from dora.tracing import spans

logger = logging.getLogger("dora")


def start_runtime() -> None:
    """Runs the operators that the environment names, until they have ended. Exits with 0 if all of
    them ended as they should, 1 if one failed for good or could not be loaded."""
    try:
        node, runtime = _told()
        code = run(node, runtime)
    except (ValueError, DoraError) as error:
        logger.error("%s", error)
        code = 1
    sys.exit(code)


def run(node: NodeConfig, runtime: RuntimeConfig) -> int:
    """The exit code. Raises ValueError or DoraError for what it cannot begin with."""
    patch_basic_config(node.node)
    wiring = wire(WaysFile(node).read() or node, runtime)
    states = OperatorStates(node.node, node.state)
    mailbox = Mailbox()
    scheduler = Scheduler(runtime.scheduler, is_precious)
    exchange = Exchange(scheduler, mailbox)
    maker = Maker(states, cache(partial(_descriptor, node)))
    crew = Crew(
        runtime,
        wiring,
        exchange,
        maker.make,
        time.monotonic,
        _tracing(node),
        replica_counts(node),
    )
    faults = crew.load()
    if faults:
        for fault in faults:
            logger.error("%s", told(fault))
        return 1
    part = Participation(
        wiring.outside, lasting=True, tell=reporting(crew, wiring), rewired=wiring.follow
    )
    failed = True
    try:
        exchange.outside = part.send
        crew.begin(part.finish, ignore_timers_at_end=part.ignores_timers_at_end)
        # What is there now stays: no garbage collection needs to look at it again.
        gc.collect()
        gc.freeze()
        reloads = Reloads(runtime, crew, scheduler, maker, notify_reloaded)
        stop_all = partial(_stop_all, part)
        scaling = Scaling(node, crew.replicas.scale)
        Host(part.stream, wiring, scheduler, crew, mailbox, stop_all, reloads, scaling).run()
        failed = crew.failed
    finally:
        part.end(failed=failed)
        mailbox.close()
        states.close()
    return int(failed)


def _told() -> tuple[NodeConfig, RuntimeConfig]:
    node = NodeConfig.from_environment()
    file = os.environ.get(RELOAD_AT_START) or os.environ.get(RUNTIME_CONFIG)
    if node is None or not file:
        raise DoraError(
            f"no runtime of a dataflow: ${NODE_CONFIG} and ${RUNTIME_CONFIG} are not both set; "
            "name the operators in a flow file and start it with `dora run flow.yml`"
        )
    try:
        runtime = read_runtime(Path(file))
    except OSError as error:
        raise DoraError(f"${RUNTIME_CONFIG} names a file that cannot be read: {error}") from error
    return node, runtime


def _descriptor(node: NodeConfig) -> dict[str, Any]:
    summary = read_summary(node)
    return dict(summary.descriptor) if summary else {}


def _tracing(node: NodeConfig) -> Around | None:
    traces = spans(node.node, node.dataflow)
    if traces is None:
        return None
    from dora.runtime.traced import Tracing

    return Tracing(traces).around


def _stop_all(part: Participation, operator: str) -> bool:
    logger.info("operator %s ends the dataflow", operator)
    return part.end_dataflow()
