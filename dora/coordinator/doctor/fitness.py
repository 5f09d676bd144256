"""Checks of one machine: can it run nodes at all? Pure; laptop only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deploy.facts import Facts
from deploy.inventory import Machine
from dora.compile.compile import NODE_PYTHON
from dora.coordinator.doctor.evidence import Look
from dora.coordinator.doctor.finding import Finding, error, note, warning

ROOM = 1_000_000_000  # bytes; a first closure with pyarrow and matplotlib takes about a third
INODES = 20_000  # about as many files as such a closure has
SHM_ROOM = 64_000_000  # bytes
OPEN_FILES = 1024

MODULES = {
    "sqlite3": "state of operators and nodes",
    "ssl": "https in nodes",
    "ctypes": "pyarrow and numpy",
}

Check = Callable[[Look], Iterator[Finding]]


def facts_findings(machine: Machine, facts: Facts) -> tuple[Finding, ...]:
    """What a machine's facts alone say against running dataflows there."""
    # With an archive in the inventory nodes bring their Python along.
    version = () if machine.python_archive else _python_version(facts)
    return (*version, *_taskset(facts), *_disk(facts))


def _python_version(facts: Facts) -> Iterator[Finding]:
    if facts.python_version[:2] < NODE_PYTHON:
        version = ".".join(map(str, facts.python_version))
        yield error(
            "python",
            f"its Python is {version}; nodes need 3.10 or newer",
            "install one and name it: `python: /usr/bin/python3.11` in the inventory",
        )


def _taskset(facts: Facts) -> Iterator[Finding]:
    if not facts.taskset:
        yield error(
            "taskset",
            "there is no taskset",
            "apt-get install util-linux; without it nothing is pinned",
        )


def _disk(facts: Facts) -> Iterator[Finding]:
    if facts.disk_free < ROOM:
        yield warning(
            "disk",
            f"{facts.disk_free / 1e6:.1f} MB are free below {facts.root}",
            "free some (`dora gc` removes old generations), or move `store:` in the inventory to "
            "a larger disk",
        )


def fitness(look: Look) -> Iterator[Finding]:
    """All that keeps the machine from running nodes."""
    yield from facts_findings(look.machine, look.facts)
    for check in CHECKS:
        yield from check(look)


def python(look: Look) -> Iterator[Finding]:
    """Its modules, and whether it may vanish."""
    if look.machine.python_archive:
        return
    for name in look.query.missing_modules:
        yield warning(
            "python",
            f"{look.facts.python} has no module {name}, which {MODULES.get(name, 'nodes')} needs",
            "install a whole Python (Debian: apt-get install python3), and name it with `python:` "
            "in the inventory",
        )
    if look.query.environment is not None:
        yield note(
            "python",
            f"its Python belongs to the virtual environment {look.query.environment}: nodes end "
            "when somebody removes that, and its packages are not used",
            "name the Python that it was made of with `python:` in the inventory",
        )


def store(look: Look) -> Iterator[Finding]:
    """Whether closures can lie and run where they are to."""
    root = look.facts.root
    if not look.query.writable:
        yield error(
            "disk",
            f"{look.facts.user} may not write to {root}",
            f"let them (chown {look.facts.user} {root}), or choose another `store:` in the "
            "inventory",
        )
    if look.query.noexec:
        yield error(
            "disk",
            f"{root} is on a disk that is mounted `noexec`: compiled packages and programs cannot "
            "be loaded from there",
            "mount it without `noexec`, or move `store:` in the inventory",
        )
    if look.query.inodes_free is not None and look.query.inodes_free < INODES:
        yield warning(
            "disk",
            f"the disk of {root} has room for {look.query.inodes_free} more files only",
            "remove some (`dora gc` removes old generations), or move `store:` in the inventory",
        )


def shared_memory(look: Look) -> Iterator[Finding]:
    """memfd is what edges within a machine use; /dev/shm is what libraries in nodes use."""
    if not look.query.memfd:
        yield error(
            "memfd",
            "memory without a name (memfd_create) is not to be had: edges within the machine do "
            "not work",
            "use Linux 3.17 or newer with glibc 2.27 or newer, or `communication: {layer: zenoh}`",
        )
    if look.query.shm_free is None or not look.query.shm_writable:
        yield note(
            "shm",
            "/dev/shm is not there, or not ours to write: we do not need it, but multiprocessing "
            "and PyTorch in nodes do",
            "mount -t tmpfs -o mode=1777 tmpfs /dev/shm",
        )
    elif look.query.shm_free < SHM_ROOM:
        yield note(
            "shm",
            f"{look.query.shm_free / 1e6:.1f} MB are free in /dev/shm: we do not need it, but "
            "multiprocessing and PyTorch in nodes do",
            "mount -o remount,size=256M /dev/shm (of a container: --shm-size)",
        )


def limits(look: Look) -> Iterator[Finding]:
    """Memory limits that the kernel keeps, and how many files may be open."""
    if not look.query.cgroups_ours:
        why = "there is no memory controller"
        remedy = "start the kernel with cgroup_enable=memory"
        if look.query.cgroups:
            why = f"{look.facts.user} may make none"
            remedy = "run the supervisor by systemd with `Delegate=yes`, or log in as root"
        yield note(
            "cgroups",
            f"no control groups for nodes ({why}): `memory:` is kept by looking at them once a "
            "second, not by the kernel",
            remedy,
        )
    if look.query.open_files < OPEN_FILES:
        yield warning(
            "open_files",
            f"a process may have {look.query.open_files} files open; a node with many inputs needs "
            "more",
            "raise `nofile` in /etc/security/limits.conf",
        )


def cores(look: Look) -> Iterator[Finding]:
    """Cores that the inventory names have to be there."""
    missing = sorted(set(look.machine.cores or ()) - set(look.facts.cores))
    if missing:
        yield error(
            "cores",
            f"the inventory gives it cores {', '.join(map(str, missing))}, which are not ours to "
            f"use there; there are {', '.join(map(str, look.facts.cores))}",
            f"correct `cores:` of {look.machine.id} in the inventory",
        )


CHECKS: tuple[Check, ...] = (python, store, shared_memory, limits, cores)
