"""The agent: what runs on machines, as bytes to ship, and how it is called there. Laptop only."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import deploy
from deploy.connection.base import Channel, Connection
from deploy.errors import CommandFailed, MachineError

ROOT = Path(deploy.__file__).parent.parent
ENTRIES = ("deploy.supervisor.main", "deploy.store.serve")
BOOT = (Path(deploy.__file__).parent / "supervisor" / "boot.py").read_text()
TOO_OLD = 69  # boot's exit status where Python is too old
# Not by a parser: that took longer than all else before the first word to a machine. A line of a
# text that looks like an import does no harm.
IMPORT = re.compile(
    r"^\s*(?:import (?P<plain>deploy[\w.]*)"
    r"|from (?P<module>deploy[\w.]*) import (?:\((?P<many>[^)]*)\)|(?P<names>[^\n]*)))",
    re.MULTILINE,
)
PATIENCE = 120.0  # seconds for the machine to start a Python: its disk may be about to die
MISSING = (126, 127)  # a shell's, where there is no such program
START = """\
import os, sys
from deploy.supervisor.main import main

agent = os.path.basename(os.path.dirname(os.path.abspath(__file__)))
sys.exit(main(agent, sys.argv[1], sys.argv[2], sys.argv[3:]))
"""


@dataclass(frozen=True)
class Agent:
    """`data` is a zip file of sources, `hash` its sha256; equal sources make equal bytes."""

    hash: str
    data: bytes

    @property
    def packed(self) -> bytes:
        """What boot reads after it said `need`."""
        compressed = zlib.compress(self.data, 9)
        return b"%d\n" % len(compressed) + compressed


@lru_cache(maxsize=1)
def bundle() -> Agent:
    """The agent of this version: its entry points, and all that they import."""
    sources = {"__main__.py": START}
    waiting = list(ENTRIES)
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None:
            continue
        inside = str(path.relative_to(ROOT))
        if inside in sources:
            continue
        sources[inside] = path.read_text()
        waiting += _imports(sources[inside])
        waiting += [name.rpartition(".")[0]]
    buffer = io.BytesIO()
    # Stored, not deflated: another zlib on another laptop must not make another agent.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for inside in sorted(sources):
            entry = zipfile.ZipInfo(inside, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, sources[inside])
    data = buffer.getvalue()
    return Agent(hashlib.sha256(data).hexdigest(), data)


def command(python: str, root: str, verb: str, *args: str) -> list[str]:
    """The argv that runs a verb of the agent on a machine; see `boot` for what it says first."""
    # Without the packages that are installed there: the agent needs none, and starts sooner.
    return [python, "-EsSc", BOOT, bundle().hash, root, verb, *args]


async def start(
    connection: Connection,
    python: str,
    root: str,
    verb: str,
    *args: str,
    patience: float = PATIENCE,
) -> Channel:
    """Runs a verb of the agent, which is shipped first where it is missing. What the channel gives
    is the verb's own stdout. Raises MachineError, with what to do, where there is no fit Python,
    or none that says a word in `patience` seconds."""
    channel = await connection.open_command(command(python, root, verb, *args))
    try:
        async with asyncio.timeout(patience):
            line = await channel.readline()
            if line == b"need\n":
                await channel.write(bundle().packed)
                line = await channel.readline()
        if line != b"ready\n":
            raise MachineError(
                connection.machine.id,
                f"{python} did not run the agent but said {line[:200]!r}",
                hint="does the login shell of this user print something?",
            )
    except TimeoutError as error:
        await channel.close()
        raise MachineError(
            connection.machine.id,
            f"{python} has not run the agent for {patience:g} s",
            hint=f"does its disk still answer? dora machines exec {connection.machine.id} -- dmesg",
        ) from error
    except CommandFailed as error:
        await channel.close()
        raise _explained(error, python) from error
    except BaseException:
        await channel.close()
        raise
    return channel


def _explained(error: CommandFailed, python: str) -> MachineError:
    if error.status in MISSING:
        return MachineError(
            error.machine,
            f"there is no {python!r}",
            hint="install Python 3.8 or newer there, or set `python:` in the inventory",
        )
    said = error.stderr.strip().splitlines()
    if error.status == TOO_OLD:
        return MachineError(
            error.machine, said[-1], hint="set `python:` of this machine in the inventory"
        )
    if error.status == 1 and said:
        return MachineError(error.machine, said[-1])
    return error


def _file_of(module: str) -> Path | None:
    """The source of one of our modules; None for what is not a module of ours."""
    if module.split(".")[0] != "deploy":
        return None
    path = ROOT / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(source: str) -> list[str]:
    """Our modules that a source may import; names of what is no module may be among them."""
    names = []
    for found in IMPORT.finditer(source):
        if found["plain"]:
            names.append(found["plain"])
            continue
        imported = re.findall(r"\w+", found["many"] or found["names"])
        names += [found["module"], *(f"{found['module']}.{name}" for name in imported)]
    return names
