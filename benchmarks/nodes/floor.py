"""The receiver without a library: an epoll on a pipe, eight bytes at a time.

Arguments: its board, the pipe it reads, the pipe it answers through.
"""

import mmap
import os
import select
import struct
import sys
import time

import numpy as np
from board import Board

clock = time.perf_counter_ns
WORD = struct.Struct("<q")

board = Board(sys.argv[1])
source = os.open(sys.argv[2], os.O_RDONLY)
answers = os.open(sys.argv[3], os.O_WRONLY)
epoll = select.epoll()
epoll.register(source, select.EPOLLIN)
board.enter()
here = there = np.empty(0, np.uint8)
while True:
    epoll.poll()
    data = os.read(source, WORD.size)
    if not data:
        break
    now = clock()
    (word,) = WORD.unpack(data)
    if word >= 0:
        board.note(word, now)
        continue
    if len(here) != -word:
        here, there = (np.frombuffer(mmap.mmap(-1, -word), np.uint8) for _ in range(2))
        here[:] = 1
    np.copyto(there, here)
    os.write(answers, data)
