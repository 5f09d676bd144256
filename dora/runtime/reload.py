"""New code for operators of a running runtime: made beside the old ones, then swapped (>= 3.10).

Main thread only. An operator gets no call while its new instance is made, and its messages wait;
the others are served. All operators that a request names change, or none does.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from dora.protocol.runtime import OperatorConfig, RuntimeConfig, read_runtime
from dora.runtime.base import Instance
from dora.runtime.crew import Crew
from dora.runtime.errors import OperatorError
from dora.runtime.failure import told
from dora.runtime.making import Maker
from dora.runtime.operator import Operator, State
from dora.runtime.scheduler import Scheduler
from dora.runtime.task import RUNNING

logger = logging.getLogger("dora")


@dataclass
class _Swap:
    """One request on its way."""

    wanted: RuntimeConfig
    operators: list[Operator]  # whose code is new
    waiting: list[Operator]  # those not begun yet: a call of theirs goes on
    take_back: Callable[[], None]
    making: int = 0
    made: list[tuple[Operator, Instance]] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)


class Reloads:
    """`answer(worked)` is called once for each request. `runtime` is what runs now, with absolute
    paths."""

    def __init__(
        self,
        runtime: RuntimeConfig,
        crew: Crew,
        scheduler: Scheduler,
        maker: Maker,
        answer: Callable[[bool], None],
    ) -> None:
        self._runtime = runtime
        self._crew = crew
        self._scheduler = scheduler
        self._maker = maker
        self._answer = answer
        self._asked: list[str] = []
        self._swap: _Swap | None = None

    def __repr__(self) -> str:
        return f"<Reloads, {len(self._asked)} asked for, {self._swap}>"

    def ask(self, what: str) -> None:
        """The id of an operator whose file is to be read again, or the absolute path of a runtime's
        configuration beside which there is other code for the same operators."""
        self._asked.append(what)

    def work(self) -> bool:
        """Goes on with what was asked for; whether there was anything to do."""
        swap = self._swap
        if swap is None:
            if not self._asked:
                return False
            swap = self._begin(self._asked.pop(0))
            if swap is None:
                return True
            self._swap = swap
        for operator in [it for it in swap.waiting if not _is_busy(it)]:
            swap.waiting.remove(operator)
            self._remake(swap, operator)
        if not swap.waiting and not swap.making:
            self._swap = None
            self._end(swap)
            return True
        return False

    def _begin(self, what: str) -> _Swap | None:
        try:
            wanted, changed = self._wanted(what)
        except OperatorError as error:
            self._refuse([error])
            return None
        operators = [it for it in self._crew if it.base in changed and it.state is State.RUNNING]
        for operator in operators:
            self._scheduler.suspend(operator.task)
        before, now = self._runtime.operators, wanted.operators
        take_back = self._maker.python.forget({it.code for it in before if it.id in changed})
        moved = {it.code: new.code for it, new in zip(before, now, strict=True)}
        self._maker.python.move(moved)
        _move_imports(_folders(self._runtime), _folders(wanted))
        return _Swap(wanted, operators, list(operators), take_back)

    def _wanted(self, what: str) -> tuple[RuntimeConfig, set[str]]:
        """What is to run, and whose code is other code then. Raises OperatorError."""
        runtime = self._runtime
        if not os.path.isabs(what):
            ids = [it.id for it in runtime.operators]
            if what not in ids:
                known = ", ".join(ids[:20])
                raise OperatorError(f"there is no operator {what!r} here; there are: {known}")
            return runtime, {what}
        try:
            wanted = read_runtime(Path(what))
            if _shape(wanted) != _shape(runtime):
                raise OperatorError(
                    f"{what} is about other operators than those that run here",
                    hint="they need a restart of the runtime: `dora restart`",
                )
            pairs = zip(runtime.operators, wanted.operators, strict=True)
            return wanted, {new.id for old, new in pairs if _text(old) != _text(new)}
        except (OSError, ValueError) as error:
            raise OperatorError(f"{what} cannot be run: {error}") from error

    def _remake(self, swap: _Swap, operator: Operator) -> None:
        def made(instance: Instance | None, error: BaseException | None) -> None:
            swap.making -= 1
            if instance is not None:
                swap.made.append((operator, instance))
            elif error is not None:
                swap.faults.append(error)

        if operator.instance is None:
            return  # it has failed meanwhile, or ended; when it comes back it is the new one
        config = next(it for it in swap.wanted.operators if it.id == operator.base)
        config = replace(config, id=operator.config.id)
        swap.making += 1
        self._crew.build(operator, partial(self._maker.remake, config, operator.instance), made)

    def _end(self, swap: _Swap) -> None:
        if swap.faults:
            swap.take_back()
            _move_imports(_folders(swap.wanted), _folders(self._runtime))
            for _, instance in swap.made:
                instance.close()
            self._refuse(swap.faults)
        else:
            self._runtime = swap.wanted
            self._crew.reconfigure(swap.wanted.operators)
            for operator, instance in swap.made:
                if operator.state is State.RUNNING:
                    self._crew.replace(operator, instance)
                    logger.info("operator %s runs new code", operator.config.id)
                else:
                    instance.close()
            self._answer(True)
        for operator in swap.operators:
            if operator.state is State.RUNNING:
                self._scheduler.resume(operator.task)

    def _refuse(self, faults: list[BaseException]) -> None:
        for fault in faults:
            logger.error("%s", told(fault))
        logger.error("the operators go on with the code that they have")
        self._answer(False)


def _is_busy(operator: Operator) -> bool:
    return bool(operator.task.off & RUNNING)


def _shape(runtime: RuntimeConfig) -> RuntimeConfig:
    """All but the folders of code."""
    operators = (replace(it, code=os.path.basename(it.code)) for it in runtime.operators)
    return replace(runtime, operators=tuple(operators))


def _text(operator: OperatorConfig) -> bytes:
    return Path(operator.code).read_bytes()


def _folders(runtime: RuntimeConfig) -> list[str]:
    return [os.path.dirname(os.path.realpath(it.code)) for it in runtime.operators]


def _move_imports(before: list[str], now: list[str]) -> None:
    """Imports look in the folders `now` where they looked in those `before`."""
    places = dict(zip(before, now, strict=True))
    sys.path[:] = [places.get(entry, entry) for entry in sys.path]
