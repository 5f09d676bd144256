"""A node's configuration as text: what restarts the node when it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dora.protocol.config import (
    IN_FILE,
    NODE_CONFIG,
    InputConfig,
    NodeConfig,
    OutputConfig,
)

PLAIN = NodeConfig("flow", "id", "a", {"i": InputConfig("b/o", "zenoh")}, {"o": OutputConfig()})


def test_what_was_added_later_is_not_in_the_text_of_who_does_not_use_it() -> None:
    """A new version of dora restarts no node for a key that says nothing."""
    data = json.loads(PLAIN.to_text())
    assert ["interval", "layer", "queue_policy", "queue_size", "source", "timeout"] == sorted(
        data["inputs"]["i"]
    )
    assert {"o": {"layers": ["zenoh"]}} == data["outputs"]


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        NodeConfig("f", "id", "a", {"i": InputConfig("b/o", "zenoh", cache=5)}),
        NodeConfig("f", "id", "a", {}, {"o": OutputConfig(("shm", "zenoh"), 5, "bulk")}),
    ],
)
def test_a_configuration_comes_back_from_its_text(config: NodeConfig) -> None:
    """Whatever it uses."""
    assert config == NodeConfig.from_text(config.to_text())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"outputs":{"o":{"surprise":1}}}'])
def test_anything_else_is_refused(text: str) -> None:
    """By the variable's name."""
    with pytest.raises(ValueError, match="DORA_NODE_CONFIG"):
        NodeConfig.from_text(text)


def test_a_long_configuration_is_read_from_a_file(tmp_path: Path) -> None:
    """An environment variable holds 128 KiB; the file's path is behind an @."""
    file = tmp_path / "node.json"
    file.write_text(PLAIN.to_text())
    assert PLAIN == NodeConfig.from_environment({NODE_CONFIG: f"{IN_FILE}{file}"})
    assert PLAIN == NodeConfig.from_environment({NODE_CONFIG: PLAIN.to_text()})
    assert None is NodeConfig.from_environment({})


def test_a_configuration_whose_file_is_gone_is_told(tmp_path: Path) -> None:
    """With the file's path."""
    with pytest.raises(ValueError, match=r"names a file that cannot be read.*gone\.json"):
        NodeConfig.from_environment({NODE_CONFIG: f"@{tmp_path / 'gone.json'}"})
