"""What units say of themselves (STATUS=) is passed on as it is."""

from __future__ import annotations

from tests.deploy.supervisor.machine import READY, Machine, until

SAYS = (
    READY
    + """
import time
ready()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    for word in open("words").read().split():
        try:
            notify.sendto(b"STATUS=" + word.encode(), os.environ["NOTIFY_SOCKET"])
        except OSError:
            pass  # no supervisor, at the moment
    time.sleep(0.05)
"""
)


def test_the_newest_status_is_in_the_units_record_and_told_to_who_watches(
    machine: Machine,
) -> None:
    """And it outlives the supervisor: the unit goes on saying what is so."""
    machine.start()
    words = machine.layout.state("flow", "a") / "words"
    words.parent.mkdir(parents=True)
    words.write_text("one two")
    machine.activate(machine.unit("a", SAYS, readiness="notify"))
    machine.wait("a", "running")
    until(lambda: machine.states()["a"]["status"] == "two", "the status")
    with machine.client() as client:
        client.send(op="watch", deployment="flow")
        words.write_text("three")
        seen = (unit["status"] for row in client.lines() for unit in row.get("units", ()))
        assert "three" == next(status for status in seen if status not in ("one", "two"))
    machine.kill()
    machine.start()
    words.write_text("four")
    until(lambda: machine.states()["a"]["status"] == "four", "the status after the takeover")


def test_a_new_process_has_said_nothing_yet(machine: Machine) -> None:
    """What the last one said of itself is not true of the next."""
    machine.start()
    words = machine.layout.state("flow", "a") / "words"
    words.parent.mkdir(parents=True)
    words.write_text("one")
    machine.activate(machine.unit("a", SAYS, readiness="notify"))
    until(lambda: machine.states()["a"]["status"] == "one", "the status")
    words.write_text("")
    pid = machine.states()["a"]["pid"]
    with machine.client() as client:
        client.ok("lock", deployment="flow", owner="ada@laptop")
        client.ok("restart", deployment="flow", unit="a")
    until(lambda: machine.states()["a"]["pid"] not in (None, pid), "the next process")
    assert None is machine.wait("a", "running")["status"]
