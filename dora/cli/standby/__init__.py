"""A process that has `dora` loaded, and becomes the next command. Laptop only.

`dora` itself is then a client of a few lines: it hands over its words, folder, environment and
files, and passes signals on. What the command does and says is the same, but for the time it takes:
whatever could make a difference has the command run in its own process, silently (`likeness`).

`client` is what `dora` does first, `server` the standby, `heir` the command that comes of it, and
`wire` what they say to each other. `client`, `likeness`, `place` and `wire` are loaded by every
`dora`: they import next to nothing.
"""
