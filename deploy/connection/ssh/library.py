"""asyncssh, imported without the 30 ms that its search for an optional C library takes. Laptop."""

from __future__ import annotations

import ctypes.util
import sys
from typing import Any

if "asyncssh" not in sys.modules:
    # asyncssh looks for liboqs by starting ldconfig and a compiler; we can do without it, since
    # its post-quantum key exchange also comes with `cryptography`.
    _find_library: Any = ctypes.util.find_library
    ctypes.util.find_library = lambda name: None
    try:
        import asyncssh as asyncssh
    finally:
        ctypes.util.find_library = _find_library
else:
    import asyncssh as asyncssh

__all__ = ["asyncssh"]
