"""All in which two processes of a user have to be alike for one to do the other's work. Laptop.

It decides which standby a command may use: where anything of this differs, there is none for it.
What is handed over with each command is not in it: words, folder, umask, environment, open files.
"""

import os
import sys

# Of the environment, what was read while the program was loaded, or by the C library before that.
READ_EARLY = (
    "PYTHON", "HOME", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "CRYPTOGRAPHY_",
    "NETWORKX_", "RUAMEL",
)  # fmt: skip
# Of /proc/self/status: rights, processors, and signals that are ignored or blocked.
STATUS = (
    b"Uid", b"Gid", b"Groups", b"Cap", b"NoNewPrivs", b"Seccomp", b"Cpus_allowed", b"Mems_allowed",
    b"SigBlk", b"SigIgn",
)  # fmt: skip


def likeness() -> str | None:
    """As a text, without zero bytes; None where a process is like no other. Raises OSError."""
    session = os.getsid(0)
    if session == os.getpid() or sys.gettrace() or sys.getprofile():
        return None  # its session ends with it, or somebody watches what it does
    flags = (sys.flags, sys.warnoptions, sorted(sys._xoptions.items()))
    program = (sys.version, sys.executable, sys.prefix, sys.path, __file__)
    early = sorted(it for it in os.environ.items() if it[0].startswith(READ_EARLY))
    scheduled = (os.nice(0), os.sched_getscheduler(0))
    return repr((session, program, flags, early, scheduled, *_of_the_kernel()))


def _of_the_kernel() -> list[object]:
    status = [line for line in _read("status").splitlines() if line.startswith(STATUS)]
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in sorted(os.listdir("/proc/self/ns"))]
    files = [_read(name) for name in ("limits", "cgroup", "oom_score_adj")]
    return [status, spaces, files, os.readlink("/proc/self/root")]


def _read(name: str) -> bytes:
    with open(f"/proc/self/{name}", "rb", buffering=0) as file:
        return file.read(65536)
