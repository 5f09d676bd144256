"""Checks of one machine: is all well with what runs there, and will it stay so? Pure; laptop."""

from __future__ import annotations

import time
from collections.abc import Iterator

from deploy.errors import held_by
from dora.compile.scheduling import nice_limit, rtprio
from dora.coordinator.doctor.evidence import Look
from dora.coordinator.doctor.finding import Finding, error, note, warning
from dora.coordinator.doctor.fitness import Check

CLOCK = 0.2  # seconds between two machines' clocks that people do not see in logs
CERTIFICATES = 2 * 86400.0  # seconds; as far in the past may a clock be that accepts new ones
LINGERING = 600.0  # seconds after which a lock is more likely forgotten than in use
SESSIONS = 6  # channels that we use at once on a connection, with some room


def condition(look: Look) -> Iterator[Finding]:
    for check in CHECKS:
        yield from check(look)


def clock(look: Look) -> Iterator[Finding]:
    """Offsets that the measurement cannot explain."""
    away, name = look.clock.ahead, look.machine.id
    if abs(away) - look.clock.error < CLOCK:
        return
    how = f"its clock is {seconds(abs(away))} {'ahead of' if away > 0 else 'behind'} this laptop's"
    remedy = f"dora machines exec {name} -- timedatectl set-ntp true"
    if away < -CERTIFICATES:
        yield error(
            "clock",
            f"{how}: it takes certificates that are made today as not yet valid, so that its "
            "router connects to no other",
            remedy,
        )
    else:
        yield warning(
            "clock",
            f"{how}: lines of several machines in `dora logs` are in the wrong order, and times in "
            "messages cannot be compared between machines; data and deploying are not touched",
            remedy,
        )


def supervisor(look: Look) -> Iterator[Finding]:
    running = bool(look.facts.supervisor.get("running"))
    current = sorted(name for name, it in look.facts.deployments.items() if it.current is not None)
    if current and not running:
        yield error(
            "supervisor",
            f"no supervisor runs, and {', '.join(current)} should: nodes that live go on, those "
            "that end stay away",
            "dora status, which starts it",
        )
    if running and not look.ours:
        yield note(
            "supervisor",
            "its supervisor is of another version than this `dora`",
            "nothing: the next `dora deploy` replaces it without touching nodes",
        )


def boot(look: Look) -> Iterator[Finding]:
    current = [name for name, it in look.facts.deployments.items() if it.current is not None]
    if current and look.boot is None and not look.machine.embedded:
        yield warning(
            "boot",
            f"nothing starts the supervisor when the machine boots: {', '.join(sorted(current))} "
            "will not run after a reboot until somebody asks",
            f"dora machines boot enable {look.machine.id}",
        )


def trials(look: Look) -> Iterator[Finding]:
    for name, installed in look.facts.deployments.items():
        if installed.pending is not None:
            yield note(
                "trial",
                f"generation {installed.pending} of {name} is on trial: it goes back by itself "
                "unless whoever deploys confirms it",
                "wait, or deploy again",
            )


def locks(look: Look) -> Iterator[Finding]:
    for name, lock in look.locks.items():
        since = float(lock.get("since", look.now))
        old = look.now + look.clock.ahead - since > LINGERING
        yield (warning if old else note)(
            "lock",
            f"{name} is locked by {lock.get('owner')} since {at(since)}",
            f"ask them; if nobody is there any more: dora unlock {name}",
        )


def holds(look: Look) -> Iterator[Finding]:
    for hold in look.holds:
        paused = bool(hold.get("owner"))
        yield (warning if paused else note)(
            "hold",
            f"updates are {held_by(hold)}",
            f"dora machines resume {look.machine.id}, when that is over"
            if paused
            else "wait until it is over, or deploy with --wait SECONDS",
        )


def scheduling(look: Look) -> Iterator[Finding]:
    """Units that do not have the cores or the priority that they ask for."""
    user = look.facts.user
    for unit, text in look.shortfalls.items():
        if "cores" in text:
            remedy = "dora deploy once more; if that does not help, something there moves processes"
        else:
            remedy = rtprio(user) if "scheduled" in text else nice_limit(user)
        yield warning("scheduling", f"{unit} {text}", remedy)


def sshd(look: Look) -> Iterator[Finding]:
    """Limits of the real sshd; embedded machines have a server of ours."""
    if look.machine.embedded:
        return
    sessions = look.query.sshd.get("maxsessions", "")
    if sessions.isdigit() and int(sessions) < SESSIONS:
        yield warning(
            "sshd",
            f"sshd allows {sessions} sessions a connection (MaxSessions): more than one `dora` "
            "command at a time, or one with `--follow`, has to wait",
            f"MaxSessions 10 in /etc/ssh/sshd_config on {look.machine.id}",
        )
    startups = look.query.sshd.get("maxstartups", "").split(":")[0]
    if startups.isdigit() and int(startups) < 4:
        yield warning(
            "sshd",
            f"sshd drops connections at random from {startups} logins at a time on (MaxStartups)",
            f"MaxStartups 10:30:100 in /etc/ssh/sshd_config on {look.machine.id}",
        )
    if look.query.sshd.get("allowstreamlocalforwarding") in ("no", "remote"):
        yield note(
            "sshd",
            "sshd forwards no Unix sockets (AllowStreamLocalForwarding): a program is started for "
            "every question instead, which takes longer",
            f"AllowStreamLocalForwarding yes in /etc/ssh/sshd_config on {look.machine.id}",
        )


CHECKS: tuple[Check, ...] = (
    clock,
    supervisor,
    boot,
    trials,
    locks,
    holds,
    scheduling,
    sshd,
)


def seconds(value: float) -> str:
    """`0.35 s`, `12 s`, `3 min`, `5 h`, `2 days`."""
    for limit, size, unit in ((10, 1, "s"), (120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if value < limit:
            return f"{value / size:.2f} {unit}" if limit == 10 else f"{value / size:.0f} {unit}"
    return f"{value / 86400:.0f} days"


def at(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))
