"""Which tests failed in the last run, a line each, for pytest: `python -m tests.failed`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import ROOT, TOGETHER

CACHE = Path(".pytest_cache/v/cache/lastfailed")


def main() -> None:
    for test in sorted(json.loads(CACHE.read_text())):
        # With several workers the name of the group stands behind it.
        name, _, group = test.rpartition("@")
        print(name if name and (group in TOGETHER or (ROOT / group).is_file()) else test)


if __name__ == "__main__":
    main()
