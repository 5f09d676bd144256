"""From the environment to a running runtime, and its exit code. Node (>= 3.10)."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from dora.errors import DoraError
from dora.event import is_precious
from dora.log import patch_basic_config
from dora.participation import Participation, read_summary
from dora.protocol.config import NODE_CONFIG, NodeConfig
from dora.protocol.runtime import (
    PYTHON,
    RUNTIME_CONFIG,
    SHARED_LIBRARY,
    WASM,
    OperatorConfig,
    RuntimeConfig,
)
from dora.runtime.base import Instance, Loader
from dora.runtime.crew import Crew
from dora.runtime.errors import OperatorError
from dora.runtime.failure import told
from dora.runtime.host import Host
from dora.runtime.mailbox import Mailbox
from dora.runtime.python import PythonLoader
from dora.runtime.report import reporting
from dora.runtime.scheduler import Scheduler
from dora.runtime.sending import Exchange
from dora.runtime.state import OperatorStates
from dora.runtime.wiring import wire

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
    wiring = wire(node, runtime)
    states = OperatorStates(node.node, node.state)
    mailbox = Mailbox()
    scheduler = Scheduler(runtime.scheduler, is_precious)
    exchange = Exchange(scheduler, mailbox)
    crew = Crew(
        runtime,
        wiring,
        exchange,
        _making(states, cache(partial(_descriptor, node))),
        time.monotonic,
    )
    faults = crew.load()
    if faults:
        for fault in faults:
            logger.error("%s", told(fault))
        return 1
    part = Participation(wiring.outside, lasting=True, tell=reporting(crew, wiring))
    failed = True
    try:
        exchange.outside = part.send
        crew.begin(part.finish, ignore_timers_at_end=part.ignores_timers_at_end)
        # What is there now stays: no garbage collection needs to look at it again.
        gc.collect()
        gc.freeze()
        Host(part.stream, wiring, scheduler, crew, mailbox, partial(_stop_all, part)).run()
        failed = crew.failed
    finally:
        part.end(failed=failed)
        mailbox.close()
        states.close()
    return int(failed)


def _told() -> tuple[NodeConfig, RuntimeConfig]:
    node = NodeConfig.from_environment()
    file = os.environ.get(RUNTIME_CONFIG)
    if node is None or not file:
        raise DoraError(
            f"no runtime of a dataflow: ${NODE_CONFIG} and ${RUNTIME_CONFIG} are not both set; "
            "name the operators in a flow file and start it with `dora run flow.yml`"
        )
    try:
        runtime = RuntimeConfig.from_text(Path(file).read_text())
    except OSError as error:
        raise DoraError(f"${RUNTIME_CONFIG} names a file that cannot be read: {error}") from error
    home = Path(file).parent
    return node, replace(
        runtime,
        operators=tuple(replace(it, code=str(home / it.code)) for it in runtime.operators),
    )


def _making(
    state: OperatorStates, descriptor: Callable[[], Mapping[str, Any]]
) -> Callable[[OperatorConfig], Instance]:
    loaders: dict[str, Loader] = {}

    def make(operator: OperatorConfig) -> Instance:
        """An instance with its state. Raises as loaders do."""
        if operator.kind not in loaders:
            loaders[operator.kind] = _loader(operator.kind, descriptor)
        instance = loaders[operator.kind].load(operator, state.context(operator.id))
        saved = state.saved(operator.id)
        if saved:
            try:
                instance.restore_state(saved)
            except BaseException:
                instance.close()
                raise
        return instance

    return make


def _descriptor(node: NodeConfig) -> dict[str, Any]:
    summary = read_summary(node)
    return dict(summary.descriptor) if summary else {}


def _loader(kind: str, descriptor: Callable[[], Mapping[str, Any]]) -> Loader:
    """Only what is needed is imported: the other kinds need packages of their own."""
    if kind == PYTHON:
        return PythonLoader(descriptor)
    if kind == SHARED_LIBRARY:
        from dora.runtime.shared_library import SharedLibraryLoader

        return SharedLibraryLoader()
    if kind == WASM:
        from dora.runtime.wasm import WasmLoader

        return WasmLoader()
    raise OperatorError(f"there are no operators of kind {kind!r}")


def _stop_all(part: Participation, operator: str) -> None:
    logger.info("operator %s ends the dataflow", operator)
    part.end_dataflow()
