"""`python -m dora.runtime.include`: the folder of the headers, for a compiler's -I. Anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.stdout.write(f"{Path(__file__).resolve().parent}\n")
