"""Reading secrets where the flow file says they are, on the laptop, when it deploys. Laptop only.

What is read is kept in memory, handed over through SSH, and shown nowhere.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from deploy.document import shown
from deploy.errors import Issue
from deploy.secret import KEY, KEY_SIZE, LONGEST, LONGEST_VALUE
from deploy.session import Session
from dora.compile.secrets import Contents
from dora.dataflow.model import Dataflow, SecretSource
from dora.errors import DataflowError

PATIENCE = 120.0  # seconds for a command: a person may have to unlock something


class Unavailable(Exception):
    """A secret is not where it should be. Says why and what to do, and nothing of what it is."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def read_secrets(
    dataflow: Dataflow,
    nodes: Iterable[str],
    environ: Mapping[str, str] = os.environ,
    patience: float = PATIENCE,
) -> dict[str, Contents]:
    """Node -> its secrets, for those of `nodes` that have any. Each source is asked once.

    Takes as long as commands take. Raises DataflowError with all that cannot be had."""
    read: dict[tuple[object, ...], bytes | Unavailable] = {}
    found: dict[str, Contents] = {}
    issues: list[Issue] = []
    for node in nodes:
        contents = {}
        for source in dataflow.nodes[node].secrets:
            origin = (source.file, source.env, source.command)
            if origin not in read:
                read[origin] = _attempt(source, Path(dataflow.directory), environ, patience)
            try:
                contents[source.variable] = _fitting(source, read[origin])
            except Unavailable as error:
                message = f"the secret {source.name} of {node} cannot be had: {error}"
                issues.append(source.mark.issue(message, error.hint))
        if contents:
            found[node] = contents
    if issues:
        raise DataflowError(issues)
    return found


async def reference_key(session: Session, deployment: str) -> tuple[bytes, bool]:
    """The key of a machine's references, and whether it is new and has to be handed over."""
    path = f"{session.facts.root}/secrets/{deployment}/{KEY}"
    key = await session.read(path)
    if key is not None and len(key) == KEY_SIZE:
        return key, False
    return secrets.token_bytes(KEY_SIZE), True


def _attempt(
    source: SecretSource, base: Path, environ: Mapping[str, str], patience: float
) -> bytes | Unavailable:
    try:
        if source.file is not None:
            return _of_file(base / Path(source.file).expanduser())
        if source.env is not None:
            return _of_variable(source.env, environ)
        return _of_command(source.command, base, environ, patience)
    except Unavailable as error:
        return error


def _fitting(source: SecretSource, content: bytes | Unavailable) -> bytes:
    """As it is handed over. A variable loses the line end that editors and commands put there."""
    if isinstance(content, Unavailable):
        raise content
    if len(content) > LONGEST:
        raise Unavailable(f"it has more than {LONGEST} bytes", "secrets are small; use `files:`")
    if source.path:
        return content
    value = content.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise Unavailable("it is empty")
    if b"\0" in value or len(value) > LONGEST_VALUE:
        told = "it has a NUL in it" if b"\0" in value else f"it has more than {LONGEST_VALUE} bytes"
        raise Unavailable(f"{told}, and no variable can hold that", "add `as: path`")
    return value


def _of_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST + 1)
    except FileNotFoundError:
        raise Unavailable(f"there is no file {path}") from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def _of_variable(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise Unavailable(f"the variable {name} is not set", f"export {name} and run it again")
    return os.fsencode(environ[name])


def _of_command(
    command: tuple[str, ...], base: Path, environ: Mapping[str, str], patience: float
) -> bytes:
    called = shown(command[0])
    try:
        process = subprocess.Popen(
            command,
            cwd=base,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise Unavailable(f"{called} cannot be run: {error.strerror}") from error
    with process:
        try:
            content, complaints = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Unavailable(f"{called} has not ended for {patience:g} s") from None
        finally:
            # Whoever it started may hold these open; nobody waits for them.
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    if process.returncode != 0:
        said = complaints.decode(errors="replace").strip().splitlines()
        told = f"{called} ended with {process.returncode}"
        raise Unavailable(f"{told}: {said[-1]}" if said else told)
    return content
