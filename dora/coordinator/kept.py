"""What a deployment's nodes and operators keep on machines: looked at, or cleared. Laptop only."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import MachineError
from deploy.events import Emit, MachineFailed, ignore
from deploy.session import Session
from dora.coordinator import state_query


@dataclass(frozen=True)
class Entry:
    """`owner` is `node/operator`, or empty for what all share. `value`: of `get`, at most 1 MiB."""

    machine: str
    owner: str
    key: str
    size: int  # bytes
    value: bytes | None = None


@dataclass(frozen=True)
class Kept:
    entries: tuple[Entry, ...]
    damaged: Mapping[str, str]  # file -> what is wrong with it


async def kept(
    sessions: Mapping[str, Session],
    action: str,
    deployment: str,
    owner: str | None,
    key: str | None,
    emit: Emit = ignore,
) -> dict[str, Kept | MachineError]:
    """`action`: list, get or clear; see `state_query.answer`."""
    request = {"action": action, "deployment": deployment, "owner": owner, "key": key}

    async def one(session: Session) -> Kept | MachineError:
        try:
            return await _ask(session, request)
        except MachineError as error:
            emit(MachineFailed(session.machine.id, error))
            return error

    found = await asyncio.gather(*(one(session) for session in sessions.values()))
    return dict(zip(sessions, found, strict=True))


async def _ask(session: Session, request: Mapping[str, str | None]) -> Kept:
    name, facts = session.machine.id, session.facts
    argument = json.dumps({**request, "state": f"{facts.root}/state"})
    source = await asyncio.to_thread(Path(state_query.__file__).read_bytes)
    done = await session.connection.run([facts.python, "-I", "-", argument], source)
    if done.status != 0:
        words = done.stderr.strip().splitlines()
        raise MachineError(
            name,
            f"its Python cannot look into what is kept: {words[-1] if words else done.status}",
            hint="does it have the module sqlite3?",
        )
    answer = json.loads(done.stdout)
    return Kept(
        tuple(
            Entry(
                name,
                row["owner"],
                row["key"],
                row["bytes"],
                base64.b64decode(row["value"]) if "value" in row else None,
            )
            for row in answer["rows"]
        ),
        answer["damaged"],
    )
