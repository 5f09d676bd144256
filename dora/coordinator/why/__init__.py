"""`dora why`: why no data comes to an input. Laptop only."""
