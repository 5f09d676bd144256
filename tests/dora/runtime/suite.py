"""What the operators of every kind promise: one suite for all of them (`dora/runtime/base.py`).

A kind's test module subclasses `LoaderSuite` and provides the fixtures `loader` and `probe`: a
loader, and the file of the operator that does what its inputs are named (`probes/`). `broken` is a
file which is there, but is no operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dora.communication.base import Kind, Message
from dora.event import input_closed_event, input_event, input_recovered_event, stop_event
from dora.protocol.runtime import OperatorConfig
from dora.runtime.base import Instance, Loader
from dora.runtime.errors import OperatorError
from dora.status import DoraStatus

T = 1_700_000_000_000_000_000
PROBES = Path(__file__).parent / "probes"


class Desk:
    """A `Context` in memory, and what operators sent."""

    def __init__(self) -> None:
        self.state: dict[str, bytes] = {}
        self.shared: dict[str, bytes] = {}
        self.lines: list[tuple[str, str]] = []
        self.sent: list[tuple[str, Any]] = []

    def save_state(self, key: str, value: bytes) -> None:
        self.state[key] = value

    def kvs_write(self, key: str, value: bytes) -> None:
        self.shared[key] = value

    def kvs_read(self, key: str) -> bytes | None:
        return self.shared.get(key)

    def log(self, level: str, message: str) -> None:
        self.lines.append((level, message))

    def send(self, output: str, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        if isinstance(value, pa.Array):
            is_bytes = value.type == pa.uint8()
            value = value.to_numpy().tobytes() if is_bytes else value.to_pylist()
        self.sent.append((output, value))


def message(name: str, value: Any = None, **metadata: Any) -> Any:
    value = b"" if value is None else value
    array = pa.array(np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value)
    return input_event(name, Message(Kind.DATA, T, metadata, lambda: array))


def config(code: Path, id: str = "probe", **options: Any) -> OperatorConfig:
    return OperatorConfig(id=id, kind="any", code=str(code), **options)


class LoaderSuite:
    @pytest.fixture
    def desk(self) -> Desk:
        return Desk()

    @pytest.fixture
    def make(self, loader: Loader, probe: Path, desk: Desk) -> Any:
        """Makes instances, and closes them."""
        made: list[Instance] = []

        def make() -> Instance:
            made.append(loader.load(config(probe, f"probe-{len(made)}"), desk))
            return made[-1]

        yield make
        for instance in made:
            instance.close()

    def test_a_value_comes_and_goes(self, make: Callable[[], Instance], desk: Desk) -> None:
        """With all its bytes, however many."""
        values = [b"", b"x", bytes(range(256)), bytes(1_000_000)]
        probe = make()
        for value in values:
            assert DoraStatus.CONTINUE == probe.on_event(message("echo", value), desk.send)
        assert [("out", value) for value in values] == desk.sent

    def test_part_of_an_array_is_only_that_part(
        self, make: Callable[[], Instance], desk: Desk
    ) -> None:
        """Arrow slices begin within their memory."""
        part = pa.array(np.frombuffer(b"0123456789", np.uint8)).slice(3, 4)
        make().on_event(message("echo", part), desk.send)
        assert [("out", b"3456")] == desk.sent

    def test_outputs_keep_their_order(self, make: Callable[[], Instance], desk: Desk) -> None:
        """Within one call."""
        make().on_event(message("twice"), desk.send)
        assert [("out", b"1"), ("other", b"2")] == desk.sent

    def test_a_file_makes_many_operators(self, make: Callable[[], Instance], desk: Desk) -> None:
        """Each with its own state."""
        first, second = make(), make()
        for instance in (first, first, second, first):
            instance.on_event(message("count"), desk.send)
        assert [b"\1", b"\2", b"\1", b"\3"] == [value for _, value in desk.sent]

    @pytest.mark.parametrize(
        ("name", "status"), [("stop", DoraStatus.STOP), ("stop_all", DoraStatus.STOP_ALL)]
    )
    def test_an_operator_says_how_to_go_on(
        self, make: Callable[[], Instance], desk: Desk, name: str, status: DoraStatus
    ) -> None:
        """By what it returns."""
        assert status == make().on_event(message(name), desk.send)

    def test_a_status_that_is_none_is_an_error(
        self, make: Callable[[], Instance], desk: Desk
    ) -> None:
        """It names the operator."""
        with pytest.raises(OperatorError, match=r"operator probe-0: .*on_event"):
            make().on_event(message("nonsense"), desk.send)

    def test_a_failure_is_told_in_the_operators_words(
        self, make: Callable[[], Instance], desk: Desk
    ) -> None:
        """And the operator can be called again."""
        probe = make()
        for _ in range(2):
            with pytest.raises(Exception, match="no such luck"):
                probe.on_event(message("fail"), desk.send)
        probe.on_event(message("count"), desk.send)
        assert [("out", b"\1")] == desk.sent

    def test_a_closed_input_is_told(self, make: Callable[[], Instance], desk: Desk) -> None:
        """With its name."""
        make().on_event(input_closed_event("camera"), desk.send)
        assert [("closed", b"camera")] == desk.sent

    def test_a_stop_is_told(self, make: Callable[[], Instance], desk: Desk) -> None:
        """It may still send."""
        make().on_event(stop_event("MANUAL"), desk.send)
        assert [("out", b"stop")] == desk.sent

    def test_an_event_that_an_operator_does_not_know_is_no_failure(
        self, make: Callable[[], Instance], desk: Desk
    ) -> None:
        """Older operators go on where dora gets new events."""
        event = input_recovered_event("camera")
        assert DoraStatus.CONTINUE == make().on_event(event, desk.send)

    def test_saved_state_comes_back(self, make: Callable[[], Instance], desk: Desk) -> None:
        """In another instance, before its first event."""
        probe = make()
        probe.on_event(message("count"), desk.send)
        probe.on_event(message("save"), desk.send)
        assert {"count": b"\1"} == desk.state
        again = make()
        again.restore_state(desk.state)
        again.on_event(message("count"), desk.send)
        assert ("out", b"\2") == desk.sent[-1]

    def test_values_are_shared_by_name(self, make: Callable[[], Instance], desk: Desk) -> None:
        """What one operator writes, the other reads."""
        first, second = make(), make()
        second.on_event(message("read"), desk.send)
        first.on_event(message("write", b"hello"), desk.send)
        second.on_event(message("read"), desk.send)
        assert [("out", b"nothing"), ("out", b"hello")] == desk.sent

    def test_an_operator_is_dropped_when_it_is_closed(
        self, make: Callable[[], Instance], desk: Desk
    ) -> None:
        """Once, however often it is closed, and others stay."""
        first, second = make(), make()
        first.close()
        assert {"dropped": b"yes"} == desk.shared
        desk.shared.clear()
        first.close()
        second.on_event(message("count"), desk.send)
        assert {} == desk.shared
        assert [("out", b"\1")] == desk.sent

    def test_a_file_that_is_not_there_is_named(
        self, loader: Loader, tmp_path: Path, desk: Desk
    ) -> None:
        """With the operator."""
        missing = tmp_path / "missing.xyz"
        with pytest.raises(OperatorError, match=rf"operator probe: .*{missing.name}"):
            loader.load(config(missing), desk)

    def test_a_file_that_is_no_operator_is_named(
        self, loader: Loader, broken: Path, desk: Desk
    ) -> None:
        """With the operator."""
        with pytest.raises(OperatorError, match=rf"operator probe: .*{broken.name}"):
            loader.load(config(broken), desk)
