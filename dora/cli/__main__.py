"""`python -m dora.cli`, the same as the command `dora`. Laptop only."""

from dora.cli import main

main()
