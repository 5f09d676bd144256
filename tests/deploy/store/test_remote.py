"""Copying to a machine: only what lacks, resumed after any end, errors that say why."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from deploy.errors import BuildError, ConnectionLost, MachineError
from deploy.store.base import Incoming, copy
from deploy.store.collect import Collected
from deploy.store.local import LocalStore
from deploy.store.memory import MemoryStore
from deploy.store.path import Entry, Manifest
from deploy.store.remote import RemoteStore
from tests.deploy.store.channel import Machine, ProcessChannel
from tests.deploy.store.suite import digest, filled, manifest
from tests.deploy.store.test_local import small_disk, verify

__all__ = ["small_disk"]

FILES = {f"package/{number}.py": os.urandom(500) + str(number).encode() for number in range(1000)}
TREE = manifest("code", FILES)


@pytest.mark.parametrize("packed", [False, True])
async def test_send_brings_everything_once(tmp_path: Path, packed: bool) -> None:
    """The first copy moves all bytes, the second opens one channel and moves none."""
    machine = Machine(tmp_path)
    remote = RemoteStore("m", machine.open_verb)
    seen: list[tuple[int, int]] = []
    total = sum(map(len, FILES.values()))

    def progress(done: int, of: int) -> None:
        seen.append((done, of))

    assert total == await remote.send(filled(FILES), [TREE], progress, packed=packed)
    assert [(0, total), (total, total)] == [seen[0], seen[-1]]
    assert seen == sorted(seen)
    store = LocalStore(str(tmp_path))
    assert TREE == store.manifest(TREE.name)
    verify(store)
    assert 0 == await remote.send(MemoryStore(), [TREE], progress)
    assert 2 == len(machine.channels)
    assert machine.channels[1].written < 200


async def test_one_small_change_moves_that_file(tmp_path: Path) -> None:
    """After a change of one file in a thousand: its bytes and the packed manifest, once."""
    machine = Machine(tmp_path)
    remote = RemoteStore("m", machine.open_verb)
    copy(filled(FILES), [TREE], LocalStore(str(tmp_path)))
    changed = {**FILES, "package/7.py": b"changed"}
    assert 7 == await remote.send(filled(changed), [TREE, manifest("code", changed)])
    assert machine.channels[0].written < 1000 * 50  # a manifest has 32 random bytes a file


async def test_missing_tells_what_would_be_sent(tmp_path: Path) -> None:
    """Trees, objects and bytes that lack, before anything is sent."""
    remote = RemoteStore("m", Machine(tmp_path).open_verb)
    missing = await remote.missing([TREE])
    assert (TREE.name,) == missing.trees
    assert dict(TREE.objects) == dict(missing.objects)
    assert sum(map(len, FILES.values())) == missing.bytes
    await remote.send(filled(FILES), [TREE])
    assert ((), {}) == (
        (await remote.missing([TREE])).trees,
        (await remote.missing([TREE])).objects,
    )


async def test_file_that_changed_meanwhile_is_told(tmp_path: Path) -> None:
    """The receiver never gets a tree with another content; the user hears which file it was."""
    file = tmp_path / "script.py"
    file.write_bytes(b"before")
    tree = manifest("x", {"script.py": b"before"})

    class Lying(MemoryStore):
        def open_object(self, _digest: str):  # type: ignore[no-untyped-def]
            return open(file, "rb")

    for content in (b"after!", b"shorter"[:3], b"longer than before"):
        file.write_bytes(content)
        remote = RemoteStore("m", Machine(tmp_path / "root").open_verb)
        with pytest.raises(BuildError, match=r"script\.py changed while it was being deployed"):
            await remote.send(Lying(), [tree])
    file.unlink()
    with pytest.raises(BuildError, match=r"script\.py"):
        await RemoteStore("m", Machine(tmp_path / "root").open_verb).send(Lying(), [tree])
    assert [] == LocalStore(str(tmp_path / "root")).trees()


async def test_machine_that_dies_while_receiving_is_lost_and_resumed(tmp_path: Path) -> None:
    """The copy fails at once, and the next one sends only the rest."""
    contents = {str(number): os.urandom(1_000_000) for number in range(100)}
    tree = manifest("big", contents)
    machine = Machine(tmp_path)
    remote = RemoteStore("m", machine.open_verb)

    def kill(done: int, total: int) -> None:
        if done:
            machine.channels[0].process.kill()

    with pytest.raises(ConnectionLost):
        await remote.send(filled(contents), [tree], kill)
    assert [] == LocalStore(str(tmp_path)).trees()
    verify(LocalStore(str(tmp_path)))
    rest = (await remote.missing([tree])).bytes
    assert rest == await remote.send(filled(contents), [tree])
    assert [tree.name] == LocalStore(str(tmp_path)).trees()


async def test_too_small_disk_is_told_before_anything_is_sent(small_disk: Path) -> None:
    """Need and free space are in the message, nothing is written."""
    contents = {"a": bytes(20_000_000)}
    remote = RemoteStore("m", Machine(small_disk).open_verb)
    with pytest.raises(
        MachineError, match=r"m: needs 20\.0 MB .*where 4\.\d MB are free"
    ) as failure:
        await remote.send(filled(contents), [manifest("x", contents)])
    assert "dora gc" in str(failure.value.hint)
    assert [] == os.listdir(small_disk)


async def test_disk_that_fills_up_meanwhile_is_told(small_disk: Path) -> None:
    """The machine's own reason reaches the user although we were still sending."""
    first = {str(number): os.urandom(600_000) for number in range(5)}

    class Filling(MemoryStore):
        """Somebody else's data takes the space after we asked."""

        def open_object(self, digest: str):  # type: ignore[no-untyped-def]
            if "filled" not in source.trees:
                source.trees["filled"] = TREE  # once
                (small_disk / "filler").write_bytes(bytes(2_500_000))
            return super().open_object(digest)

    source = Filling()
    for content in first.values():
        source.add(content)
    remote = RemoteStore("m", Machine(small_disk).open_verb)
    with pytest.raises(MachineError, match="disk is full") as failure:
        await remote.send(source, [manifest("x", first)])
    assert "goes on where it stopped" in str(failure.value.hint)
    (small_disk / "filler").unlink()
    rest = (await remote.missing([manifest("x", first)])).bytes
    assert rest < sum(map(len, first.values()))
    assert rest == await remote.send(source, [manifest("x", first)])


