"""What other threads ask the main thread to do."""

from __future__ import annotations

import select
import threading
from functools import partial

from dora.runtime.mailbox import Mailbox


def test_work_is_done_once_and_in_order() -> None:
    """Whoever waits for an edge is woken by each of many threads."""
    mailbox = Mailbox()
    done: list[tuple[int, int]] = []

    def put(writer: int) -> None:
        for number in range(200):
            mailbox.put(partial(done.append, (writer, number)))

    with select.epoll() as epoll:
        epoll.register(mailbox.fileno(), select.EPOLLIN | select.EPOLLET)
        threads = [threading.Thread(target=put, args=(it,)) for it in range(4)]
        for thread in threads:
            thread.start()
        while len(done) < 800:
            assert epoll.poll(30)
            mailbox.work()
        for thread in threads:
            thread.join()
        epoll.poll(0)  # the last edge may have been seen to already
        assert [] == epoll.poll(0)
    for writer in range(4):
        assert list(range(200)) == [number for who, number in done if who == writer]
    assert not mailbox.work()
    mailbox.close()
    mailbox.put(partial(done.append, (0, 0)))  # by a thread that did not hear of it


def test_work_may_ask_for_more_work() -> None:
    """It is done the next time, so that nobody keeps the main thread for ever."""
    mailbox = Mailbox()
    done: list[str] = []

    def first() -> None:
        done.append("first")
        mailbox.put(partial(done.append, "second"))

    mailbox.put(first)
    assert mailbox.work()
    assert ["first"] == done
    mailbox.wait()
    assert mailbox.work()
    assert ["first", "second"] == done
    mailbox.close()
