"""Which cores belong together, as the kernel tells it. Machine only; Python >= 3.8."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional

from deploy.supervisor.proc import parse_cores

SYSTEM = Path("/sys/devices/system")
FULL = 1024  # the capacity of a machine's biggest cores
SMALL = 512  # of those that are known to be smaller, but not by how much


def topology(system: Path = SYSTEM, devices: Optional[Path] = None) -> List[Dict[str, int]]:
    """Every core that is switched on: {number, physical, cluster, cache, numa, package, capacity}.

    Each of the groups (hardware threads of a physical core, cores of a cluster, with a common last
    level of cache, of a NUMA node, of a package) is known by the lowest number in it. What the
    kernel does not tell is as on a machine where each core is one for itself, all alike.
    """
    cpus = system / "cpu"
    online = _cores(cpus / "online") or frozenset(range(os.cpu_count() or 1))
    nodes = [_cores(it / "cpulist") for it in sorted((system / "node").glob("node[0-9]*"))]
    # hybrid processors of x86 have the small ones listed as a device of their own
    small = _cores((devices or system.parent) / "cpu_atom/cpus")
    found = []
    for core in sorted(online):
        folder = cpus / f"cpu{core}"
        threads = _group(folder / "topology/thread_siblings_list", core, online)
        package = _group(folder / "topology/package_cpus_list", core, online, min(online))
        cluster = _group(folder / "topology/cluster_cpus_list", core, online, threads)
        numa = [node & online for node in nodes if core in node]
        found.append(
            {
                "number": core,
                "physical": threads,
                "cluster": cluster,
                "cache": _cache(folder / "cache", core, online, package),
                "numa": min(numa[0]) if numa else package,
                "package": package,
                "capacity": _number(folder / "cpu_capacity", SMALL if core in small else FULL),
            }
        )
    return found


def _cache(folder: Path, core: int, online: FrozenSet[int], otherwise: int) -> int:
    """The lowest of those with which the core shares its last level of cache."""
    levels = [(_number(it / "level", 0), it) for it in folder.glob("index[0-9]*")]
    if not levels:
        return otherwise
    return _group(max(levels)[1] / "shared_cpu_list", core, online, otherwise)


def _group(file: Path, core: int, online: FrozenSet[int], otherwise: Optional[int] = None) -> int:
    members = _cores(file) & online
    if core in members:
        return min(members)
    return core if otherwise is None else otherwise


def _cores(file: Path) -> FrozenSet[int]:
    try:
        text = file.read_text().strip()
        return frozenset(parse_cores(text)) if text else frozenset()
    except (OSError, ValueError):
        return frozenset()


def _number(file: Path, otherwise: int) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return otherwise
