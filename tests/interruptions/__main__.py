"""`python -m tests.interruptions`: the long version of the interruption test. As root."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.interruptions.disks import ext4
from tests.interruptions.moments import moments
from tests.interruptions.report import table
from tests.interruptions.soak import NAMES, Soak
from tests.lan.bench import Lan


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interruptions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--disk", choices=("memory", "ext4"), default="memory")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    chance = random.Random(arguments.seed)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interruptions-")))
        images = [work / f"{name}.img" for name in NAMES] if arguments.disk == "ext4" else []
        disks = [stack.enter_context(ext4(image)) for image in images]
        soak = Soak(stack.enter_context(Lan(len(NAMES))), work, chance, disks)
        soak.begin()
        deck = itertools.islice(moments(chance, len(NAMES)), arguments.rounds)
        for number, moment in enumerate(deck, 1):
            began = time.monotonic()
            try:
                phase = soak.round(moment)
            except BaseException:
                print(f"round {number}: {moment}\n{soak.said}\n{soak.state()}")
                print(table(soak.findings))
                raise
            took = time.monotonic() - began
            print(f"{number:4} {moment}: hit {phase.value}, {took:.1f} s", flush=True)
        print(table(soak.findings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
