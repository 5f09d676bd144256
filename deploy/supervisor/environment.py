"""What is in the environment of all that runs on a machine. Machine only; Python >= 3.8."""

from __future__ import annotations

import os
import pwd
from typing import Dict

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_environment() -> Dict[str, str]:
    user = pwd.getpwuid(os.getuid())
    return {
        "HOME": os.environ.get("HOME") or user.pw_dir,
        "PATH": os.environ.get("PATH") or DEFAULT_PATH,
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "USER": os.environ.get("USER") or user.pw_name,
    }
