"""Renewing the leases of a machine's units from afar: a conversation of its own. Laptop only.

What a lease is, and why an answer that is held up does no harm, is told in
`deploy.supervisor.lease`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import NoReturn

from deploy import answers
from deploy.errors import MachineError, Refused
from deploy.profile import Profile
from deploy.session import Session

OFTEN = 3.0  # how many times a lease is renewed in its time, at least
EVERY = 1.0  # seconds between two renewals, at most
SILENCE = 4.0  # seconds for an answer


def lease_of(profile: Profile) -> float | None:
    """The shortest lease of its units, in seconds; None if they have none."""
    return min((unit.lease for unit in profile.units if unit.lease), default=None)


async def keep_leases(
    session: Session,
    deployment: str,
    owner: str,
    *,
    renews: Callable[[], bool],
    heard: Callable[[], None],
) -> NoReturn:
    """Until cancelled: hears the machine about once a second (`heard` is called each time), and
    renews its leases while `renews()`. Nobody else may keep them meanwhile.

    Raises MachineError when the machine falls silent, Refused("leased") while somebody else keeps
    them.
    """
    machine = session.machine.id
    channel = await session.channel()
    mark = None
    try:
        while True:
            request = {"op": "lease", "deployment": deployment, "owner": owner}
            if mark is not None and renews():
                request["mark"] = mark
            await channel.write(json.dumps(request).encode() + b"\n")
            try:
                async with asyncio.timeout(SILENCE):
                    line = await channel.readline()
            except TimeoutError:
                raise MachineError(machine, f"silent for {SILENCE:.0f} s") from None
            if not line:
                raise MachineError(machine, "its supervisor hung up")
            reply = answers.parse(machine, line)
            answers.check(machine, "lease", reply)
            if reply.get("ok") is False:
                raise Refused(machine, str(reply.get("code")), str(reply.get("error")))
            heard()
            mark = str(reply["mark"])
            lease = reply["lease"]
            await asyncio.sleep(EVERY if lease is None else min(EVERY, lease / OFTEN))
    finally:
        await channel.close()
