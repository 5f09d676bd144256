"""How long deploying takes, beside Ansible, pyinfra and rsync: `python -m benchmarks.deploy`.

Four real OpenSSH hosts in network namespaces (root, openssh-server, iproute2, rsync); the same 60
files and the same process for everyone, in turn, so that all see the same machine. What counts is
the time until every host runs what is new; dora goes on to prove that it is healthy, which is
shown beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.deploying import links
from benchmarks.deploying.deployers import Ansible, Attached, Deployer, Dora, Pyinfra, Quick, Rsync
from benchmarks.deploying.report import show, show_links
from benchmarks.deploying.site import HOSTS, Site, SiteError
from benchmarks.deploying.verdicts import Row, Sample
from tests.lan.bench import BenchError, Lan

ROOT = Path(__file__).parents[1]
NOTHING, CHANGE, FIRST = "nothing to do", "one file, restart", "60 files, first time"
SLOW = 60.0  # seconds of one run after which a deployer is not asked for another round


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deploy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each deployer, but slow ones")
    parser.add_argument(
        "--without", action="append", default=[], choices=["ansible", "pyinfra", "links"]
    )
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    if shutil.which("rsync") is None:
        console.print("[red]rsync is missing:[/] apt-get install rsync")
        return 1
    try:
        with Lan(HOSTS) as lan, tempfile.TemporaryDirectory(prefix="dora-deploying-") as folder:
            site = Site(lan, Path(folder))
            env = environment(lan, site.folder)
            bare = first_contact(site, env)
            rows = compare(site, env, chosen.without, chosen.rounds)
            alone = site.start_alone()
            show(console, rows, bare, alone)
            if "links" not in chosen.without:
                show_links(console, links.measure(site, env))
    except (SiteError, BenchError, RuntimeError) as error:
        console.print(f"[red]{error}[/]", markup=True)
        return 1
    return 0


def environment(lan: Lan, folder: Path) -> dict[str, str]:
    """What dora runs with: the hosts' keys, and compiled files as an installed program has them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    cache = os.environ.get("UV_CACHE_DIR") or os.path.expanduser("~/.cache/uv")
    return {
        "HOME": str(lan.home),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "UV_CACHE_DIR": cache,
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
        "NO_COLOR": "1",
        "DORA_STANDBY": "0",
    }


def command() -> list[str]:
    return [sys.executable, "-m", "dora.cli"]


def first_contact(site: Site, env: dict[str, str]) -> Sample:
    """Ours on machines that have never seen it: its agent, its library and all wheels go along.
    Nothing is resolved or fetched from an index in that time: a plan before it sees to that."""
    deployer = Dora(site, command(), env)
    deployer.clear()
    site.renew()
    deployer.dora("plan", "flow.yml", "--name", deployer.deployment)
    sample = timed(site, deployer, None, new=True)
    deployer.close()
    os.sync()  # what came is still on its way to the disk, and the next ones would wait for it
    return sample


def compare(site: Site, env: dict[str, str], without: Sequence[str], rounds: int) -> list[Row]:
    attached = Attached(site, command(), env)
    deployers: list[Deployer] = [
        Quick(site, command(), env),
        Dora(site, command(), env),
        Rsync(site, kept=False),
        Rsync(site, kept=True),
    ]
    if "pyinfra" not in without:
        deployers.append(Pyinfra(site))
    if "ansible" not in without:
        deployers.append(Ansible(site))
    found: dict[str, dict[str, list[Sample]]] = {FIRST: {}, NOTHING: {}, CHANGE: {}}
    slow: set[str] = set()
    try:
        for _ in range(rounds):
            for deployer in deployers:
                if deployer.name in slow:
                    continue
                deployer.clear()
                for what, before in (
                    (FIRST, site.renew),
                    (NOTHING, None),
                    (CHANGE, site.change),
                ):
                    sample = timed(site, deployer, before)
                    found[what].setdefault(deployer.name, []).append(sample)
                    if sample.done > SLOW:
                        slow.add(deployer.name)
                if isinstance(deployer, Dora):
                    deployer.stop()
            attached.attach()
            for what, before in ((NOTHING, site.save_again), (CHANGE, site.change)):
                sample = timed(site, attached, before, new=what == CHANGE)
                found[what].setdefault(attached.name, []).append(sample)
            attached.detach()
    finally:
        for deployer in (*deployers, attached):
            deployer.close()
    return [Row(what, found[what]) for what in (NOTHING, CHANGE, FIRST)]


def timed(
    site: Site, deployer: Deployer, before: Callable[[], None] | None, *, new: bool | None = None
) -> Sample:
    """One run after `before` has changed the files; `new`: whether something new is to run."""
    if before is not None:
        before()
    began, clock = time.time(), time.monotonic()
    deployer.deploy()
    done = time.monotonic() - clock
    fresh = before is not None if new is None else new
    return Sample(done, site.runs() - began if fresh else None)


if __name__ == "__main__":
    sys.exit(main())
