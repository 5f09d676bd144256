"""A short word with the supervisor's socket, for programs on the same machine. Python >= 3.8."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Dict, Optional


def ask(path: Path, op: str, timeout: float = 5.0, **fields: Any) -> Optional[Dict[str, Any]]:
    """The reply to one request; None when no supervisor answers within `timeout` seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
            client.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
            reply = b""
            while not reply.endswith(b"\n"):
                block = client.recv(65536)
                if not block:
                    return None
                reply += block
            answer = json.loads(reply)
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None
