"""The rows of the fault table: each does one thing to the bench and checks what was promised.

A row takes the bench when all is well, and leaves it so. It raises AssertionError where a promise
does not hold; what it saw until then is in its finding.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.faults import machines, processes
from tests.faults.bench import Bench
from tests.faults.findings import Finding

Row = Callable[[Bench, Finding, float], None]  # the last: how many seconds a fault lasts

ROWS: dict[str, Row] = {
    "coordinator-killed": processes.coordinator_killed,
    "link-cut": machines.link_cut,
    "link-flaps": machines.link_flaps,
    "packets-lost": machines.packets_lost,
    "supervisor-killed": processes.supervisor_killed,
    "sender-killed": processes.sender_killed,
    "reader-killed": processes.reader_killed,
    "router-killed": processes.router_killed,
    "rebooted": machines.rebooted,
    "gone-for-good": machines.gone_for_good,
    "clock-jumps": machines.clock_jumps,
    "log-disk-full": machines.log_disk_full,
}

# Seconds that faults last in the short form; other rows take the time that they need.
SHORT = {
    "coordinator-killed": 2,
    "link-cut": 8,
    "link-flaps": 5,
    "packets-lost": 6,
    "gone-for-good": 5,
    "clock-jumps": 4,
    "log-disk-full": 4,
}
