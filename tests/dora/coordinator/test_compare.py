"""Two states of a deployment: which generations a word means, what moved."""

from __future__ import annotations

import pytest

from deploy.errors import DeployError
from deploy.plan import Change
from dora.coordinator.compare import Comparison, Side, numbers
from tests.dora.coordinator.test_revisions import FLEET

NOTHING = Side("nothing", {})


def test_a_word_is_the_present_or_a_revision() -> None:
    """By number or name; of one that failed, what was tried."""
    assert ("current", {"base": 4, "rover": 2}) == numbers(FLEET, "current")
    assert ("revision 2", {"base": 2, "rover": 1}) == numbers(FLEET, "2")
    assert ("revision 4", {"base": 4, "rover": 3}) == numbers(FLEET, "r4")


def test_an_unknown_word_is_refused_with_what_there_is() -> None:
    """It may be a flow file's name with a slip in it."""
    with pytest.raises(DeployError, match=r"'flwo.yml' is neither .* there are 1 to 4"):
        numbers(FLEET, "flwo.yml")


def test_a_unit_that_left_here_and_came_there_has_moved() -> None:
    """One that came to two machines has not."""
    result = Comparison(
        NOTHING,
        NOTHING,
        {
            "base": (Change("a", "stop"), Change("b", "stop"), Change("c", "keep")),
            "rover": (Change("a", "start"), Change("b", "start")),
            "drone": (Change("b", "start"),),
        },
    )
    assert {"a": ("base", "rover")} == result.moved
    assert not result.same
    assert Comparison(NOTHING, NOTHING, {"base": (Change("c", "keep"),)}).same
