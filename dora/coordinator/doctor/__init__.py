"""`dora doctor`: what is in the way of dataflows, on all machines at once. Laptop only."""
