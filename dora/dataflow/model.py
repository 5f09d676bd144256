"""The dataflow as the files say it, checked: frozen types. Laptop only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deploy.errors import Issue

QueuePolicy = Literal["drop_oldest", "backpressure"]
Scheduler = Literal["fifo", "priority", "edf"]
LayerChoice = Literal["auto", "zenoh", "shm"]
Delivery = Literal["drop", "reliable"]
Distribution = Literal["balance", "broadcast"]
MachineLoss = Literal["wait", "move"]
Priority = Literal["realtime", "high", "normal", "bulk"]


@dataclass(frozen=True)
class Mark:
    """Where something stands in a file (1-based)."""

    file: str
    line: int
    column: int

    def issue(self, message: str, hint: str | None = None) -> Issue:
        """A problem of what stands here."""
        return Issue(self.file, self.line, self.column, message, hint)


@dataclass(frozen=True)
class OutputSource:
    """`node/output`, or `node/operator/output` of a runtime node."""

    node: str
    output: str
    operator: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.node, self.operator, self.output) if part)


@dataclass(frozen=True)
class TimerSource:
    """`dora/timer/<unit>/<n>`: a tick every `interval` nanoseconds."""

    interval: int
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class LogSource:
    """`dora/logs[/level[/node]]`: the log lines of all nodes, or of one."""

    level: str | None
    node: str | None
    text: str

    def __str__(self) -> str:
        return self.text


Source = OutputSource | TimerSource | LogSource


@dataclass(frozen=True)
class Input:
    name: str
    source: Source
    mark: Mark
    queue_size: int = 10
    queue_policy: QueuePolicy = "drop_oldest"
    input_timeout: float | None = None  # seconds
    deadline: float | None = None  # seconds; of an operator's input
    distribution: Distribution | None = None  # among replicas; unset: balance
    key: str | None = None  # the parameter of which equal values are kept in order
    direct: bool = False  # from another machine: past the router of this one


@dataclass(frozen=True)
class Quality:
    """How an output travels between machines.

    `drop`: what a link cannot take is lost, the newest wins. `reliable`: what is missed is sent
    again, in order, as long as it is among the last `cache` messages.
    """

    delivery: Delivery = "drop"
    cache: int = 1000  # messages; of reliable outputs
    priority: Priority = "normal"

    @property
    def kept(self) -> int:
        """How many messages the sender keeps for readers that missed them."""
        return self.cache if self.delivery == "reliable" else 0


@dataclass(frozen=True)
class Restart:
    """dora's restart fields; times in seconds."""

    policy: Literal["never", "on-failure", "always"] = "never"
    max_restarts: int = 0
    delay: float = 0.0
    max_delay: float = 0.0
    window: float = 0.0


@dataclass(frozen=True)
class HealthCheck:
    """A command that has to end well before a new generation of the node is trusted."""

    words: tuple[str, ...]
    text: str  # as it stands in the file
    timeout: float  # seconds
    mark: Mark = field(compare=False)


@dataclass(frozen=True)
class Realtime:
    """The kernel's real-time scheduling of a node; `priority` from 1 to 99."""

    policy: Literal["fifo", "rr"]
    priority: int


@dataclass(frozen=True)
class Autoscale:
    """As many replicas as the load asks for. `target_queue`: messages before each of them;
    `target_cpu`: the share of a core that each is to use, of an operator the share of its time that
    it is to spend in calls. `cooldown` in seconds."""

    min: int
    max: int
    target_queue: float | None = None
    target_cpu: float | None = None
    cooldown: float = 10.0

    def bound(self, count: int) -> int:
        """The number within the bounds that is next to this one."""
        return min(max(count, self.min), self.max)


@dataclass(frozen=True)
class Deploy:
    """The `deploy:` block of a node: wishes and limits for placement."""

    machine: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    cores: int | None = None  # physical ones, for this node alone
    core_kind: Literal["big", "little"] | None = None
    realtime: Realtime | None = None
    nice: int = 0
    memory: int | None = None  # bytes
    near: str | None = None
    apart: tuple[str, ...] = ()  # nodes that are to run elsewhere
    devices: tuple[str, ...] = ()  # paths below /dev that the machine must have; globs
    mark: Mark | None = None
    marks: Mapping[str, Mark] = field(default_factory=dict, compare=False)  # key -> its value
    replicas: int | None = None
    spread: bool = False  # over machines
    autoscale: Autoscale | None = None
    on_machine_loss: MachineLoss = "wait"

    @property
    def moves(self) -> bool:
        """Whether it may be started on another machine when its own is lost, or fails it."""
        return self.on_machine_loss == "move"

    @property
    def has_replicas(self) -> bool:
        """Whether there may be several of it; also if there is one at the moment."""
        return self.replicas is not None or self.autoscale is not None

    @property
    def least(self) -> int:
        """How many there are at first."""
        return self.autoscale.min if self.autoscale is not None else self.replicas or 1


