"""The layer between machines: zenoh, through the router of this machine. Node, router (>= 3.10).

The only place that knows zenoh. What shapes it:

- Data is sent with DROP: a dead link or a hung consumer must never hold up a producer, and under
  BLOCK it also holds up everybody else on the router. What must not be lost is kept by its sender
  for a while, and asked for again by whoever misses it (`reliable`).
- One session a process; `Layer.close` closes it, which the node calls at exit.
"""
