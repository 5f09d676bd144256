"""The layer between processes of one machine: values lie in shared memory. Node (>= 3.10).

A producer puts each value once into its arena (`arena`, `allocator`), and a record of 64 bytes that
says where into the pipe of each subscriber (`record`, `sender`). A consumer reads one record for
each message and looks at the value where it lies (`connection`, `values`); when the last array over
it is gone, one store into a table of the consumer's (`table`) gives the place back. Both sides find
each other over a Unix socket for each producing node (`address`, `handshake`), watched by a thread
that sleeps while nobody comes or goes (`reactor`).
"""
