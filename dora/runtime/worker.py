"""A thread of its own for an operator that would hold up the others. Node (>= 3.10)."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from dora.runtime.mailbox import Mailbox

if TYPE_CHECKING:
    import asyncio

# done(result, error): one of them is None.
Done = Callable[[Any, BaseException | None], None]


class Worker:
    """Does one thing after another; what came of it is told through the mailbox.

    What awaits is awaited, in an event loop that is the thread's own from the first such call on.
    """

    def __init__(self, name: str, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        # A daemon: what never returns must not keep the process.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Worker {self._thread.name}>"

    def do(self, work: Callable[[], Any], done: Done) -> None:
        """`done` is called in the main thread."""
        self._tasks.put((work, done))

    def end(self) -> None:
        """Once all is done that it was given."""
        self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, done = task
            result, failure = None, None
            try:
                result = work()
                if isinstance(result, Awaitable):
                    result = self._await(result)
            except (Exception, SystemExit) as error:
                failure = error
            self._tell(done, result, failure)
            del task, work, done, result, failure  # nothing is kept alive while waiting
        if self._loop is not None:
            self._loop.close()

    def _await(self, call: Awaitable[Any]) -> Any:
        import asyncio  # most runtimes do without

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)

        async def result() -> Any:
            return await call

        return self._loop.run_until_complete(result())

    def _tell(self, done: Done, result: Any, error: BaseException | None) -> None:
        self._mailbox.put(lambda: done(result, error))
