"""Which inventory a command takes, and that it is never another one than the user chose."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import InventoryError
from dora.cli.files import find_inventory
from dora.errors import DoraError


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a flow in a folder of its own, and no inventory yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DORA_INVENTORY", raising=False)
    (tmp_path / "flow").mkdir()
    return tmp_path


def inventory(file: Path, machine: str) -> str:
    file.write_text(f"machines: {{{machine}: }}")
    return str(file)


def test_the_nearest_choice_wins(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option, the variable, beside the flow file, the working directory."""
    inventory(working_directory / "machines.yml", "here")
    assert ["here"] == list(find_inventory(None, "flow/flow.yml").machines)
    inventory(working_directory / "flow" / "machines.yml", "beside")
    assert ["beside"] == list(find_inventory(None, "flow/flow.yml").machines)
    monkeypatch.setenv("DORA_INVENTORY", inventory(working_directory / "variable.yml", "variable"))
    assert ["variable"] == list(find_inventory(None, "flow/flow.yml").machines)
    option = inventory(working_directory / "option.yml", "option")
    assert ["option"] == list(find_inventory(option, "flow/flow.yml").machines)


def test_a_named_inventory_that_is_not_there_is_not_replaced_by_another(
    working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in $DORA_INVENTORY must not deploy to the machines of some other file."""
    inventory(working_directory / "machines.yml", "other")
    monkeypatch.setenv("DORA_INVENTORY", "robots.yml")
    with pytest.raises(InventoryError, match=r"robots\.yml.*cannot be read"):
        find_inventory(None)


def test_without_any_inventory_the_hint_makes_one() -> None:
    """There is always a next step."""
    with pytest.raises(DoraError, match="no inventory") as raised:
        find_inventory(None, "flow/flow.yml")
    assert "machines.yml" in (raised.value.hint or "")
