"""The checked values of a flow file -> the model; problems are collected. Laptop only."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from deploy.document import Checked, Document, DocumentPath, shown, suggest
from dora.dataflow.autoscale import autoscale_of
from dora.dataflow.edges import inputs_of, outputs_of
from dora.dataflow.environment import env_of
from dora.dataflow.ids import node_id
from dora.dataflow.model import Dataflow, Deploy, HealthCheck, Node, Operator, Realtime, Restart
from dora.dataflow.operators import code_of
from dora.dataflow.qualities import qualities_of, read_qualities
from dora.dataflow.report import Report
from dora.dataflow.schema import NODE_KEYS
from dora.dataflow.secrets import secrets_of
from dora.dataflow.sources import Offer, Offers

KINDS = ("path", "operator", "operators", "custom")
_ELSEWHERE = ("ros2", "module", "hub", "git")  # not supported, but they say what the node is
_OF_PROCESS = ("args", "inputs", "outputs", "send_stdout_as", "send_logs_as")  # not of a runtime
_OF_CUSTOM = ("args", "env", "inputs", "outputs", "build")  # stand inside of `custom:`

HEALTH_TIMEOUT = 10.0  # seconds

Values = Mapping[str, Any]


class Builder:
    """Builds one dataflow. What is wrong is left out of it and told in `report`."""

    def __init__(self, document: Document, checked: Checked, environ: Mapping[str, str]) -> None:
        self.report = Report(document, checked)
        self._value = checked.value
        self._environ = environ

    def dataflow(self, directory: str, descriptor: Mapping[str, object]) -> Dataflow:
        raw = self.report.document.value
        if isinstance(raw, dict) and "nodes" not in raw:
            self.report.error((), "the key 'nodes' is missing", suggest("nodes", raw))
        given: dict[DocumentPath, Values] = {
            ("nodes", index): node
            for index, node in enumerate(self._value.get("nodes", ()))
            if node is not None and "id" in node
        }
        named = self._named(given)
        offers = Offers({node["id"]: self._offer(path, node) for path, node in named.items()})
        communication = self._value.get("communication", {})
        if "zenoh" in communication:
            self.report.warn(
                ("communication", "zenoh"), "has no effect: routes begin with the deployment's name"
            )
        self.report.without_effect((), self._value)
        default = self._deploy(("deploy",), self._value.get("deploy"))
        return Dataflow(
            file=self.report.document.file,
            directory=directory,
            nodes={
                node["id"]: self._node(path, node, offers, default) for path, node in named.items()
            },
            env=env_of(self.report, ("env",), self._value.get("env", {}), self._environ),
            layer=communication.get("layer", "auto"),
            exit_when_nodes_finish=self._value.get("exit_when_nodes_finish", False),
            descriptor=descriptor,
        )

    def _named(self, given: Mapping[DocumentPath, Values]) -> dict[DocumentPath, Values]:
        """The nodes that can be told apart."""
        named: dict[DocumentPath, Values] = {}
        lines: dict[str, int] = {}
        for path, node in given.items():
            id = node["id"]
            self.report.check_name((*path, "id"), id, node_id)
            line = self.report.document.at((*path, "id")).line
            if id in lines:
                hint = f"the first one is in line {lines[id]}"
                self.report.error((*path, "id"), f"there are two nodes {shown(id)}", hint)
                continue
            lines[id] = line
            named[path] = node
        return named

    # What a node sends

    def _offer(self, path: DocumentPath, node: Values) -> Offer:
        custom = node.get("custom", {})
        operator = node.get("operator", {})
        single = [
            *custom.get("outputs", ()),
            *operator.get("outputs", ()),
            *node.get("outputs", ()),
        ]
        operators: dict[str, tuple[str, ...]] | None = None
        if "operators" in node:
            operators = {
                op["id"]: _some(op.get("outputs"))
                for op in node["operators"]
                if op is not None and "id" in op
            }
        qualities = read_qualities(node.get("output_qos", {}))
        kept = {output: quality.kept for output, quality in qualities.items() if quality.kept}
        return Offer(_some(single), operators, complete=not self._in_doubt(path), kept=kept)

    def _in_doubt(self, path: DocumentPath) -> bool:
        """Whether a mistake hides what the node at `path` sends."""
        for broken in self.report.broken:
            inside = broken[len(path) :]
            if broken[: len(path)] != path or not inside:
                continue
            whole_kind = len(inside) == 1 and inside[0] in (*KINDS, *_ELSEWHERE)
            whole_operator = inside[0] == "operators" and (len(inside) == 2 or inside[-1] == "id")
            misspelt = len(inside) == 1 and inside[0] not in NODE_KEYS  # perhaps `outputs`
            if whole_kind or whole_operator or misspelt or "outputs" in inside:
                return True
        return False

    # Nodes

    def _node(self, path: DocumentPath, node: Values, offers: Offers, default: Deploy) -> Node:
        kind = self._kind(path, node)
        self.report.without_effect(path, node)
        values: Values = node
        place = path
        if kind == "custom":
            values, place = node["custom"], (*path, "custom")
        program, args, program_key = self._command(place, values, kind)
        env = env_of(self.report, (*path, "env"), node.get("env", {}), self._environ)
        if place != path:
            inner = env_of(self.report, (*place, "env"), values.get("env", {}), self._environ)
            env = {**env, **inner}
        operators = self._operators(path, node, offers)
        builds = [node.get("build"), values.get("build") if kind == "custom" else None]
        builds += [op.get("build") for op in self._operator_values(node).values()]
        affinity = node.get("cpu_affinity", ())
        deploy = (
            self._deploy((*path, "deploy"), node.get("deploy")) if "deploy" in node else default
        )
        if affinity and deploy.cores:
            self.report.error(
                (*path, "cpu_affinity"),
                "`cpu_affinity` and `deploy: {cores}` are both there",
                "name the cores, or say how many, not both",
            )
        return Node(
            id=node["id"],
            mark=self.report.mark((*path, "id")),
            path=program,
            args=args,
            env=env,
            inputs=inputs_of(self.report, (*place, "inputs"), values.get("inputs", {}), offers),
            outputs=outputs_of(self.report, (*place, "outputs"), values.get("outputs")),
            operators=operators,
            single_operator=kind == "operator",
            name=node.get("name"),
            description=node.get("description"),
            build="\n".join(build for build in builds if build) or None,
            scheduler=node.get("scheduler", "fifo"),
            restart=_restart(node),
            deploy=deploy,
            cpu_affinity=affinity,
            requirements=tuple(node.get("requirements", ())),
            build_from_source=tuple(node.get("build_from_source", ())),
            files=tuple(node.get("files", ())),
            secrets=secrets_of(self.report, (*path, "secrets"), node.get("secrets", {}), env),
            working_directory=values.get("working-directory", values.get("working_directory")),
            startup_timeout=node.get("startup_timeout"),
            health=self._health(path, node),
            health_check_timeout=node.get("health_check_timeout"),
            finish_grace=node.get("finish_grace_secs"),
            send_stdout_as=node.get("send_stdout_as"),
            send_logs_as=node.get("send_logs_as"),
            min_log_level=node.get("min_log_level"),
            max_log_size=node.get("max_log_size"),
            max_rotated_files=node.get("max_rotated_files"),
            output_rates={
                output: (rate["hz"], rate["bytes"])
                for output, rate in node.get("output_rates", {}).items()
                if {"hz", "bytes"} <= rate.keys()
            },
            output_qos=qualities_of(
                self.report,
                (*path, "output_qos"),
                node.get("output_qos", {}),
                offers.nodes[node["id"]],
            ),
            path_mark=self.report.mark((*place, program_key)) if program_key else None,
        )

    def _kind(self, path: DocumentPath, node: Values) -> str | None:
        """Which of KINDS the node is; None after telling that it is none, or several."""
        kinds = [kind for kind in KINDS if kind in node]
        if any((*path, key) in self.report.broken for key in (*KINDS, *_ELSEWHERE)):
            return kinds[0] if len(kinds) == 1 else None
        if not kinds:
            message = f"the node {shown(node['id'])} does not say what it runs"
            self.report.error(path, message, "add `path:`, `operator:` or `operators:`")
            return None
        if len(kinds) > 1:
            both = " and ".join(f"`{kind}`" for kind in kinds)
            message = f"the node {shown(node['id'])} has {both}; it must have exactly one of them"
            self.report.error((*path, kinds[1]), message, key=True)
            return None
        kind = kinds[0]
        if "scheduler" in node and kind not in ("operator", "operators"):
            self.report.error(
                (*path, "scheduler"),
                "`scheduler` is for nodes that host operators; the kernel schedules other nodes",
                "remove it",
                key=True,
            )
        inside = {"operator": _OF_PROCESS, "operators": _OF_PROCESS, "custom": _OF_CUSTOM}
        for key in inside.get(kind, ()):
            if key in node and not (kind == "custom" and key in ("env", "build")):
                owner = "its operator" if kind == "operator" else "one of its operators"
                where = "`custom:`" if kind == "custom" else owner
                self.report.error(
                    (*path, key),
                    f"`{key}` cannot stand beside `{kind}`",
                    f"move it into {where}" if key != "args" or kind == "custom" else "remove it",
                    key=True,
                )
        return kind

    def _command(
        self, path: DocumentPath, values: Values, kind: str | None
    ) -> tuple[str | None, tuple[str, ...], str | None]:
        """The program, its arguments, and the key that names the program."""
        if kind == "path":
            program: str = values["path"]
            if "://" in program:
                self.report.error(
                    (*path, "path"), "nodes are not downloaded by this version", _DOWNLOAD
                )
            if not program.strip():
                self.report.error((*path, "path"), "path is empty; it must name a program")
            if program == "shell":
                return program, (values["args"],) if "args" in values else (), "path"
            return program, self._split((*path, "args"), values.get("args", "")), "path"
        if kind != "custom":
            return None, (), None
        names = [key for key in ("run", "source") if key in values]
        if len(names) != 1:
            if not any((*path, key) in self.report.broken for key in ("run", "source")):
                found = "has both of `run` and `source`" if names else "does not say what it runs"
                self.report.error(path, f"`custom` {found}", "keep one: `run: program arguments`")
            return None, (), None
        words = self._split((*path, names[0]), values[names[0]])
        if not words:
            self.report.error((*path, names[0]), f"{names[0]} is empty; it must name a program")
            return None, (), None
        return words[0], words[1:] + self._split((*path, "args"), values.get("args", "")), names[0]

    def _health(self, path: DocumentPath, node: Values) -> tuple[HealthCheck, ...]:
        timeout = node.get("health_timeout", HEALTH_TIMEOUT)
        if not timeout:
            self.report.error((*path, "health_timeout"), "no command ends within 0 seconds")
        given = node.get("health", ())
        if not given and "health_timeout" in node and (*path, "health") not in self.report.broken:
            message = "`health_timeout` is for health commands, and there are none"
            self.report.error((*path, "health_timeout"), message, "add `health:`", key=True)
        checks = []
        for index, line in enumerate(given):
            place = (*path, "health", index)
            if not line.strip():
                self.report.error(place, "a health command is empty; it must name a program")
            elif words := self._split(place, line, "the health command"):
                checks.append(HealthCheck(words, line, timeout, self.report.mark(place)))
        return tuple(checks)

    def _split(
        self,
        path: DocumentPath,
        line: str,
        subject: str | None = None,
    ) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(line))
        except ValueError as error:
            reason = "a quote is not closed" if "quot" in str(error) else "it ends with a backslash"
            self.report.error(
                path,
                f"{subject or path[-1]} is {shown(line)}: {reason}",
                "split as a shell would",
            )
            return ()

    def _deploy(self, path: DocumentPath, given: Values | None) -> Deploy:
        if given is None:
            return Deploy()
        self.report.without_effect(path, given)
        return Deploy(
            machine=given.get("machine"),
            labels=given.get("labels", {}),
            working_dir=given.get("working_dir"),
            cores=given.get("cores"),
            core_kind=self._core_kind(path, given),
            realtime=_realtime(given.get("realtime")),
            nice=given.get("nice", 0),
            memory=given.get("memory"),
            near=given.get("near"),
            apart=tuple(dict.fromkeys(given.get("apart", ()))),
            devices=tuple(dict.fromkeys(given.get("devices", ()))),
            mark=self.report.mark(path),
            marks={key: self.report.mark((*path, key)) for key in given},
            replicas=given.get("replicas"),
            spread=given.get("spread", False),
            autoscale=autoscale_of(self.report, path, given),
            on_machine_loss=self._on_machine_loss(path, given),
        )

    def _on_machine_loss(self, path: DocumentPath, given: Values) -> Any:
        where = (*path, "on_machine_loss")
        if given.get("on_machine_loss") == "move":
            if "machine" in given:
                message = f"a node that is to run on {given['machine']} cannot move"
                self.report.error(where, message, "drop `machine`, or name `labels` instead")
            elif "replicas" in given or "autoscale" in given:
                message = "replicas do not move: the others do their work"
                self.report.error(
                    where, message, "drop it; `spread: true` has them on many machines"
                )
        return given.get("on_machine_loss", "wait")

    def _core_kind(self, path: DocumentPath, given: Values) -> Any:
        kind = given.get("core_kind")
        if kind is not None and given.get("cores") is None:
            message = "`core_kind` is there without `cores`"
            self.report.error((*path, "core_kind"), message, "say how many: cores: 1")
        return kind

    # Operators

    def _operator_values(self, node: Values) -> dict[DocumentPath, Values]:
        found: dict[DocumentPath, Values] = {}
        if "operator" in node:
            found[("operator",)] = {"id": "op", **node["operator"]}
        for index, operator in enumerate(node.get("operators", ())):
            if operator is not None and "id" in operator:
                found[("operators", index)] = operator
        return found

    def _operators(self, path: DocumentPath, node: Values, offers: Offers) -> tuple[Operator, ...]:
        operators: dict[str, Operator] = {}
        lines: dict[str, int] = {}
        if "operators" in node and not node["operators"]:
            self.report.error((*path, "operators"), "there is no operator in this list")
        for inner, given in self._operator_values(node).items():
            place = (*path, *inner)
            id = given["id"]
            self.report.check_name((*place, "id"), id, node_id)
            mark = self.report.mark((*place, "id"))
            if id in lines:
                hint = f"the first one is in line {lines[id]}"
                self.report.error((*place, "id"), f"there are two operators {shown(id)}", hint)
                continue
            lines[id] = mark.line
            self.report.without_effect(place, given)
            inputs = inputs_of(self.report, (*place, "inputs"), given.get("inputs", {}), offers)
            outputs = outputs_of(self.report, (*place, "outputs"), given.get("outputs"))
            code = code_of(given)
            if isinstance(code, str):
                if not any(broken[: len(place)] == place for broken in self.report.broken):
                    self.report.error(place, f"the operator {shown(id)} {code}", _OPERATOR_CODE)
                continue
            if "memory" in given and code.kind != "wasm":
                self.report.error(
                    (*place, "memory"),
                    f"`memory` bounds operators in WebAssembly, and {shown(id)} is none",
                    "say it of the node, in `deploy:`",
                    key=True,
                )
            operators[id] = Operator(
                id=id,
                kind=code.kind,
                code=code.path,
                inputs=inputs,
                outputs=outputs,
                mark=mark,
                priority=given.get("priority", 0),
                deadline=given.get("deadline"),
                on_deadline_miss=given.get("on_deadline_miss", "run"),
                budget=given.get("budget"),
                memory=given.get("memory"),
                thread=given.get("thread", False),
                replicas=given.get("replicas"),
                autoscale=autoscale_of(self.report, place, given),
                restart=_restart(given),
                send_stdout_as=given.get("send_stdout_as"),
                code_mark=self.report.mark((*place, code.key)),
            )
        return tuple(operators.values())


_DOWNLOAD = "download it beside the flow file and name it in `path:`"
_OPERATOR_CODE = "give it exactly one of `python:`, `shared-library:` or `wasm:`"


def _restart(given: Values) -> Restart:
    return Restart(
        policy=given.get("restart_policy", "never"),
        max_restarts=given.get("max_restarts", 0),
        delay=given.get("restart_delay", 0.0),
        max_delay=given.get("max_restart_delay", 0.0),
        window=given.get("restart_window", 0.0),
    )


def _realtime(given: Values | None) -> Realtime | None:
    priority = None if given is None else given.get("priority")
    if given is None or priority is None:  # the schema has told that it is missing
        return None
    return Realtime(given.get("policy") or "fifo", priority)


def _some(outputs: Any) -> tuple[str, ...]:
    return tuple(output for output in outputs or () if output is not None)
