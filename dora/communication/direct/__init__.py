"""The layer of `link: direct`: from process to process between machines, past their routers.

A connection of TCP for each edge, which the reader makes: it calls the machine of the sender at the
router's port, says whom it wants, and the router hands the connection over to that process (`door`)
and is out of it. From there on it is encrypted as the routers' own links are. Messages are written
by the thread that sends them and read by the one that waits for events: nothing in between.

The rest goes through the routers as ever: who is there, and what a router says of nodes that died.
"""
