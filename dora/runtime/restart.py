"""When a failed operator comes back: the policy, pure. Runs in nodes (>= 3.10).

The same rules as the supervisor's for processes (`deploy.supervisor.restart`), which nodes do not
have. An operator only ever ends unasked by failing: so `always` is as `on-failure`.
"""

from __future__ import annotations

from dora.protocol.runtime import OperatorConfig

SHORTEST_DELAY = 0.1  # s, from the second restart in a row: a broken operator must not eat a core


def restart_after(
    operator: OperatorConfig, *, attempts: int, lived: float
) -> tuple[float, int] | None:
    """What follows a failure after `lived` seconds and `attempts` restarts in a row: the pause in
    seconds, and what to pass as `attempts` the next time; None if it stays ended."""
    if operator.restart == "never":
        return None
    if operator.restart_window > 0 and lived >= operator.restart_window:
        attempts = 0
    if operator.max_restarts > 0 and attempts >= operator.max_restarts:
        return None
    delay = operator.restart_delay
    if operator.max_restart_delay > delay:
        # 2**60 seconds is beyond any limit, and keeps the number a float for ever
        delay = min(operator.max_restart_delay, delay * 2.0 ** min(attempts, 60))
    if attempts > 0:
        delay = max(delay, SHORTEST_DELAY)
    return delay, attempts + 1
