"""What travels, and how quickly: measured at the hosts' links, beside rsync."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.deploying.deployers import run
from benchmarks.deploying.site import USER, Site
from deploy.build.workshop import Workshop
from deploy.connection.connect import Connections
from deploy.deployment import Files
from deploy.inventory import loads
from deploy.session import Session
from deploy.store.path import Manifest
from deploy.store.remote import RemoteStore

MB = 1_000_000
MBIT = MB / 8
GIGABYTE_FILES = 1000
SLOW, WIFI = 300.0, 20.0  # Mbit/s
PACKED = 100.0  # Mbit/s, at which packing pays on any laptop: so that both are packed
NODE = "import time\nfrom dora import Node\nfor _ in Node():\n    pass\n"


@dataclass(frozen=True)
class Finding:
    what: str
    ours: str
    peer: str
    met: bool | None = None


Findings = list[Finding]


def measure(site: Site, env: Mapping[str, str]) -> Findings:
    os.environ["HOME"] = env["HOME"]  # for the connections that are opened here
    return [*gigabyte(site), *wheels(site, env), *asyncio.run(rates(site))]


def gigabyte(site: Site) -> Iterator[Finding]:
    """One file of 2 KB changes in a tree of a thousand files and one gigabyte."""
    tree = _tree(site.folder / "gigabyte", [MB] * GIGABYTE_FILES)
    asyncio.run(_send(site, 1, tree))
    _rsync(site, 1, tree)
    (tree / "0000").write_bytes(os.urandom(2000))
    ours = _traffic(site, 1, lambda: asyncio.run(_send(site, 1, tree)))
    peer = _traffic(site, 1, lambda: _rsync(site, 1, tree))
    met = ours < 1000 * 1000
    yield Finding("bytes to the host: 2 KB changed in 1 GB", _kb(ours), _kb(peer), met)
    shutil.rmtree(tree)
    for name in ("rsync-tree", ".local/share/dora/store"):
        shutil.rmtree(site.lan.path(1, f"/home/{USER}/{name}"), ignore_errors=True)


def wheels(site: Site, env: Mapping[str, str]) -> Iterator[Finding]:
    """One node on one host, ten on another; both had nothing, and need the same packages."""
    sent = {}
    for i, count in ((2, 1), (3, 10)):
        shutil.rmtree(site.lan.path(i, f"/home/{USER}/.local"), ignore_errors=True)
        folder = site.folder / f"wheels{count}"
        folder.mkdir()
        (folder / "node.py").write_text(NODE)
        (folder / "machines.yml").write_text(site.lan.inventory_text(user=USER))
        node = {"path": "node.py", "inputs": {"tick": "dora/timer/millis/60000"}}
        where = {"machine": site.lan.name(i)}
        nodes = [{"id": f"n{number}", **node, "deploy": where} for number in range(count)]
        (folder / "flow.yml").write_text(json.dumps({"nodes": nodes}))
        dora = [sys.executable, "-m", "dora.cli"]
        name = ["--name", f"wheels{count}", "--limit", site.lan.name(i)]
        site.lan.rate(i, PACKED)
        sent[count] = _traffic(
            site,
            i,
            lambda: run([*dora, "deploy", "flow.yml", *name, "--detach"], folder, dict(env)),  # noqa: B023
        )
        site.lan.rate(i, None)
        run([*dora, "stop", f"wheels{count}", "--limit", site.lan.name(i)], folder, dict(env))
    met = sent[10] < 1.05 * sent[1]
    yield Finding("bytes to the host: packages for one node", _kb(sent[1]), "")
    yield Finding("the same for ten nodes", _kb(sent[10]), "", met)


async def rates(site: Site) -> Findings:
    """Many small files, one large file, over a quick link, a slower one, and Wi-Fi."""
    found = []
    small = _tree(site.folder / "small", random.Random(1).choices((500, 4000, 20000), k=3000))
    large = _tree(site.folder / "large", [500 * MB])
    code = site.folder / "code"
    code.mkdir()
    for number in range(200):
        line = f"def function_{number}(argument): return argument * {number}\n"
        (code / f"{number}.py").write_text(line * 1000)
    cases = (
        ("3000 small files", small, None),
        ("one file of 500 MB", large, None),
        ("3000 small files", small, SLOW),
        ("one file of 500 MB", large, SLOW),
        ("text, 11 MB", code, WIFI),
    )
    for what, tree, mbit in cases:
        size = sum(path.stat().st_size for path in tree.iterdir())
        for name in (".local/share/dora/store", "rsync-tree"):
            shutil.rmtree(site.lan.path(4, f"/home/{USER}/{name}"), ignore_errors=True)
        site.lan.rate(4, mbit)
        try:
            ours = await _send(site, 4, tree)
            began = time.monotonic()
            await asyncio.to_thread(_rsync, site, 4, tree)
            peer = time.monotonic() - began
        finally:
            site.lan.rate(4, None)
        link = "no limit" if mbit is None else f"{mbit:g} Mbit/s"
        found.append(
            Finding(f"{what}, {link}", _rate(size, ours), _rate(size, peer), ours <= peer * 1.05)
        )
    return found


async def _send(site: Site, i: int, tree: Path) -> float:
    """Seconds to bring a folder into a host's store, from a connection that is open."""
    machine = loads(site.lan.inventory_text(user=USER)).machines[site.lan.name(i)]
    connections = Connections()
    session = await Session.open(connections, machine)
    try:
        workshop = Workshop(cache=site.folder / "links-cache")
        manifest = await asyncio.to_thread(_manifest, workshop, tree)
        began = time.monotonic()
        store = RemoteStore(machine.id, session.open_store, session.open_work)
        await store.send(workshop.store, [manifest])
        return time.monotonic() - began
    finally:
        await session.close()
        await connections.close()


def _manifest(workshop: Workshop, tree: Path) -> Manifest:
    return workshop.tree(Files("tree", {path.name: path for path in tree.iterdir()}))


def _rsync(site: Site, i: int, tree: Path) -> None:
    ssh = f"ssh -F {site.ssh_config}"
    target = f"{site.lan.address(i)}:rsync-tree/{tree.name}/"
    run(["rsync", "-a", "--mkpath", "--modify-window=-1", "-e", ssh, f"{tree}/", target], tree)


def _tree(folder: Path, sizes: list[int]) -> Path:
    folder.mkdir()
    for number, size in enumerate(sizes):
        (folder / f"{number:04}").write_bytes(os.urandom(size))
    return folder


def _traffic(site: Site, i: int, act: Callable[[], object]) -> int:
    before = site.lan.traffic(i)[0]
    act()
    return site.lan.traffic(i)[0] - before


def _kb(size: int) -> str:
    return f"{size / 1000:.0f} KB" if size < 10 * MB else f"{size / MB:.1f} MB"


def _rate(size: int, seconds: float) -> str:
    return f"{seconds:.2f} s, {size / seconds / MB:.1f} MB/s"
