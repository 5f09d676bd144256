"""Two network namespaces with a link between them: two machines as far as sockets can tell."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack

SIDES = ("near", "far")
WIRE = "wire"

# Zenoh, which dora-rs uses, would find that both machines are one and pass large messages through
# its shared memory instead of the wire.
_OWN_MEMORY = 'mount -t tmpfs none /dev/shm && exec "$@"'


class NetworkError(Exception):
    """Namespaces cannot be made here."""


class Network:
    """A context manager. Raises NetworkError where namespaces cannot be made."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._prefix = f"dora-bench-{os.getpid()}"

    def __enter__(self) -> Network:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise NetworkError("network namespaces need root and iproute2")
        with ExitStack() as stack:
            for side in SIDES:
                _ip("netns", "add", self._name(side))
                stack.callback(_ip, "netns", "delete", self._name(side))
            # Both ends are born inside, so that no name of this machine's is taken.
            near, far = (self._name(side) for side in SIDES)
            peer = ("type", "veth", "peer", "name", WIRE, "netns", far)
            _ip("-n", near, "link", "add", "name", WIRE, *peer)
            for side in SIDES:
                name = self._name(side)
                _ip("-n", name, "address", "add", f"{self.address(side)}/24", "dev", WIRE)
                for device in ("lo", WIRE):
                    _ip("-n", name, "link", "set", device, "up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def address(self, side: str) -> str:
        return f"10.79.0.{1 + SIDES.index(side)}"

    def inside(self, side: str) -> list[str]:
        """What a command line begins with to run there."""
        return ["ip", "netns", "exec", self._name(side), "sh", "-c", _OWN_MEMORY, "sh"]

    def _name(self, side: str) -> str:
        return f"{self._prefix}-{side}"


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise NetworkError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
