"""The store's end of the conversation with a laptop, on stdin and stdout. Runs on the machine;
standard library only, Python >= 3.8.

One JSON object a line, each answered by one line: {"ok": true, ...} or {"ok": false, "code": ...,
"error": ...}.

    {"op": "missing", "trees": [...]}          -> trees that lack, free bytes
    {"op": "offer"}, an archive of trees       -> objects of these that lack, free bytes
    {"op": "outlines", "trees": [...]}         -> outlines of those that are here (see `outline`)
    {"op": "receive"}, an archive of objects   -> {"received": n} now and then; in the end objects,
                                                  bytes, and trees that are there: those offered
    {"op": "discard", "bytes": n}, n bytes     -> nothing: so the laptop measures the link
    {"op": "collect", "keep": [...],           -> trees, objects, bytes that went; agents too,
     "agents": [...]}                             but for those named, if any is
    {"op": "verify", "repair": false}          -> {"checked": n} now and then; in the end what was
                                                  looked at, and what is damaged

So a manifest travels once, and packed. After `receive` the conversation is over, as it is after
anything that makes no sense.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Sequence

from deploy.store.archive import decode, receive
from deploy.store.base import MissingObjects, objects_of
from deploy.store.collect import collect, collect_agents
from deploy.store.local import LocalStore
from deploy.store.outline import outline
from deploy.store.path import Manifest
from deploy.store.verify import Verified, repair, verify

LONGEST_LINE = 64 * 1024 * 1024  # bytes; half a million digests
BETWEEN_REPORTS = 0.2  # seconds


def main(
    root: str,
    args: Sequence[str],
    stdin: Optional[BinaryIO] = None,
    stdout: Optional[BinaryIO] = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Serves `<root>/store` until the end of `stdin`; the process's exit status."""
    session = _Session(root, stdin or sys.stdin.buffer, stdout or sys.stdout.buffer, clock)
    try:
        if list(args) != ["session"]:
            session.refuse("usage", f"the store knows `session`, not {list(args)!r}")
            return 2
        return session.run()
    except BrokenPipeError:
        return 1  # the laptop went away; what had come whole is kept


class _Session:
    def __init__(
        self, root: str, stdin: BinaryIO, stdout: BinaryIO, clock: Callable[[], float]
    ) -> None:
        self._store = LocalStore(root)
        self._stdin = stdin
        self._stdout = stdout
        self._clock = clock
        self._reported = clock()
        self._offered: Dict[str, Manifest] = {}

    def run(self) -> int:
        while True:
            line = self._stdin.readline(LONGEST_LINE)
            if not line:
                return 0
            try:
                request = json.loads(line)
                op = request["op"]
                if op == "missing":
                    missing = self._store.missing_trees(_texts(request, "trees"))
                    self._say({"trees": missing, "free": free(self._store.root)})
                elif op == "offer":
                    self._offer()
                elif op == "outlines":
                    self._say({"outlines": self._outlines(_texts(request, "trees"))})
                elif op == "discard":
                    self._discard(int(request["bytes"]))
                elif op == "collect":
                    self._collect(_texts(request, "keep"), _texts(request, "agents"))
                elif op == "verify":
                    self._say(self._verify(request.get("repair") is True).to_json())
                elif op == "receive":
                    self._receive()
                    return 0
                else:
                    raise ValueError(f"no such operation: {op!r}")
            except MissingObjects as error:
                return self.refuse("missing", str(error))
            except BrokenPipeError:
                raise
            except BlockingIOError:
                return self.refuse("busy", "something is being copied into the store")
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                return self.refuse("full" if full else "failed", str(error))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                return self.refuse("bad", f"{type(error).__name__}: {error}")

    def refuse(self, code: str, error: str) -> int:
        self._write({"ok": False, "code": code, "error": error})
        return 1

    def _collect(self, keep: List[str], agents: List[str]) -> None:
        done = collect(self._store, keep)
        gone = collect_agents(self._store.root, agents) if agents else 0
        data = {"trees": done.trees, "objects": done.objects, "bytes": done.bytes, "agents": gone}
        self._say(data)

    def _verify(self, removing: bool) -> Verified:
        check = repair if removing else verify
        return check(self._store, lambda count: self._report(count, "checked"))

    def _outlines(self, names: List[str]) -> Dict[str, Any]:
        found = {}
        for name in names:
            try:
                found[name] = outline(self._store.manifest(name)).to_json()
            except (KeyError, ValueError, OSError):
                continue  # it is not here, or damaged, which `verify` tells
        return found

    def _offer(self) -> None:
        for item in decode(self._read):
            if not isinstance(item, Manifest):
                raise ValueError("an object among the trees that are offered")
            self._offered[item.name] = item
        lacking = self._store.missing_objects(objects_of(self._offered.values()))
        self._say({"objects": lacking, "free": free(self._store.root)})

    def _discard(self, count: int) -> None:
        while count > 0:
            piece = self._read(min(count, 65536))
            if not piece:
                raise ValueError(f"the laptop hung up {count} bytes before the end")
            count -= len(piece)
        self._say({})

    def _receive(self) -> None:
        with self._store.writing():
            done = receive(self._read, self._store, self._report)
            for manifest in self._offered.values():
                self._store.put_tree(manifest)
        trees = [*done.trees, *self._offered]
        self._say({"objects": done.objects, "bytes": done.bytes, "trees": trees})

    def _read(self, limit: int) -> bytes:
        return self._stdin.read1(limit)  # type: ignore[attr-defined, no-any-return]

    def _report(self, count: int, what: str = "received") -> None:
        now = self._clock()
        if now - self._reported >= BETWEEN_REPORTS:
            self._reported = now
            self._write({what: count})

    def _say(self, answer: Dict[str, Any]) -> None:
        self._write(dict(answer, ok=True))

    def _write(self, data: Dict[str, Any]) -> None:
        self._stdout.write(json.dumps(data).encode("ascii") + b"\n")
        self._stdout.flush()


def free(root: str) -> int:
    """Bytes that we may still use on the filesystem where `root` is, or will be."""
    while not os.path.exists(root):
        root = os.path.dirname(root)
    return shutil.disk_usage(root).free


def _texts(request: Any, key: str) -> List[str]:
    texts = request.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{key}: not a list of texts")
    return texts