async def test_objects_that_were_collected_meanwhile_are_sent_after_all(tmp_path: Path) -> None:
    """A collector between the question and the archive costs a second attempt, no more."""
    store = LocalStore(str(tmp_path))
    store.put_objects([Incoming(digest(b"kept"), 4, False, [b"kept"])])
    contents = {"a": b"kept", "b": b"new"}
    machine = Machine(tmp_path)

    class Collecting(MemoryStore):
        def open_object(self, digest: str):  # type: ignore[no-untyped-def]
            if not source.trees:
                source.trees["collected"] = TREE  # once
                for each in store.objects():
                    store.remove_object(each)
            return super().open_object(digest)

    source = Collecting()
    for content in contents.values():
        source.add(content)
    assert 3 + 4 <= await RemoteStore("m", machine.open_verb).send(
        source, [manifest("x", contents)]
    )
    assert 2 == len(machine.channels)
    assert [manifest("x", contents).name] == store.trees()


async def test_collect_runs_on_the_machine(tmp_path: Path) -> None:
    """What went is told."""
    remote = RemoteStore("m", Machine(tmp_path).open_verb)
    await remote.send(filled(FILES), [TREE])
    assert Collected(0, 0, 0) == await remote.collect(keep=[TREE.name])
    assert Collected(1, 1000, sum(map(len, FILES.values()))) == await remote.collect()


async def test_other_end_that_speaks_nonsense_is_told() -> None:
    """A banner of a login shell, or silence, is no answer of a store."""

    class Banner(Machine):
        async def open_verb(self, *args: str) -> ProcessChannel:
            process = await asyncio.create_subprocess_exec(
                "sh",
                "-c",
                "read line; echo Welcome",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            return ProcessChannel(process)

    remote = RemoteStore("m", Banner(Path("/")).open_verb)
    with pytest.raises(MachineError, match="nonsense: b'Welcome"):
        await remote.missing([TREE])


async def test_large_object_is_sent_in_pieces(tmp_path: Path) -> None:
    """A file of 40 MB arrives as it was, executable bit and all."""
    content = os.urandom(1_000_000) * 40
    entry = Entry("model", hashlib.sha256(content).hexdigest(), len(content), executable=True)
    tree = Manifest("model", (entry,))
    source = MemoryStore()
    source.add(content)
    await RemoteStore("m", Machine(tmp_path).open_verb).send(source, [tree])
    file = Path(LocalStore(str(tmp_path)).tree_path(tree.name), "model")
    assert content == file.read_bytes()
    assert os.access(file, os.X_OK)


class Slow(ProcessChannel):
    """Some hundred kilobytes a second, as over bad Wi-Fi."""

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(len(data) / 1e6)
        await super().write(data)


async def test_what_packs_well_goes_packed_over_a_slow_link(tmp_path: Path) -> None:
    """By what is measured: a hundred lines of text are not all sent a thousand times over."""
    text = b"".join(b"line %d of a log that says the same each time\n" % n for n in range(100_000))
    tree = manifest("logs", {"log.txt": text})
    machine = Machine(tmp_path, Slow)
    sent = await RemoteStore("m", machine.open_verb).send(filled({"log.txt": text}), [tree])
    assert len(text) == sent
    assert machine.channels[0].written < len(text) / 2
    verify(LocalStore(str(tmp_path)))


async def test_what_does_not_pack_goes_as_it_is(tmp_path: Path) -> None:
    """However slow the link: compressing would only cost time."""
    data = os.urandom(4_000_000)
    tree = manifest("images", {"image.raw": data})
    machine = Machine(tmp_path)
    assert len(data) == await RemoteStore("m", machine.open_verb).send(
        filled({"image.raw": data}), [tree]
    )
    assert LocalStore(str(tmp_path)).manifest(tree.name) == tree


async def test_small_copies_take_the_connection_that_is_there_and_large_ones_their_own(
    tmp_path: Path,
) -> None:
    """Questions go over the first in any case; what is long must not hide a heartbeat."""
    for size, expected in ((1000, (1, 0)), (2_000_000, (1, 1))):
        data = os.urandom(size)
        tree = manifest("code", {"data.bin": data})
        near, bulk = Machine(tmp_path / str(size)), Machine(tmp_path / str(size))
        remote = RemoteStore("m", bulk.open_verb, near.open_verb)
        assert size == await remote.send(filled({"data.bin": data}), [tree])
        assert expected == (len(near.channels), len(bulk.channels))
        verify(LocalStore(str(tmp_path / str(size))))
