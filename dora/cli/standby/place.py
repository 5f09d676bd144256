"""Where a standby listens: a socket in a folder that is the user's alone. Laptop only."""

import binascii
import os
import stat

LONGEST = 100  # bytes of a socket's path; the system has room for 107


def folder() -> str:
    """For sockets and locks; it need not be there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        return f"{runtime}/dora-standby"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(f"{cache}/dora/standby")


def socket_of(likeness: str, where: str) -> str:
    """The path of the socket of who is alike. Raises OSError if it would be too long."""
    data = likeness.encode(errors="surrogateescape")
    path = f"{where}/{binascii.crc32(data):08x}.sock"
    if len(os.fsencode(path)) > LONGEST:
        raise OSError(f"{path} is too long for a socket")
    return path


def is_private(path: str) -> bool:
    """Whether it is a folder of ours that nobody else may enter."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return ours and stat.S_IMODE(found.st_mode) == 0o700


def lock_of(socket: str) -> str:
    """A file that the standby holds locked while it lives; its pid is in it."""
    return socket.removesuffix(".sock") + ".lock"


def is_held(lock: str) -> bool:
    """Whether the standby of this lock lives."""
    import fcntl

    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
