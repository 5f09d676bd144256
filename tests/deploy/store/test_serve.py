"""The machine's end of a copy: what it answers, and what a kill leaves."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from deploy.store.archive import Item, encode
from deploy.store.local import LocalStore
from deploy.store.serve import main
from tests.deploy.store.channel import ROOT, SERVE
from tests.deploy.store.suite import digest, incoming, manifest
from tests.deploy.store.test_local import temporary_names, verify

FILES = {"a": b"first", "b": b"second"}
TREE = manifest("code", FILES)
CONTENTS: List[Item] = [incoming(content) for content in FILES.values()]


def converse(root: Path, *parts: bytes, args: Tuple[str, ...] = ("session",)) -> Tuple[int, Any]:
    """Exit status and answers of a session that is told all of `parts`."""
    answers = io.BytesIO()
    status = main(str(root), args, io.BufferedReader(io.BytesIO(b"".join(parts))), answers)
    return status, [json.loads(line) for line in answers.getvalue().splitlines()]


def ask(**request: Any) -> bytes:
    return json.dumps(request).encode() + b"\n"


def test_missing_then_archive_then_nothing_missing(tmp_path: Path) -> None:
    """A whole conversation: what lacks is named, arrives, and lacks no more."""
    wanted = ask(op="missing", trees=[TREE.name])
    offer = ask(op="offer") + b"".join(encode([TREE]))
    archive = ask(op="receive") + b"".join(encode(CONTENTS))
    status, answers = converse(tmp_path, wanted, offer, archive)
    assert 0 == status
    assert [TREE.name] == answers[0]["trees"]
    assert sorted(TREE.objects) == sorted(answers[1]["objects"])
    assert min(answers[0]["free"], answers[1]["free"]) > 0
    assert {"ok": True, "objects": 2, "bytes": 11, "trees": [TREE.name]} == answers[-1]
    _, [answer] = converse(tmp_path, wanted)
    assert [] == answer["trees"]


def test_thousands_of_objects_are_answered(tmp_path: Path) -> None:
    """An offer may be long."""
    tree = manifest("many", {str(number): str(number).encode() for number in range(20_000)})
    offer = ask(op="offer") + b"".join(encode([tree]))
    _, [answer] = converse(tmp_path, offer)
    assert sorted(tree.objects) == sorted(answer["objects"])


def test_question_writes_nothing(tmp_path: Path) -> None:
    """Asking a machine that never had a store does not make one."""
    converse(tmp_path / "root", ask(op="missing", trees=[TREE.name]))
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"nonsense\n", "bad"),
        (b"[]\n", "bad"),
        (b"{}\n", "bad"),
        (b"[" * 100_000 + b"\n", "bad"),
        (b"\xff\n", "bad"),
        (ask(op="format"), "bad"),
        (ask(op="missing", trees="all"), "bad"),
        (ask(op="missing", trees=[1]), "bad"),
        (ask(op="missing", trees=["../../etc/passwd"]), "bad"),
        (ask(op="offer") + b"".join(encode([CONTENTS[0]])), "bad"),
        (ask(op="offer") + b"".join(encode([TREE]))[:-9], "bad"),
        (ask(op="receive") + b"nonsense", "bad"),
        (ask(op="receive") + b"".join(encode([TREE])), "missing"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, said: bytes, code: str) -> None:
    """A clear answer, a status, and no change."""
    status, [answer] = converse(tmp_path, said)
    assert (1, False, code) == (status, answer["ok"], answer["code"])
    assert answer["error"]
    assert [] == LocalStore(str(tmp_path)).objects()


def test_unknown_verb_is_refused(tmp_path: Path) -> None:
    """What this version does not know, it says."""
    status, [answer] = converse(tmp_path, args=("format",))
    assert (2, "usage") == (status, answer["code"])


def test_collection_is_asked_for(tmp_path: Path) -> None:
    """Trees that no generation needs go when somebody asks."""
    converse(tmp_path, ask(op="receive"), b"".join(encode([*CONTENTS, TREE])))
    _, [kept] = converse(tmp_path, ask(op="collect", keep=[TREE.name]))
    _, [gone] = converse(tmp_path, ask(op="collect"))
    assert {"ok": True, "trees": 0, "objects": 0, "bytes": 0, "agents": 0} == kept
    assert {"ok": True, "trees": 1, "objects": 2, "bytes": 11, "agents": 0} == gone


def test_progress_is_reported_now_and_then(tmp_path: Path) -> None:
    """Reports come by the clock, not by the object."""
    ticks = iter(range(1000))
    answers = io.BytesIO()
    told = io.BufferedReader(io.BytesIO(ask(op="receive") + b"".join(encode([*CONTENTS, TREE]))))
    main(str(tmp_path), ["session"], told, answers, clock=lambda: next(ticks) / 9)
    lines = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [{"received": 11}] == lines[:-1]


def test_kill_at_any_moment_leaves_whole_things_only(tmp_path: Path) -> None:
    """kill -9 while an archive comes in, again and again: what is seen is whole, what came whole
    is not sent again, and in the end everything is there."""
    chance = random.Random(7)
    contents: Dict[str, bytes] = {
        f"{number % 7}/{number}": os.urandom(chance.choice([10, 1000, 300_000]))
        for number in range(300)
    }
    tree = manifest("big", contents)
    store = LocalStore(str(tmp_path))
    by_digest = {digest(content): content for content in contents.values()}
    lacking = [len(by_digest)]
    for _ in range(12):
        missing = store.missing_objects(tree.objects)
        lacking.append(len(missing))
        items: List[Item] = [incoming(by_digest[each]) for each in missing]
        archive = ask(op="receive") + b"".join(encode([*items, tree]))
        with subprocess.Popen(
            [sys.executable, "-c", SERVE, str(tmp_path), "session"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(archive[: chance.randrange(len(archive))])
            process.stdin.flush()
            if chance.random() < 0.5:
                # Cut the line instead: it notices, and keeps what is whole before it ends.
                process.stdin.close()
                process.stdout.read()
            process.kill()
        verify(store)
    assert lacking == sorted(lacking, reverse=True)
    assert lacking[-1] < lacking[0]
    items = [incoming(by_digest[each]) for each in store.missing_objects(tree.objects)]
    status, answers = converse(tmp_path, ask(op="receive"), b"".join(encode([*items, tree])))
    assert (0, [tree.name]) == (status, answers[-1]["trees"])
    verify(store)
    assert [tree.name] == store.trees()
    assert [] == temporary_names(tmp_path)
