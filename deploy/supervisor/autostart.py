"""What starts the supervisor when its machine boots: what is written where. Pure; machine; >= 3.8.

There are three ways; the first that is possible is taken. Each runs the script of `launch`.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

SYSTEM, USER, CRON = WAYS = ("systemd", "systemd-user", "cron")

# Units outlive a supervisor (KillMode), also one that died (Restart), and the death of one by the
# kernel's hand is the unit's matter (OOMPolicy). Those that need a control group may make one.
SERVICE = """\
# Written by `dora machines boot enable`, removed by `dora machines boot disable`.
[Unit]
Description=dora supervisor of {title}
{order}
StartLimitIntervalSec=0

[Service]
Type=simple
{user}ExecStart=/bin/sh {script} supervise
KillMode=process
Restart=on-failure
RestartSec=1
OOMPolicy=continue
Delegate=yes
TasksMax=infinity
{limits}
[Install]
WantedBy={target}
"""

Limits = Dict[str, Tuple[Optional[int], Optional[int]]]


@dataclass(frozen=True)
class Job:
    """`script` is to run as `user` at boot, for the store in `root`. `limits` are those of who
    asks, soft and hard by systemd's names (None: none): a login has others than a service."""

    root: str
    script: str
    user: str
    limits: Limits

    @property
    def service(self) -> str:
        """The name of its unit."""
        return f"dora-{hashlib.sha256(self.root.encode()).hexdigest()[:8]}.service"


def system_unit(job: Job) -> str:
    """Does not wait for a network: nodes of one machine need none."""
    mounts = f"RequiresMountsFor={quoted(job.root)}\nAfter=network.target"
    limits = "".join(
        f"Limit{name}={_limit(soft)}:{_limit(hard)}\n"
        for name, (soft, hard) in sorted(job.limits.items())
    )
    return SERVICE.format(
        title=_percent(job.root),
        order=mounts,
        user=f"User={_percent(job.user)}\n",
        script=quoted(job.script),
        limits=limits,
        target="multi-user.target",
    )


def user_unit(job: Job) -> str:
    """For the user's own systemd, which has the limits that it has."""
    return SERVICE.format(
        title=_percent(job.root),
        order="After=basic.target",
        user="",
        script=quoted(job.script),
        limits="",
        target="default.target",
    )


def cron_line(job: Job) -> str:
    """A failure is written to stderr, which cron sends to the user."""
    command = f"{_cron_command(job)} # dora machines boot"
    return f"@reboot {command}"


def crontab_with(text: str, job: Job) -> str:
    """The user's table, whose other lines stay, with the job in it once."""
    line = cron_line(job)
    if [it for it in text.splitlines() if _is_ours(it, job)] == [line]:
        return text
    rest = crontab_without(text, job)
    return rest + ("\n" if rest and not rest.endswith("\n") else "") + line + "\n"


def crontab_without(text: str, job: Job) -> str:
    return "".join(it for it in text.splitlines(keepends=True) if not _is_ours(it, job))


def quoted(text: str) -> str:
    """A word of a unit file: neither `%` nor `$` nor quotes mean anything in it."""
    inside = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_percent(inside)}"'


def _cron_command(job: Job) -> str:
    # For cron, `%` ends the command, also within quotes.
    return f"/bin/sh {shlex.quote(job.script)} boot".replace("%", "\\%")


def _is_ours(line: str, job: Job) -> bool:
    return line.startswith("@reboot ") and _cron_command(job) in line


def _percent(text: str) -> str:
    return text.replace("%", "%%")


def _limit(value: Optional[int]) -> str:
    return "infinity" if value is None else str(value)
