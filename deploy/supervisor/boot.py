# ruff: noqa: E402, UP031, UP036
"""Runs the agent of a machine, after fetching it over stdin if it is not there. Machine only.

Sent as `python -c <this file> hash root verb ...`, so it must parse on Python 2.7 and stay small.
Says `need` and reads a line with a length and as many bytes of zlib; then, always, says `ready`.
"""

import sys

sys.path = [p for p in sys.path if p]  # `-c` puts the current folder first: not our modules
if sys.version_info < (3, 8):
    sys.stderr.write(
        "Python 3.8 or newer is needed on this machine; %s is Python %s\n"
        % (sys.executable, ".".join(map(str, sys.version_info[:3])))
    )
    sys.exit(69)
import os


def fetch(agents, digest):
    # type: (str, str) -> None
    """Puts the agent from stdin into its place, whole or not at all."""
    # Mostly it is there, and then nobody waits for these.
    import fcntl
    import hashlib
    import io
    import shutil
    import tempfile
    import zipfile
    import zlib

    os.write(1, b"need\n")
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("the laptop hung up before it had sent the agent")
        line += byte
    missing, parts = int(line), []
    while missing:
        part = os.read(0, min(missing, 65536))
        if not part:
            sys.exit("the laptop hung up while it sent the agent")
        parts.append(part)
        missing -= len(part)
    data = zlib.decompress(b"".join(parts))
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit("the agent was damaged on its way; nothing was installed")
    mask = os.umask(0o077)
    os.makedirs(agents, exist_ok=True)
    os.umask(mask)
    folder = tempfile.mkdtemp(prefix=".incoming-", dir=agents)
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)  # what nobody holds was left by somebody who died
    try:
        zipfile.ZipFile(io.BytesIO(data)).extractall(folder)
        for where, _, names in os.walk(folder):
            for name in [os.path.join(where, n) for n in names] + [where]:
                flushed = os.open(name, os.O_RDONLY)
                os.fsync(flushed)
                os.close(flushed)
        os.rename(folder, os.path.join(agents, digest))
    except OSError:
        # another laptop may have brought the same agent meanwhile
        if not os.path.isdir(os.path.join(agents, digest)):
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


digest, root, verb = sys.argv[1:4]
agents = os.path.join(os.path.abspath(os.path.expanduser(root)), "agent")
place = os.path.join(agents, digest)
try:
    if not os.path.isdir(place):
        fetch(agents, digest)
    os.write(1, b"ready\n")
except BrokenPipeError:
    sys.exit(1)
except OSError as error:
    sys.exit("the agent cannot be installed below %s: %s" % (root, error))
sys.path.insert(0, place)
from deploy.supervisor.main import main

sys.exit(main(digest, root, verb, sys.argv[4:]))
