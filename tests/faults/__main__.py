"""The fault table: what goes on, what is told and how long it takes when what dies.

    python -m tests.faults [--rows link-cut,rebooted] [--seconds 60] [--burn 2]

As root. Three OpenSSH hosts in network namespaces; every row compares what was sent and what came.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path

from tests.faults.bench import fault_bench
from tests.faults.findings import Finding, table
from tests.faults.rows import ROWS

BURN = "while True: pass"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults last that do")
    parser.add_argument("--hz", type=float, default=50.0, help="messages a second on each edge")
    parser.add_argument("--burn", type=int, default=1, help="processes that burn CPU beside it")
    chosen = parser.parse_args()
    names = chosen.rows.split(",")
    if strange := set(names) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(strange))}; there are {', '.join(ROWS)}")
    findings: list[Finding] = []
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dora-faults-")))
        for _ in range(chosen.burn):
            burner = stack.enter_context(subprocess.Popen([sys.executable, "-c", BURN]))
            stack.callback(burner.kill)
        print("deploying", flush=True)
        bench = stack.enter_context(fault_bench(work, work / "cache", hz=chosen.hz))
        for name in names:
            print(name, flush=True)
            finding = Finding(name)
            findings.append(finding)
            try:
                ROWS[name](bench, finding, chosen.seconds)
                finding.verdict = "holds"
            except Exception:
                traceback.print_exc()
    print(table(findings))
    return int(any(it.verdict != "holds" for it in findings))


if __name__ == "__main__":
    sys.exit(main())
