"""What `link: direct` gains between two machines: `python -m benchmarks.direct`.

One process sends the same bytes in turn to two readers on the other machine (a network namespace):
one is reached through both machines' routers, the other reads the sender itself. Encrypted as in a
deployment (QUIC, and TLS 1.3), or with --plain over plain TCP.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import SIZES, duration
from benchmarks.network import SIDES, Network, NetworkError
from dora.compile.dataplane import dials
from dora.coordinator.keys import create_keys
from dora.protocol.config import NODE_CONFIG, InputConfig, Links, NodeConfig, OutputConfig
from dora.protocol.dataflow import DOCUMENT, DataflowSummary, NodeSummary
from dora.protocol.router import ROUTER_CONFIG, RouterConfig

ROOT = Path(__file__).resolve().parent.parent
NODES = Path(__file__).parent / "nodes"
PORT = 7447
DOOR = 7448
LAYERS = {"routed": "zenoh", "direct": "direct"}
WAYS = tuple(LAYERS)
PATIENCE = 300.0  # s


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.direct", description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="messages of each size and way")
    parser.add_argument("--plain", action="store_true", help="without encryption")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        with Network() as network, tempfile.TemporaryDirectory() as folder:
            found = _measure(network, Path(folder), chosen.count, plain=chosen.plain)
    except (NetworkError, RuntimeError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    table = Table(title="one way between two machines, median (p95)")
    for title in ("size", *WAYS, "saved", "times as quick"):
        table.add_column(title, justify="right")
    for name, size in SIZES.items():
        times = {way: sorted(found[way].get(size, ())) for way in WAYS}
        if not all(times.values()):
            console.print(f"{name}: nothing came", style="red")
            return 1
        routed, direct = (statistics.median(times[way]) for way in WAYS)
        cells = [
            f"{duration(statistics.median(it))} ({duration(it[int(len(it) * 0.95)])})"
            for it in times.values()
        ]
        table.add_row(name, *cells, duration(routed - direct), f"{routed / direct:.2f}")
    console.print(table)
    console.print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


def _measure(
    network: Network, folder: Path, count: int, *, plain: bool
) -> dict[str, dict[int, list[int]]]:
    """Way -> size -> nanoseconds."""
    links = {side: Links(insecure=True) for side in SIDES} if plain else _keys(network, folder)
    nodes = {
        "sender": NodeSummary("near", "", {}, WAYS),
        **{way: NodeSummary("far", "", {"in": f"sender/{way}"}) for way in WAYS},
    }
    (folder / DOCUMENT).write_text(DataflowSummary("benchmark", nodes).to_text())
    with ExitStack() as stack:

        def start(side: str, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
            base = {k: v for k, v in os.environ.items() if not k.startswith(("DORA_", "PYTHON"))}
            process = subprocess.Popen(
                [*network.inside(side), sys.executable, *argv],
                env={**base, "PYTHONPATH": str(ROOT), **env},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, process)
            return process

        for side, other in zip(SIDES, reversed(SIDES), strict=True):
            router = RouterConfig(
                "benchmark",
                side,
                str(folder / f"{side}.sock"),
                listen=f"{network.address(side)}:{PORT}",
                connect={other: f"{network.address(other)}:{PORT}"} if dials(side, other) else {},
                key=links[side].key or None,
                certificate=links[side].certificate or None,
                authorities=links[side].authorities,
                insecure=plain,
                documents=str(folder),
                door=f"{network.address(side)}:{DOOR}",
            )
            start(side, ["-m", "dora.communication.router"], {ROUTER_CONFIG: router.to_text()})
        readers = []
        for way in WAYS:
            at = f"{network.address('near')}:{DOOR}" if way == "direct" else ""
            wired = InputConfig(f"sender/{way}", LAYERS[way], at=at)
            reader = _config(way, "far", folder, links["far"], inputs={"in": wired})
            env = {NODE_CONFIG: reader.to_text(), "BENCH_NOTES": str(folder / way)}
            readers.append(start("far", [str(NODES / "stopwatch.py")], env))
        sending = _config(
            "sender",
            "near",
            folder,
            links["near"],
            outputs={
                "routed": OutputConfig(("zenoh",)),
                "direct": OutputConfig(("direct",), callers=("direct/in",)),
            },
        )
        sizes = json.dumps(list(SIZES.values()))
        env = {
            NODE_CONFIG: sending.to_text(), "BENCH_SIZES": sizes, "BENCH_COUNT": str(count)
        }  # fmt: skip
        sender = start("near", [str(NODES / "one_of_two.py")], env)
        deadline = time.monotonic() + PATIENCE
        for process in (sender, *readers):
            try:
                process.wait(max(deadline - time.monotonic(), 1.0))
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(f"a process did not end within {PATIENCE:g} s") from error
    found: dict[str, dict[int, list[int]]] = {way: {} for way in WAYS}
    for way in WAYS:
        for line in (folder / way).read_text().splitlines():
            size, taken = map(int, line.split())
            found[way].setdefault(size, []).append(taken)
    return found


def _config(
    name: str,
    side: str,
    folder: Path,
    links: Links,
    inputs: Mapping[str, InputConfig] | None = None,
    outputs: Mapping[str, OutputConfig] | None = None,
) -> NodeConfig:
    return NodeConfig(
        "benchmark",
        "0",
        name,
        inputs or {},
        outputs or {},
        zenoh=str(folder / f"{side}.sock"),
        documents=str(folder),
        links=links,
    )


def _keys(network: Network, folder: Path) -> dict[str, Links]:
    """Of both machines, as a deployment hands them out."""
    made = {side: create_keys(side, network.address(side)) for side in SIDES}
    authorities = "".join(it.authority_pem for it in made.values())
    found = {}
    for side, keys in made.items():
        key, certificate = folder / f"{side}.key", folder / f"{side}.certificate"
        key.write_text(keys.key_pem)
        certificate.write_text(keys.certificate_pem)
        found[side] = Links(str(key), str(certificate), authorities)
    return found


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.stderr is not None
    process.stderr.close()


if __name__ == "__main__":
    raise SystemExit(main())
