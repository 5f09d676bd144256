"""What programs are told of a deployment that is watched."""

from __future__ import annotations

from deploy.errors import MachineError
from deploy.events import Event, LinkBack, LinkLost, MachineFailed, UnitChanged
from dora.cli.attending import event_json


def test_units_and_links_are_news_and_nothing_else_is() -> None:
    """A node's name is its key as everywhere; what is not known is null."""
    state = {"name": "camera", "state": "backoff", "restarts": 2, "cores": [1]}
    assert {
        "machine": "base",
        "node": "camera",
        "state": "backoff",
        "pid": None,
        "since": None,
        "restarts": 2,
        "exit": None,
        "error": None,
    } == event_json(UnitChanged("base", state))
    lost: Event = LinkLost("base", 12.0, "silent for 4 s")
    assert {
        "machine": "base",
        "link": "unknown",
        "since": 12.0,
        "error": "silent for 4 s",
    } == event_json(lost)
    assert {"machine": "base", "link": "up", "away": 3.5} == event_json(LinkBack("base", 3.5))
    assert event_json(MachineFailed("base", MachineError("base", "no room"))) is None
