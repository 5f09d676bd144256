"""What the supervisor knows of one unit: data and questions. Machine only; Python >= 3.8."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, TypeVar

from deploy.malformed import checked
from deploy.supervisor.key import Key
from deploy.supervisor.restart import Exit
from deploy.supervisor.sayings import Sayings
from deploy.unit import Unit

Number = TypeVar("Number", int, float)


class State(str, Enum):  # noqa: UP042 (StrEnum is Python 3.11)
    WAITING = "waiting"  # for units of a lower order, or for processes that must end first
    STARTING = "starting"  # the process runs and has not said that it is ready
    RUNNING = "running"
    STOPPING = "stopping"  # was asked to leave
    ENDED = "ended"  # left as it should; stays so
    FAILED = "failed"  # left otherwise, or could not be started; stays so
    BACKOFF = "backoff"  # ended; will be started again


class Step(str, Enum):  # noqa: UP042
    """How far the ladder of `StopPolicy` was climbed; `aborted` is the watchdog's way onto it."""

    ASKED = "asked"
    TERMED = "termed"
    ABORTED = "aborted"
    KILLED = "killed"


@dataclass
class Slot:
    """One unit's place. `wanted` is what should run (None: nothing, the slot goes when its process
    has gone), `actual` what was started last. All times are of the monotonic clock.
    """

    key: Key
    since: float  # of the last change of state
    wanted: Optional[Unit] = None
    generation: int = 0
    state: State = State.WAITING
    actual: Optional[Unit] = None
    pid: Optional[int] = None
    start: int = 0  # the process's start time in clock ticks since boot: with the pid, its identity
    born: float = 0.0  # when the process was started
    window: Optional[float] = None  # since when it has been trying to become ready
    ready: bool = False
    late: bool = False  # did not become ready within its start_timeout
    restarts: int = 0  # since this unit (this fingerprint) came
    attempts: int = 0  # restarts that count for the restart policy
    exit: Optional[Exit] = None
    error: Optional[str] = None
    status: Optional[str] = None  # what the process last said of itself; whatever that means
    sayings: Sayings = field(default_factory=Sayings, compare=False)  # lately; forgotten with us
    last_lines: Tuple[str, ...] = ()  # of the log, at its last end if that was an error
    beat: Optional[float] = None  # when it last showed that it lives, since it is ready
    unwatched: bool = False  # its process wants no watchdog any more
    hung: bool = False  # its watchdog expired
    excess: Optional[Tuple[int, int]] = None  # it is killed for bytes used, and allowed
    answer_by: Optional[float] = None  # when a unit that nobody heard is taken as ready
    again: bool = False  # somebody asked for a restart
    withheld: bool = False  # its lease is over: it must not run
    done: bool = False  # its deployment has done its work: it ends, and is not started again
    leave_by: Optional[float] = None  # when it is asked to leave even if those before it are there
    step: Optional[Step] = None
    deadline: Optional[float] = None  # of the next step of the ladder, or of the backoff

    @property
    def same(self) -> bool:
        """Whether what was started last is what is wanted."""
        return (
            self.wanted is not None
            and self.actual is not None
            and self.wanted.fingerprint == self.actual.fingerprint
        )

    @property
    def doomed(self) -> bool:
        """Whether a process is there that must leave."""
        unwanted = self.again or self.done or self.withheld
        return self.pid is not None and (unwanted or not self.same)

    @property
    def leaving(self) -> bool:
        """Whether a process is there that was asked to leave, or will be."""
        return self.doomed or (self.pid is not None and self.state is State.STOPPING)

    @property
    def forced(self) -> bool:
        """Whether it is being killed for what it did: nobody has asked it to leave."""
        return self.hung or self.excess is not None

    @property
    def given_up(self) -> bool:
        """Whether it has failed, or has ended and nobody saw how."""
        unseen = self.exit is None or not self.exit.known
        ended = self.state is State.ENDED and not self.done and self.error is not None
        return self.state is State.FAILED or (ended and unseen)

    @property
    def watchdog_deadline(self) -> Optional[float]:
        """When it counts as hung, unless it shows before that it lives."""
        if self.pid is None or self.actual is None or not self.actual.watchdog:
            return None
        if self.beat is None or not self.ready or self.unwatched or self.step is not None:
            return None
        return self.beat + self.actual.watchdog

    @property
    def order(self) -> int:
        unit = self.actual if self.pid is not None else self.wanted
        return unit.order if unit is not None else 0

    @property
    def rank(self) -> int:
        unit = self.actual if self.pid is not None else self.wanted
        return unit.rank if unit is not None else 0

    @property
    def settled(self) -> bool:
        """Whether units of a higher order need not wait for this one any more."""
        if self.wanted is None:
            return True
        over = self.state in (State.RUNNING, State.ENDED, State.FAILED)
        return over or self.late or self.withheld

    @property
    def start_deadline(self) -> Optional[float]:
        """When it is late, while it can still become so."""
        if self.wanted is None or self.late or self.window is None or self.answer_by is not None:
            return None
        if self.state not in (State.STARTING, State.BACKOFF):
            return None
        return self.window + self.wanted.start_timeout

    def move(self, state: State, now: float) -> None:
        if state is not self.state:
            self.state = state
            self.since = now

    def to_json(self) -> Dict[str, Any]:
        """For the journal: what a next supervisor needs to go on from here."""
        return {
            "deployment": self.key.deployment,
            "name": self.key.unit,
            "since": self.since,
            "generation": self.generation,
            "state": self.state.value,
            "actual": None if self.actual is None else self.actual.to_json(),
            "pid": self.pid,
            "start": self.start,
            "born": self.born,
            "window": self.window,
            "ready": self.ready,
            "late": self.late,
            "restarts": self.restarts,
            "attempts": self.attempts,
            "exit": None if self.exit is None else self.exit.to_json(),
            "error": self.error,
            "status": self.status,
            "last_lines": self.last_lines,
            "unwatched": self.unwatched,
            "hung": self.hung,
            "excess": self.excess,
            "answer_by": self.answer_by,
            "again": self.again,
            "done": self.done,
            "deadline": self.deadline,
        }

    @classmethod
    @checked
    def from_json(cls, data: Mapping[str, Any]) -> Slot:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` cannot have made.

        A unit that was being stopped is asked again: nobody knows how far the ladder was. One that
        was being killed, by its watchdog or for its memory, is.
        """
        state = State(data["state"])
        again = bool(data["again"])
        deadline = _maybe(float, data["deadline"])
        hung = bool(data.get("hung", False))
        excess = data.get("excess")
        forced = hung or excess is not None
        if state is State.STOPPING and not forced:
            state = State.RUNNING if data["ready"] else State.STARTING
            again = True
            deadline = None
        return cls(
            key=Key(data["deployment"], data["name"]),
            since=float(data["since"]),
            generation=int(data["generation"]),
            state=state,
            actual=None if data["actual"] is None else Unit.from_json(data["actual"]),
            pid=_maybe(int, data["pid"]),
            start=int(data["start"]),
            born=float(data["born"]),
            window=_maybe(float, data["window"]),
            ready=bool(data["ready"]),
            late=bool(data["late"]),
            restarts=int(data["restarts"]),
            attempts=int(data["attempts"]),
            exit=None if data["exit"] is None else Exit.from_json(data["exit"]),
            error=data["error"],
            status=data.get("status"),
            last_lines=tuple(str(line) for line in data.get("last_lines", ())),
            unwatched=bool(data.get("unwatched", False)),
            hung=hung,
            excess=None if excess is None else (int(excess[0]), int(excess[1])),
            answer_by=_maybe(float, data.get("answer_by")),
            again=again,
            done=bool(data.get("done", False)),
            step=Step.ABORTED if forced else None,
            deadline=(deadline or 0.0) if forced else deadline,
        )


def _maybe(kind: Callable[[Any], Number], value: Any) -> Optional[Number]:
    return None if value is None else kind(value)
