"""What a robot of the test LAN boots from: the files of its root folder, and its first process."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

ROBOT_UID = 1000

# Arguments: root folder, host name, program of the first process. Everything that a robot mounts
# dies with its mount namespace. The kernel is this machine's; a robot that boots has another
# boot_id all the same.
INIT = """
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount -t tmpfs -o mode=755 none "$root/usr/local"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 none "$root/run"
mount -t tmpfs -o mode=1777 none "$root/tmp"
mount -t tmpfs -o mode=755 none "$root/dev"
cp "$root/proc/sys/kernel/random/uuid" "$root/run/.boot_id"
mount --bind "$root/run/.boot_id" "$root/proc/sys/kernel/random/boot_id"
mkdir -m 755 "$root/run/sshd" "$root/dev/pts" "$root/dev/shm"
mount -t tmpfs -o mode=1777 none "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
hostname "$2"
cd "$root"
pivot_root . .
umount -l .
cd /
exec /usr/bin/python3 -I -S -c "$3"
"""

# The robot's first process: reaps orphans, and ends when the bench does, however that ends; the
# kernel then ends every other process of the robot.
FIRST_PROCESS = """
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b"ready\\n")
while os.read(0, 1):
    pass
"""

SSHD_CONFIG = {
    "HostKey": "/etc/ssh/host_key",
    "PidFile": "/run/sshd.pid",
    "AuthorizedKeysFile": "/etc/ssh/authorized_keys",
    "StrictModes": "no",
    "UsePAM": "no",
    "UseDNS": "no",
    "PermitRootLogin": "prohibit-password",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "MaxStartups": "500:30:1000",
    "MaxSessions": "10",  # OpenSSH's default; said here so that it can be changed
    "Subsystem": "sftp internal-sftp",
    "AcceptEnv": "ROBOT_*",
}

_PASSWD = """root:x:0:0:root:/root:/bin/bash
sshd:x:102:65534::/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
robot:x:{uid}:{uid}:robot:/home/robot:/bin/bash
"""
_GROUP = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nrobot:x:{uid}:\n"
_SHADOW = "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\nrobot:*:19000:0:99999:7:::\n"


@dataclass(frozen=True)
class Key:
    """An ed25519 key pair in OpenSSH's own forms."""

    private: bytes
    public: str  # "ssh-ed25519 AAAA..."

    @classmethod
    def generate(cls) -> Key:
        key = Ed25519PrivateKey.generate()
        return cls(
            private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            public=key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
        )

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: SHA256:..."""
        digest = hashlib.sha256(base64.b64decode(self.public.split()[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def write(self, path: Path) -> None:
        """Writes the private key to `path` (mode 0600) and the public one beside it (`.pub`)."""
        path.touch(mode=0o600)
        path.write_bytes(self.private)
        path.with_name(path.name + ".pub").write_text(self.public + "\n")


def write_disk(root: Path, name: str, host_key: Key, authorized: str, sshd: dict[str, str]) -> None:
    """Makes the root folder of the robot `name`, whose sshd lets the key `authorized` in as root
    and as robot. `sshd` is added to, or replaces lines of, SSHD_CONFIG."""
    for folder in ("usr", "proc", "sys", "run", "tmp", "dev", "etc/ssh", "home", "opt", "srv"):
        (root / folder).mkdir(parents=True)
    for folder in ("var/log", "var/lib", "var/tmp", "var/spool/cron/crontabs"):
        (root / folder).mkdir(parents=True)
    for folder in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if Path("/usr", folder).exists():
            (root / folder).symlink_to(f"usr/{folder}")
    (root / "root").mkdir(mode=0o700)
    (root / "home/robot").mkdir(mode=0o700)
    os.chown(root / "home/robot", ROBOT_UID, ROBOT_UID)
    (root / "var/tmp").chmod(0o1777)
    root.chmod(0o755)
    _write_etc(root / "etc", name)
    host_key.write(root / "etc/ssh/host_key")
    (root / "etc/ssh/authorized_keys").write_text(authorized + "\n")
    lines = {**SSHD_CONFIG, **sshd}.items()
    (root / "etc/ssh/sshd_config").write_text("".join(f"{key} {value}\n" for key, value in lines))


def _write_etc(etc: Path, name: str) -> None:
    for shared in ("nsswitch.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives"):
        source = Path("/etc", shared)
        if source.is_dir():
            shutil.copytree(source, etc / shared, symlinks=True)
        elif source.exists():
            shutil.copy2(source, etc / shared)
    (etc / "os-release").symlink_to("../usr/lib/os-release")
    (etc / "passwd").write_text(_PASSWD.format(uid=ROBOT_UID))
    (etc / "group").write_text(_GROUP.format(uid=ROBOT_UID))
    (etc / "shadow").write_text(_SHADOW)
    (etc / "shadow").chmod(0o600)
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {name}\n")
    (etc / "machine-id").write_text(hashlib.md5(os.urandom(16)).hexdigest() + "\n")
