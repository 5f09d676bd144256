"""A node looks at the deployment's documents for the ways of its edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dora.edges import Edges
from dora.errors import DoraError
from dora.protocol.comeback import ALWAYS
from dora.protocol.config import InputConfig, NodeConfig
from dora.protocol.ways import DOCUMENT, InputWay, NodeWays, to_text, without_ways
from dora.rewiring import Rewiring, WaysFile
from dora.stream import EventStream
from tests.dora.harness import wait_until


def node(folder: Path, layer: str = "shm") -> NodeConfig:
    wired = InputConfig("camera/image", layer)
    return NodeConfig(
        "flow", "id", "plot", {"image": wired}, documents=str(folder), shm=str(folder)
    )


def tell(folder: Path, text: str) -> None:
    aside = folder / "new"
    aside.write_text(text)
    aside.rename(folder / DOCUMENT)


def test_ways_are_read_once_for_each_generation(tmp_path: Path) -> None:
    """Each writes the file anew. Replicas have the ways of their node."""
    config = node(tmp_path)
    file = WaysFile(without_ways(config).of(2))
    assert (None, False) == (file.read(), file.exists)
    for _ in range(2):
        tell(tmp_path, to_text({"plot": NodeWays.of(config)}))
        assert [config.of(2), None] == [file.read(), file.read()]
    assert file.exists


def test_who_is_not_told_of_keeps_its_ways(tmp_path: Path) -> None:
    """A node that moves away is not in the file of the machine that it leaves, while it is being
    stopped; the file goes with the deployment."""
    config = node(tmp_path)
    file = WaysFile(without_ways(config))
    tell(tmp_path, to_text({"other": NodeWays.of(config)}))
    assert file.read() is None
    (tmp_path / DOCUMENT).unlink()
    assert file.read() is None
    tell(tmp_path, '{"plot": {"layer": "shm"}}')
    with pytest.raises(DoraError, match="not the ways of nodes"):
        file.read()


def test_a_node_without_documents_has_the_ways_that_it_was_told(tmp_path: Path) -> None:
    """As tests and benchmarks start them."""
    file = WaysFile(replace(node(tmp_path), documents=None))
    assert (None, False) == (file.read(), file.exists)


def test_a_way_that_cannot_be_gone_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the edge as it is, nor the looking for a better one."""
    config = node(tmp_path)
    tell(tmp_path, to_text({"plot": NodeWays.of(config)}))
    file = WaysFile(without_ways(config))
    told = file.read()
    assert told is not None
    edges = Edges(told, returns=ALWAYS, short=True)
    stream = EventStream(told.inputs, edges.subscriptions, None)
    changes: list[NodeConfig] = []
    rewiring = Rewiring(file, edges, stream, changes.append, retry=0.1)
    try:
        strange = NodeWays(inputs={"image": InputWay("pigeon")}, shm=str(tmp_path))
        tell(tmp_path, to_text({"plot": strange}))
        wait_until(lambda: "communication layer 'pigeon'" in caplog.text, "the error")
        assert "shm" == edges.config.inputs["image"].layer

        tell(tmp_path, to_text({"plot": replace(strange, inputs={"image": InputWay("shm")})}))
        wait_until(lambda: changes, "the next one")
        assert told.inputs == changes[-1].inputs
    finally:
        rewiring.end()
        stream.close()
        edges.layers.close()
