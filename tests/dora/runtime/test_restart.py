"""When a failed operator comes back: the same rules as for processes."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.supervisor.restart import Again, Exit, decide
from deploy.unit import RestartPolicy
from dora.protocol.runtime import OperatorConfig
from dora.runtime.restart import restart_after


def operator(**fields: Any) -> OperatorConfig:
    return OperatorConfig(id="a", kind="python", code="a.py", **fields)


def test_never_is_never() -> None:
    """The default."""
    assert None is restart_after(operator(), attempts=0, lived=100)


@pytest.mark.parametrize("policy", ["on-failure", "always"])
@pytest.mark.parametrize("attempts", [0, 1, 2, 3, 4, 50, 5000])
@pytest.mark.parametrize("lived", [0.0, 9.0, 11.0])
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"delay": 0.5},
        {"delay": 0.5, "max_delay": 3.0},
        {"max_restarts": 3},
        {"max_restarts": 3, "window": 10.0, "delay": 2.0, "max_delay": 1.0},
    ],
)
def test_an_operator_comes_back_as_a_process_does(
    policy: str, attempts: int, lived: float, limits: dict[str, Any]
) -> None:
    """Two implementations, since nodes do not have the supervisor's; one rule."""
    names = {"max_restarts": "max_restarts", "delay": "restart_delay"}
    names |= {"max_delay": "max_restart_delay", "window": "restart_window"}
    config = operator(restart=policy, **{names[name]: value for name, value in limits.items()})
    process = decide(
        RestartPolicy(when=policy, **limits), Exit(code=1), attempts=attempts, lived=lived
    )
    wanted = (process.delay, process.attempts) if isinstance(process, Again) else None
    assert wanted == restart_after(config, attempts=attempts, lived=lived)