@dataclass(frozen=True)
class Operator:
    """Code run inside a runtime node; `code` is a path, `kind` what it is. Times in seconds."""

    id: str
    kind: Literal["python", "shared-library", "wasm"]
    code: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    mark: Mark
    priority: int = 0  # higher first
    deadline: float | None = None  # of inputs that have none of their own
    on_deadline_miss: Literal["run", "skip", "event"] = "run"
    budget: float | None = None  # of one call
    memory: int | None = None  # bytes; of WebAssembly
    thread: bool = False
    restart: Restart = Restart()
    send_stdout_as: str | None = None
    code_mark: Mark | None = field(default=None, compare=False)  # where `code` stands
    replicas: int | None = None  # in its runtime
    autoscale: Autoscale | None = None  # without it and `replicas` it is one, and stays that

    @property
    def has_replicas(self) -> bool:
        """Whether there may be several of it; also if there is one at the moment."""
        return self.replicas is not None or self.autoscale is not None

    def count(self, now: int = 0) -> int:
        """How many there are to be: what the file says; where it leaves that to the load, as many
        as there are now."""
        return self.autoscale.bound(now) if self.autoscale is not None else self.replicas or 1

    @property
    def balanced(self) -> dict[str, str]:
        """The inputs that its replicas share, with the key that keeps messages in order, or ""."""
        if not self.has_replicas:
            return {}
        return {
            name: wired.key or ""
            for name, wired in self.inputs.items()
            if isinstance(wired.source, OutputSource) and wired.distribution != "broadcast"
        }


@dataclass(frozen=True)
class SecretSource:
    """A node's secret: where the laptop reads it when it deploys (exactly one of `file`, `env`,
    `command`), and whether the node finds the content or, with `path`, the path of a file."""

    name: str
    mark: Mark
    file: str | None = None  # relative to the flow file's folder; `~` is the user's home
    env: str | None = None
    command: tuple[str, ...] = ()
    path: bool = False

    @property
    def variable(self) -> str:
        """What the node looks for in its environment."""
        return f"{self.name}_FILE" if self.path else self.name


@dataclass(frozen=True)
class Node:
    """A custom node (`path` set) or a runtime node (`operators` not empty).

    `single_operator` tells the `operator:` form, whose outputs are named without an operator id.
    """

    id: str
    mark: Mark
    path: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    operators: tuple[Operator, ...] = ()
    single_operator: bool = False
    scheduler: Scheduler = "fifo"  # of a runtime node
    name: str | None = None
    description: str | None = None
    build: str | None = None
    restart: Restart = Restart()
    deploy: Deploy = Deploy()
    cpu_affinity: tuple[int, ...] = ()
    requirements: tuple[str, ...] = ()
    build_from_source: tuple[str, ...] = ()  # packages that may be built on the laptop
    files: tuple[str, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    working_directory: str | None = None  # of the 2022 form
    startup_timeout: float | None = None
    health: tuple[HealthCheck, ...] = ()
    health_check_timeout: float | None = None
    finish_grace: float | None = None
    send_stdout_as: str | None = None
    send_logs_as: str | None = None
    min_log_level: str | None = None
    max_log_size: int | None = None  # bytes
    max_rotated_files: int | None = None
    output_rates: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # hz, bytes
    output_qos: Mapping[str, Quality] = field(default_factory=dict)  # as `all_outputs` names them
    path_mark: Mark | None = field(default=None, compare=False)  # where `path` stands

    @property
    def all_inputs(self) -> dict[str, Input]:
        """Inputs of the node, or of all its operators under `operator/input` names."""
        inputs = dict(self.inputs)
        for operator in self.operators:
            for name, wired in operator.inputs.items():
                inputs[f"{operator.id}/{name}"] = wired
        return inputs

    def quality(self, output: str) -> Quality:
        """How `output`, as `all_outputs` names it, travels between machines."""
        return self.output_qos.get(output, Quality())

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """Outputs as other nodes name them behind `<node>/`."""
        if not self.operators or self.single_operator:
            return self.operators[0].outputs if self.operators else self.outputs
        return tuple(f"{op.id}/{output}" for op in self.operators for output in op.outputs)


@dataclass(frozen=True)
class Dataflow:
    """A checked dataflow. `directory` is what relative paths in it are relative to.

    `descriptor` is the plain data of the file with its defaults filled in, as a node's
    `dataflow_descriptor()` shows it.
    """

    file: str
    directory: str
    nodes: Mapping[str, Node]
    env: Mapping[str, str] = field(default_factory=dict)
    layer: LayerChoice = "auto"
    exit_when_nodes_finish: bool = False
    descriptor: Mapping[str, object] = field(default_factory=dict)
