"""Which cores belong together is read from the kernel, also from kernels that tell little."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.facts import Facts
from deploy.supervisor.layout import Layout
from deploy.supervisor.probe import facts
from deploy.supervisor.topology import topology


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_threads_clusters_caches_nodes_and_capacities_are_read(tmp_path: Path) -> None:
    """Two clusters of two little and two big cores, of which one is off; threads in the big."""
    system = tmp_path / "system"
    write(
        system / "cpu",
        {
            "online": "0-1,3-4",
            **{
                f"cpu{core}/topology/{name}": text
                for core, threads, cluster in (
                    (0, "0", "0-1"),
                    (1, "1", "0-1"),
                    (3, "3-4", "2-5"),
                    (4, "3-4", "2-5"),
                )
                for name, text in (
                    ("thread_siblings_list", threads),
                    ("cluster_cpus_list", cluster),
                    ("package_cpus_list", "0-5"),
                )
            },
            **{f"cpu{core}/cpu_capacity": "446" for core in (0, 1)},
            **{f"cpu{core}/cpu_capacity": "1024" for core in (3, 4)},
            "cpu3/cache/index0/level": "1",
            "cpu3/cache/index0/shared_cpu_list": "3-4",
            "cpu3/cache/index3/level": "3",
            "cpu3/cache/index3/shared_cpu_list": "1-5",
        },
    )
    write(system / "node", {"node0/cpulist": "0-1", "node1/cpulist": "2-5"})

    little = {"cluster": 0, "cache": 0, "numa": 0, "package": 0, "capacity": 446}
    big = {"physical": 3, "cluster": 3, "numa": 3, "package": 0, "capacity": 1024}
    assert [
        {"number": 0, "physical": 0, **little},
        {"number": 1, "physical": 1, **little},
        {"number": 3, **big, "cache": 1},
        {"number": 4, **big, "cache": 0},
    ] == topology(system)


def test_small_cores_of_hybrid_processors_are_known(tmp_path: Path) -> None:
    """Where the kernel tells no capacities, but which cores are the small ones."""
    write(tmp_path / "system/cpu", {"online": "0-2"})
    write(tmp_path, {"cpu_atom/cpus": "1-2"})

    assert [1024, 512, 512] == [core["capacity"] for core in topology(tmp_path / "system")]


def test_a_kernel_that_tells_nothing_has_cores_that_are_all_alike(tmp_path: Path) -> None:
    """Each one for itself, in one group."""
    write(tmp_path / "cpu", {"online": "0-1"})

    groups = {"cache": 0, "numa": 0, "package": 0, "capacity": 1024}
    assert [
        {"number": 0, "physical": 0, "cluster": 0, **groups},
        {"number": 1, "physical": 1, "cluster": 1, **groups},
    ] == topology(tmp_path)


def test_the_facts_of_this_machine_have_its_topology(tmp_path: Path) -> None:
    """Every core that we may use is in it."""
    found = Facts.from_json("here", facts(Layout(str(tmp_path))))

    assert os.sched_getaffinity(0) <= {core.number for core in found.topology}
