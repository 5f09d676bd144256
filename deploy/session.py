"""One machine that answers: its connection, its facts, its supervisor's ear. Laptop only."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from deploy import agent, answers
from deploy.connection.base import Channel, Connection, Connector
from deploy.errors import ConnectionLost, LockHeld, MachineError, Refused, UpdatesHeld
from deploy.events import Connected, Emit, ignore
from deploy.facts import Facts
from deploy.generation import Generation
from deploy.inventory import Machine
from deploy.profile import Profile
from deploy.whereabouts import Known, Whereabouts

Found = TypeVar("Found")

DEFAULT_ROOT = "~/.local/share/dora"
PATIENCE = 120.0  # seconds; only `stop` takes long, when units are deaf
SILENT = 2.0  # seconds in which a supervisor that is known has to answer
STAYS = 15.0  # seconds; a supervisor that nobody gives work or talks to leaves after twice that
_NOT_THERE = 66  # the exit code by which a machine says that a file is not there
CROWDED = 1.0  # seconds without a channel, after which one that only waits makes room for it


class Session:
    """What the laptop says to one machine. Requests go over one control channel, in turn; locks
    live as long as that channel. Bulk copies get a connection of their own (`bulk`), so that a push
    never hides a heartbeat; `work` is the machine's store, which waits for what is small."""

    def __init__(
        self,
        connector: Connector,
        connection: Connection,
        facts: Facts,
        *,
        seen: Mapping[str, Any] | None = None,
        work: Channel | None = None,
        control: Channel | None = None,
        known: Known | None = None,
    ) -> None:
        self.machine = connection.machine
        self.facts = facts
        self.connection = connection
        self._connector = connector
        self._seen = seen or {}  # of one deployment, at the moment of `facts`
        self._bulk: Connection | None = None
        self._work = work
        self._control = control
        self._known = known
        self._began = time.monotonic()
        self._starts = False  # a supervisor: `work` will say what came of it
        self._hello: dict[str, Any] | None = None
        self._stays = False  # it waits for what we have for it
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        connector: Connector,
        machine: Machine,
        emit: Emit = ignore,
        *,
        deployment: str | None = None,
        known: Known | None = None,
        starting: bool = False,
    ) -> Session:
        """Connects and reads the machine's facts; ships the agent if the machine lacks it. With
        `deployment` all that deploying it asks first is answered in the same breath, and the
        machine's store waits until something is copied, or for `rest`; with `starting`, too, a
        supervisor starts meanwhile where none runs. Where the supervisor is `known` to listen, and
        is of this version, it is asked, and no program started there.
        Raises ConnectionFailed, ConnectionLost or MachineError."""
        began = time.monotonic()
        connection = await connector.connect(machine)
        work = None
        where = None if known is None else known.of(machine)
        try:
            if where is not None and (met := await _meet(connection, where, deployment)):
                control, answer = met
                facts = Facts.from_json(machine.id, answer)
                emit(Connected(machine.id, time.monotonic() - began))
                seen = answer.get("seen")
                return cls(connector, connection, facts, seen=seen, control=control, known=known)
            if deployment is None:
                answer = await _answer(connection, machine, "probe")
            else:
                verb = ("work", deployment, "start") if starting else ("work", deployment)
                work = await agent.start(connection, *_where(machine), *verb)
                answer = await _line_of(work, machine)
            facts = Facts.from_json(machine.id, answer)
        except BaseException:
            await connection.close()
            raise
        if known is not None:
            known.note(machine, facts)
        emit(Connected(machine.id, time.monotonic() - began))
        session = cls(connector, connection, facts, seen=answer.get("seen"), work=work, known=known)
        session._starts = starting and work is not None
        session._stays = session._starts
        return session

    async def again(self) -> Session:
        """The same machine over a new connection; that proves that it can still be entered.
        Raises ConnectionFailed."""
        connection = await self._connector.connect(self.machine)
        return Session(self._connector, connection, self.facts)

    async def look(self, deployment: str | None = None) -> None:
        """Reads the machine's facts anew, with what there is of `deployment` (None: of the one that
        was asked for before). Raises MachineError."""
        deployment = deployment or self._seen.get("deployment")
        arguments = () if deployment is None else (deployment,)
        if self.runs_our_supervisor:
            answer = await self.request("facts", deployment=deployment)
        else:
            answer = await self._in_turn(
                _answer(self.connection, self.machine, "probe", *arguments)
            )
        self.facts = Facts.from_json(self.machine.id, answer)
        self._seen = answer.get("seen") or {}

    async def asked_again_if_gone(self, ask: Callable[[], Awaitable[Found]]) -> Found:
        """What `ask` finds out. A supervisor that ran when we looked may have left since, for want
        of work, while others were waited for: then the facts are read anew, and `ask` is called
        once more. Raises what `ask` does, or MachineError."""
        try:
            return await ask()
        except Refused:
            raise
        except MachineError:
            if not self.facts.supervisor.get("running"):
                raise
            answer = await self._in_turn(_answer(self.connection, self.machine, "probe"))
            facts = Facts.from_json(self.machine.id, answer)
            if facts.supervisor.get("running"):
                raise
        self.facts, self._seen = facts, {}
        return await ask()

    @property
    def runs_our_supervisor(self) -> bool:
        """Whether one of this version was running when we looked."""
        found = self.facts.supervisor
        return bool(found.get("running")) and found.get("agent") == agent.bundle().hash

    async def start_supervisor(self) -> None:
        """Makes sure that a supervisor of this version runs; units that run are not touched."""
        hello = await self._started()
        if hello is None or time.monotonic() - self._began > STAYS:
            opening = _answer(self.connection, self.machine, "start")
            hello = await self._in_turn(opening)
        self._hello = None
        self._stays = True
        self.facts = replace(self.facts, supervisor={**hello, "running": True})
        if self._known is not None:
            self._known.note(self.machine, self.facts)

    async def _started(self) -> dict[str, Any] | None:
        """The word of a supervisor that was started while we did other things; None if none was
        asked for. Raises MachineError where that went wrong; once, then nothing is known of it."""
        if self._starts and self._work is not None:
            self._starts = False
            self._hello = await _line_of(self._work, self.machine)
        return self._hello

    async def _dismiss(self) -> None:
        """A supervisor that has nothing to do need not wait for more of us."""
        self._stays = False
        try:
            async with asyncio.timeout(SILENT):
                await self._started()
                await self.request("hello", leave=True)
        except (MachineError, TimeoutError):
            return  # it leaves a little later

    async def autostart(self, act: str) -> dict[str, Any]:
        """Whether the machine starts its supervisor at boot: `enable`, `disable` or `status`; see
        `deploy.supervisor.autostarter`. Raises MachineError."""
        return await self._in_turn(_answer(self.connection, self.machine, "autostart", act))

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """One request, one answer. Raises Refused (LockHeld for locks) or ConnectionLost."""
        async with self._turn:
            if self._control is None:
                self._control = await self.channel()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._control.write(_line({"op": op, **fields}))
                    reply = self._parse(await self._control.readline())
            except TimeoutError as error:
                await self._control.close()
                self._control = None
                raise MachineError(
                    self.machine.id,
                    f"its supervisor has not answered {op!r} for {PATIENCE:.0f} s",
                    hint=f"is it stopped? `ps` on {self.machine.id} tells; run the command again",
                ) from error
            except BaseException:
                # Half a conversation cannot be continued: the next request opens a new one.
                await self._control.close()
                self._control = None
                raise
        return self._checked(op, fields, reply)

    async def stream(self, op: str, **fields: Any) -> AsyncGenerator[dict[str, Any], None]:
        """A request that is answered by many lines, on a channel of its own."""
        channel = await self.channel()
        try:
            await channel.write(_line({"op": op, **fields}))
            while line := await channel.readline():
                yield self._checked(op, fields, self._parse(line))
        finally:
            await channel.close()

    async def channel(self) -> Channel:
        """A new channel to the supervisor's socket, over a bridge where sshd forbids forwarding."""
        try:
            return await self._in_turn(
                self.connection.open_socket(f"{self.facts.run}/supervisor.sock")
            )
        except ConnectionLost:
            raise
        except MachineError:
            return await agent.start(self.connection, *_where(self.machine), "bridge")

    async def open_store(self, *args: str) -> Channel:
        """A verb of the machine's store (`deploy.store.serve`), on the bulk connection."""
        if self._bulk is None:
            self._bulk = await self._connector.connect(self.machine)
        return await agent.start(self._bulk, *_where(self.machine), "store", *args)

    async def open_work(self, *args: str) -> Channel:
        """The same on the connection that is there: at once, if the store waits already. What is
        long does not belong here, as nothing is heard of the machine meanwhile."""
        if self._work is None:
            await self.warm()
        await self._started()
        assert self._work is not None
        channel, self._work = self._work, None
        return channel

    async def warm(self) -> None:
        """Has the machine's store wait for what will be copied."""
        if self._work is None:
            self._work = await self._store_of_supervisor() or await agent.start(
                self.connection, *_where(self.machine), "store", "session"
            )

    async def _store_of_supervisor(self) -> Channel | None:
        """It forks, where another way a program has to start. None where we talk to none."""
        if self._control is None or not self.runs_our_supervisor:
            return None
        channel = await self.channel()
        try:
            await channel.write(_line({"op": "store"}))
            self._checked("store", {}, self._parse(await channel.readline()))
        except (Refused, ConnectionLost):
            await channel.close()
            return None
        except BaseException:
            await channel.close()
            raise
        return channel

    async def rest(self) -> None:
        """Nothing will be copied for now: the store need not wait any longer."""
        channel, self._work, self._starts = self._work, None, False
        if channel is not None:
            await channel.close()

    async def generation(self, deployment: str) -> Generation | None:
        """The current generation, read from the machine's disk: works without a supervisor.
        Raises MachineError when what is there cannot be read."""
        if self._seen.get("deployment") == deployment and "generation" in self._seen:
            data = self._seen["generation"]
            try:
                return None if data is None else Generation.from_json(data)
            except (KeyError, TypeError, ValueError):
                pass  # the file itself says more
        installed = self.facts.deployments.get(deployment)
        if installed is None or installed.current is None:
            return None
        path = f"{self.facts.root}/deployments/{deployment}/generations/{installed.current}.json"
        data = await self.read(path)
        try:
            return Generation.from_json(json.loads(data or b""))
        except (KeyError, TypeError, ValueError) as error:
            raise MachineError(
                self.machine.id,
                f"{path} is not a generation ({error})",
                hint=f"move it away on {self.machine.id} and deploy again",
            ) from error

    async def profile(self, deployment: str) -> Profile | None:
        generation = await self.generation(deployment)
        return generation.profile if generation else None

    async def certificate(self, deployment: str, name: str) -> str | None:
        """The text of a certificate among a deployment's secrets; None if it is not there."""
        if self._seen.get("deployment") == deployment:
            found = self._seen.get("certificates", {}).get(name)
            return None if found is None else str(found)
        data = await self.read(f"{self.facts.root}/secrets/{deployment}/{name}")
        return data.decode() if data else None

    async def read(self, path: str) -> bytes | None:
        """A small file of the machine; None if it is not there. Raises MachineError."""
        word = shlex.quote(path)
        script = f"if test -e {word}; then cat {word}; else exit {_NOT_THERE}; fi"
        done = await self._in_turn(self.connection.run(["sh", "-c", script]))
        if done.status == _NOT_THERE:
            return None
        if done.status != 0:
            told = done.stderr.strip() or f"cat exited with {done.status}"
            raise MachineError(self.machine.id, f"cannot read {path}: {told}")
        return done.stdout

    async def _in_turn(self, opening: Coroutine[Any, Any, Found]) -> Found:
        """sshd may allow few sessions: the store's is given up where others would wait for it."""
        if self._work is None:
            return await opening
        task = asyncio.create_task(opening)
        try:
            done, _ = await asyncio.wait({task}, timeout=CROWDED)
            if not done:
                await self.rest()
            return await task
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def close(self) -> None:
        if self._stays:
            await self._dismiss()
        for part in (self._control, self._work, self._bulk, self.connection):
            if part is not None:
                await part.close()

    def _parse(self, line: bytes) -> dict[str, Any]:
        if not line:
            raise ConnectionLost(self.machine.id, "its supervisor hung up")
        return answers.parse(self.machine.id, line)

    def _checked(self, op: str, fields: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        answers.check(self.machine.id, op, reply)
        if reply.get("ok") is not False:
            return reply
        if reply.get("code") == "locked":
            owner, since = str(reply.get("owner")), float(reply.get("since", 0))
            raise LockHeld(self.machine.id, str(fields.get("deployment")), owner, since)
        if reply.get("code") == "held":
            raise UpdatesHeld(self.machine.id, reply.get("holds", ()))
        code, error = str(reply.get("code", "")), str(reply.get("error", f"{op} was refused"))
        again = "a plan that is made now gives other cores" if code == "cores_taken" else None
        raise Refused(self.machine.id, code, error, hint=again)


async def _answer(
    connection: Connection, machine: Machine, verb: str, *args: str
) -> dict[str, Any]:
    """Runs a verb of the agent that answers one JSON line."""
    channel = await agent.start(connection, *_where(machine), verb, *args)
    try:
        return await _line_of(channel, machine)
    finally:
        await channel.close()


async def _meet(
    connection: Connection, where: Whereabouts, deployment: str | None
) -> tuple[Channel, dict[str, Any]] | None:
    """The channel to a supervisor of this version, and its facts; None if there is none there."""
    try:
        channel = await connection.open_socket(where.socket)
    except ConnectionLost:
        raise
    except MachineError:
        return None
    try:
        fields = {} if deployment is None else {"deployment": deployment}
        await channel.write(_line({"op": "facts", **fields}))
        async with asyncio.timeout(SILENT):
            answer = json.loads(await channel.readline())
        if answer["supervisor"]["agent"] == agent.bundle().hash:
            same = answer["python"]["executable"] == where.python
            if same and f"{answer['run']}/supervisor.sock" == where.socket:
                return channel, answer
    except (ValueError, KeyError, TypeError, RecursionError, TimeoutError):
        pass  # an older one, or one that hangs: the probe says more
    except ConnectionLost:
        pass  # it ended, or the connection did: the probe meets the same
    except BaseException:
        await channel.close()
        raise
    await channel.close()
    return None


async def _line_of(channel: Channel, machine: Machine) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PATIENCE):
            line = await channel.readline()
    except TimeoutError as error:
        raise MachineError(
            machine.id,
            f"its agent has not answered for {PATIENCE:.0f} s",
            hint=f"does its disk still answer? dora machines exec {machine.id} -- dmesg",
        ) from error
    answer = answers.parse(machine.id, line, "the agent")
    if answer.get("ok") is False:
        raise MachineError(machine.id, str(answer.get("error", answer)), hint=answer.get("hint"))
    return answer


def _where(machine: Machine) -> tuple[str, str]:
    return machine.agent_python, machine.store or DEFAULT_ROOT


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"
