"""How the agent is called on its machine: as an argv, and by what runs at boot. Machine; >= 3.8.

Whatever starts the supervisor at boot names one file below the root that outlives all agents: a
script, written when that is asked for and replaced by each supervisor that takes over.
"""

from __future__ import annotations

import shlex
from typing import List, Mapping

from deploy.supervisor import files
from deploy.supervisor.layout import Layout

SCRIPT = """\
#!/bin/sh
# Starts the supervisor of {root} when this machine boots.
# Each version of it writes this file anew; `dora machines boot disable` removes it.
exec /usr/bin/env -i {environment} {command} "$@"
"""


def agent_command(layout: Layout, agent: str, python: str) -> List[str]:
    """The argv that runs an extracted agent; a verb and its arguments follow."""
    return [python, "-I", "-S", str(layout.agent(agent)), str(layout.root)]


def script(layout: Layout, agent: str, python: str, environment: Mapping[str, str]) -> str:
    """Pure: the text of the file. What runs at boot has little environment, or another one: what
    was deployed runs in that of who wrote the file."""
    pairs = [shlex.quote(f"{name}={value}") for name, value in sorted(environment.items())]
    return SCRIPT.format(
        root=_one_line(str(layout.root)),
        environment=" ".join(pairs),
        command=" ".join(map(shlex.quote, agent_command(layout, agent, python))),
    )


def write(layout: Layout, text: str) -> bool:
    """Makes the file so; whether it was otherwise. Raises OSError."""
    try:
        if layout.launcher.read_text() == text:
            return False
    except (FileNotFoundError, ValueError):
        pass
    files.write(layout.launcher, text.encode())
    return True


def refresh(layout: Layout, text: str) -> bool:
    """As `write`, where there is one already: nobody else asked for it. Raises OSError."""
    return layout.launcher.exists() and write(layout, text)


def _one_line(text: str) -> str:
    return "".join(it if it.isprintable() else "?" for it in text)
