"""Has the supervisor started when this machine boots, by the first way that is possible here.

Machine only; Python >= 3.8.
"""

from __future__ import annotations

import os
import pwd
import resource
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from deploy.supervisor import files, launch
from deploy.supervisor.autostart import Job, Limits
from deploy.supervisor.autostart_ways import Cron, Impossible, Systemd, UserSystemd, Way, run
from deploy.supervisor.environment import base_environment
from deploy.supervisor.files import remove
from deploy.supervisor.layout import Layout

LIMITS = {"RTPRIO": 14, "MEMLOCK": 8, "NOFILE": 7, "NICE": 13}  # Linux's numbers


class Autostarter:
    """All ways, best first."""

    def __init__(self, layout: Layout, text: str, ways: Sequence[Way]) -> None:
        """`text` is that of the script; see `launch.script`."""
        self._layout = layout
        self._text = text
        self._ways = ways

    def enable(self) -> Dict[str, Any]:
        """Takes the first way that is possible and leaves all others. Without any, the script is
        there all the same, for who knows another way. Raises OSError."""
        changed = launch.write(self._layout, self._text)
        taken: Optional[Way] = None
        refused: Dict[str, str] = {}
        for way in self._ways:
            try:
                changed |= way.enable()
            except Impossible as error:
                refused[way.name] = str(error)
                continue
            taken = way
            break
        for way in self._ways:
            if way is not taken:
                try:
                    changed |= way.disable()
                except Impossible as error:
                    refused[way.name] = f"cannot be removed: {error}"
        return self._told(None if taken is None else taken.name, refused, changed)

    def disable(self) -> Dict[str, Any]:
        """Raises OSError."""
        changed = False
        refused: Dict[str, str] = {}
        left: Optional[str] = None
        for way in self._ways:
            try:
                changed |= way.disable()
            except Impossible as error:
                left = left or way.name
                refused[way.name] = f"cannot be removed: {error}"
        if left is None and self._layout.launcher.exists():
            remove(self._layout.launcher)
            files.sync_folder(self._layout.launcher.parent)
            changed = True
        return self._told(left, refused, changed)

    def start(self) -> bool:
        """Has the supervisor started as at boot; see `Way.start`. What systemd starts outlives the
        logins of its user, whatever logind was told."""
        return any(way.start() for way in self._ways)

    def status(self) -> Dict[str, Any]:
        """What is enabled, and why what is better is not. Raises OSError."""
        refused: Dict[str, str] = {}
        for way in self._ways:
            if way.enabled() and self._layout.launcher.exists():
                return self._told(way.name, refused, False)
            try:
                way.check()
            except Impossible as error:
                refused[way.name] = str(error)
        return self._told(None, refused, False)

    def _told(self, way: Optional[str], refused: Dict[str, str], changed: bool) -> Dict[str, Any]:
        return {
            "way": way,
            "refused": refused,
            "changed": changed,
            "script": str(self._layout.launcher),
            "command": f"/bin/sh {self._layout.launcher} boot",
        }


def on_this_machine(layout: Layout, agent: str, python: str) -> Autostarter:
    user = pwd.getpwuid(os.getuid())
    job = Job(str(layout.root), str(layout.launcher), user.pw_name, limits())
    text = launch.script(layout, agent, python, base_environment())
    root = Path("/")
    ways: List[Way] = [
        Systemd(job, root, run, layout.root, uid=os.getuid()),
        UserSystemd(job, root, run, Path(user.pw_dir)),
        Cron(job, root, run),
    ]
    return Autostarter(layout, text, ways)


def limits() -> Limits:
    """Those of this process."""
    found: Limits = {}
    for name, number in LIMITS.items():
        pair = resource.getrlimit(number)
        soft, hard = (None if it == resource.RLIM_INFINITY else it for it in pair)
        found[name] = (soft, hard)
    return found
