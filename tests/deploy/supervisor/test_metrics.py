"""Figures of a machine's units by HTTP, as Prometheus reads them: what they are, who is cut off."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.supervisor.exposition import render
from deploy.supervisor.measures import DOCUMENT, Measure, parse, read
from deploy.supervisor.scrapes import LONGEST, MOST, Scrapes
from deploy.unit import EXCLUSIVE
from tests.deploy.supervisor.machine import PATIENCE, Machine, alive, until
from tests.deploy.supervisor.ports import reserved_port

SAYS = """
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
status = '{"sent": 12, "inputs": {"a\\\\"b": [5, 1]}, "late": 2500}'
s.sendto(b"READY=1\\nSTATUS=" + status.encode(), os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""
MEASURES = json.dumps(
    [
        {"name": "dora_sent_total", "help": "Sent.", "type": "counter", "path": ["sent"]},
        {
            "name": "dora_dropped_total",
            "help": "Dropped.",
            "type": "counter",
            "path": ["inputs", "*input", 1],
        },
        {
            "name": "dora_late_seconds",
            "help": "Late.",
            "type": "gauge",
            "path": ["late"],
            "scale": 1e-6,
        },
    ]
)


def get(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str, str]:
    """Status, content type, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    """Of the sample with these labels at least."""
    found = [
        number
        for (sample, its), number in samples(text).items()
        if sample == name and set(labels.items()) <= its
    ]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture
def free_port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


@pytest.fixture
def port(machine: Machine, free_port: int) -> int:
    """Where a running machine serves its figures."""
    machine.start()
    assert machine.ask("metrics", bind="127.0.0.1", port=free_port)["ok"]
    return free_port


def test_units_are_told_in_prometheus_own_words(machine: Machine, port: int) -> None:
    """States, restarts, memory, CPU, cores of all units; and what they say of themselves, under
    the names that their deployment gives it."""
    profile = replace(
        machine.profile(
            machine.unit("a", SAYS, readiness="notify", cores=(0,), pin=EXCLUSIVE),
            machine.unit("b", "raise SystemExit(3)"),
        ),
        documents={DOCUMENT: MEASURES},
    )
    with machine.client() as client:
        client.ok("lock", deployment="flow", owner="ada")
        client.ok(
            "activate", deployment="flow", profile=profile.to_json(), creator="ada", expected=None
        )
    machine.wait("a", "running")
    machine.wait("b", "failed")

    def text() -> str | None:
        status, kind, text = get(port)
        assert (200, "text/plain; version=0.0.4; charset=utf-8") == (status, kind)
        whole = value(text, "dora_unit_cpu_seconds_total", unit="a") is not None
        failed = value(text, "dora_unit_state", unit="b", state="failed") == 1
        return text if whole and failed and value(text, "dora_sent_total") else None

    found = until(text, "all figures")
    a = {"deployment": "flow", "unit": "a"}
    assert 1 == value(found, "dora_unit_state", **a, state="running")
    assert 0 == value(found, "dora_unit_state", **a, state="failed")
    assert 1 == value(found, "dora_unit_ready", **a)
    assert 0 == value(found, "dora_unit_restarts_total", **a)
    assert 1 == value(found, "dora_unit_cores", **a)
    assert (value(found, "dora_unit_resident_memory_bytes", **a) or 0) > 2**20
    assert None is value(found, "dora_unit_resident_memory_bytes", unit="b")
    assert 12 == value(found, "dora_sent_total", **a)
    assert 1 == value(found, "dora_dropped_total", **a, input='a"b')
    assert 0.0025 == value(found, "dora_late_seconds", **a)
    agent = machine.ask("hello")["agent"]
    assert 1 == value(found, "dora_supervisor_info", agent=agent)


def test_it_is_off_until_somebody_asks_and_stays_where_it_is(machine: Machine, port: int) -> None:
    """Over the supervisor's death and upgrade as well; off again when it is said so."""
    machine.activate(machine.sleeper("a"))
    expected = {"bind": "127.0.0.1", "port": port}
    assert expected == machine.ask("facts")["metrics"]
    machine.kill()
    machine.start()
    until(lambda: listens(port), "the next one")
    assert 200 == get(port)[0]
    assert machine.ask("upgrade", agent=machine.ask("hello")["agent"])["ok"]
    until(lambda: "going on as" in machine.supervisor_log(), "the upgrade")
    until(lambda: answers(port), "the one after that")
    assert machine.ask("metrics", port=None)["ok"]
    assert not listens(port)
    assert None is machine.ask("facts")["metrics"]


def answers(port: int, status: int = 200) -> bool:
    """Whether with this status; False for one who hangs up on us."""
    try:
        return get(port)[0] == status
    except (OSError, http.client.HTTPException):
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_that_is_taken_is_refused_and_the_old_one_stays(machine: Machine, port: int) -> None:
    """A wrong word in the inventory costs nothing that worked."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        reply = machine.ask("metrics", bind="127.0.0.1", port=taken)
    assert (False, "metrics") == (reply["ok"], reply["code"])
    assert f"metrics cannot be served on 127.0.0.1:{taken}: " in reply["error"]
    assert 200 == get(port)[0]
    assert "bad_request" == machine.ask("metrics", bind="robot", port=port)["code"]
    assert "bad_request" == machine.ask("metrics", bind="127.0.0.1", port=70000)["code"]


def test_nothing_but_reading_one_page_is_possible(port: int) -> None:
    """Other pages, other methods, and requests that are none."""
    assert 404 == get(port, "/")[0]
    assert 405 == get(port, method="POST")[0]
    assert (200, "") == get(port, method="HEAD")[::2]
    assert b"HTTP/1.1 405" == raw(port, b"nonsense\r\n\r\n")[:12]
    assert b"HTTP/1.1 431" == raw(port, b"GET /metrics?" + b"x" * LONGEST * 2)[:12]


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(request)
        return connection.recv(100)


def test_clients_that_say_nothing_disturb_nobody(machine: Machine, port: int) -> None:
    """More than are served at once: the rest is told so, and the supervisor answers as ever."""
    pid = machine.ask("hello")["pid"]

    def refused() -> bool:
        with ExitStack() as stack:
            for _ in range(MOST):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            found = answers(port, 503)
            assert machine.ask("hello")["ok"]
        return found

    until(refused, "a refusal")
    until(lambda: answers(port), "room again")
    assert alive(pid)
    assert len(os.listdir(f"/proc/{pid}/fd")) < 50


def hung_up(server: int, client: int) -> bool:
    """Whether the server's end of a connection is closed; by their ports."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = {(row[1][-4:], row[2][-4:]) for row in rows if row[3] == "01"}
    return (f"{server:04X}", f"{client:04X}") not in established


def taken(port: int) -> int:
    """How many bytes somebody gets who asks, and looks for the answer when it is too late."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(lambda: hung_up(port, connection.getsockname()[1]), "the end of patience")
        got = 0
        try:
            while chunk := connection.recv(1 << 20):
                got += len(chunk)
        except ConnectionResetError:
            pass  # that is one way to say that there is no more
        return got


async def test_slow_clients_are_cut_off(free_port: int) -> None:
    """Whoever does not ask, or does not take the answer, in time."""
    big = "x" * (32 * 1024 * 1024)

    async def asked(client: Callable[[], Any], **patience: float) -> Any:
        scrapes = Scrapes(lambda: big, time.monotonic, **patience)
        await scrapes.open("127.0.0.1", free_port)
        try:
            return await asyncio.to_thread(client)
        finally:
            scrapes.close()

    assert b"" == await asked(lambda: raw(free_port, b""), ask_within=0.2)
    assert 0 < await asked(lambda: taken(free_port), take_within=0.2) < len(big)


async def test_an_answer_is_made_once_a_second_at_most(free_port: int) -> None:
    """However many ask: figures cost the supervisor a look at all processes."""
    now, made = [0.0], []

    def text() -> str:
        made.append(now[0])
        return "dora_x 1\n"

    scrapes = Scrapes(text, lambda: now[0])
    await scrapes.open("127.0.0.1", free_port)
    try:
        for moment in (0.0, 0.5, 0.9, 1.1):
            now[0] = moment
            assert 200 == (await asyncio.to_thread(get, free_port))[0]
    finally:
        scrapes.close()
    assert [0.0, 1.1] == made


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e308", "NaN", "Infinity"])
def test_a_number_that_no_figure_can_be_is_passed_over(number: str) -> None:
    """A unit that counts wildly takes nobody's figures away."""
    measure = Measure("dora_late_seconds", "Late.", "gauge", ("late",), 10.0)
    assert [] == list(measure.find(read(f'{{"late": {number}}}')))


async def test_half_a_character_in_a_label_takes_nobodys_figures_away(free_port: int) -> None:
    """JSON can have one, and UTF-8 cannot."""
    scrapes = Scrapes(lambda: 'dora_sent_total{input="\ud800"} 1\n', time.monotonic)
    await scrapes.open("127.0.0.1", free_port)
    try:
        found = await asyncio.to_thread(get, free_port)
    finally:
        scrapes.close()
    assert (200, 'dora_sent_total{input="?"} 1\n') == (found[0], found[2])


def test_measures_find_numbers_and_nothing_else() -> None:
    """Of a status that has other things where numbers should be, those are passed over."""
    measure = Measure("x", "", "gauge", ("in", "*input", 1), 0.5)
    status = {"in": {"a": [1, 4], "b": [1], "c": "text", "d": [1, "4"], "e": [1, True]}}
    assert [((("input", "a"),), 2.0)] == list(measure.find(status))
    assert [] == list(measure.find([1]))
    assert {} == read("no JSON") == read("[1]")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "1x"},
        {"type": "histogram"},
        {"path": [None]},
        {"path": ["*no label"]},
        {"help": 5},
        {"scale": "1"},
        {"more": 1},
    ],
)
def test_measures_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    """A document comes from elsewhere; the supervisor says what is wrong with it and goes on."""
    good = {"name": "x", "help": "", "type": "gauge", "path": ["a"]}
    assert [Measure("x", "", "gauge", ("a",))] == parse(json.dumps([good]))
    with pytest.raises(ValueError, match=r"not|gauge"):
        parse(json.dumps([{**good, **change}]))


def test_names_that_are_odd_are_quoted() -> None:
    """Whatever units call themselves, Prometheus reads it back."""
    state = {"deployment": 'a"\\\n', "name": "b", "state": "running", "cores": []}
    text = render([state], {}, {"agent": "x"})
    assert 1 == value(text, "dora_unit_state", deployment='a"\\\n', state="running")
