"""What a node imports: `from dora import Node`. Runs in every node (Python >= 3.10)."""
