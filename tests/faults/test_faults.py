"""The fault table in short, on OpenSSH hosts; `python -m tests.faults` is the long one.

What each row promises is in rows.py and, for users, in docs/faults.md.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.rows import ROWS

Holds = Callable[[str], None]


def test_a_coordinator_that_is_killed_is_missed_by_nobody(holds: Holds) -> None:
    """Nothing is lost; another one finds everything as it was, and changes nothing."""
    holds("coordinator-killed")


def test_a_cut_link_costs_what_drop_edges_send_over_it_and_nothing_else(holds: Holds) -> None:
    """Inputs with a timeout close and recover; the watch says since when it knows nothing."""
    holds("link-cut")


def test_a_link_that_flaps_costs_nothing_on_reliable_edges(holds: Holds) -> None:
    """Nor anything of the others, nor a process."""
    holds("link-flaps")


def test_30_percent_packet_loss_costs_nothing_on_reliable_edges(holds: Holds) -> None:
    """Nor anything of the others; messages go on crossing that link."""
    holds("packets-lost")


def test_a_supervisor_that_is_killed_costs_no_message_and_no_process(holds: Holds) -> None:
    """Whoever watches has the next one started, which restarts what it has taken over."""
    holds("supervisor-killed")


def test_readers_hear_of_a_killed_sender_and_of_its_successor(holds: Holds) -> None:
    """On all machines; on its own they got all that it had sent."""
    holds("sender-killed")


def test_a_killed_reader_gets_what_reliable_edges_sent_meanwhile(holds: Holds) -> None:
    """And nobody else notices."""
    holds("reader-killed")


def test_a_killed_router_costs_nothing_on_reliable_edges(holds: Holds) -> None:
    """Nor within machines, nor between the others."""
    holds("router-killed")


def test_a_machine_that_boots_runs_again_and_gets_what_reliable_edges_sent(holds: Holds) -> None:
    """By itself; the others keep talking to each other."""
    holds("rebooted")


def test_a_machine_that_is_gone_stops_nobody(holds: Holds) -> None:
    """Its readers are told by their timeouts, and status says since when it is unknown."""
    holds("gone-for-good")


def test_a_clock_that_jumps_by_an_hour_disturbs_nothing(holds: Holds) -> None:
    """In both directions; restarts keep their pace."""
    holds("clock-jumps")


def test_a_full_disk_ends_no_node_and_costs_no_message(holds: Holds) -> None:
    """Lines come again when there is room."""
    holds("log-disk-full")


def test_every_row_is_known_by_its_name() -> None:
    """The long table leaves none out."""
    assert 12 == len(ROWS)
