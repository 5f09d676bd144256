"""What a node says of its messages, and what is made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dora.protocol.traffic import MOST, InputTraffic, OperatorTraffic, Traffic

counts = st.integers(0, 2**63)
names = st.text(min_size=1, max_size=60)


@given(
    st.dictionaries(names, st.builds(InputTraffic, counts, counts), max_size=4),
    st.dictionaries(names, counts, max_size=4),
)
def test_traffic_comes_back_from_one_short_line(
    inputs: dict[str, InputTraffic], outputs: dict[str, int]
) -> None:
    """Whatever inputs and outputs are called."""
    traffic = Traffic.of(inputs, outputs)
    text = traffic.to_text()
    assert traffic == Traffic.from_text(text)
    assert "\n" not in text


def test_of_very_many_outputs_the_sums_remain() -> None:
    """What does not fit a datagram would not be heard at all."""
    traffic = Traffic.of(
        {"in": InputTraffic(5, 2)}, {f"an output with number {n}": n for n in range(200)}
    )
    text = traffic.to_text()
    assert len(text.encode()) < MOST
    assert Traffic(received=5, sent=sum(range(200)), dropped=2) == Traffic.from_text(text)


def test_sizes_are_left_out_before_counts_are() -> None:
    """They only help placement; counts are looked at by everybody."""
    few = Traffic.of({}, {"frames": 3}, {"frames": 1000})
    assert few == Traffic.from_text(few.to_text())
    many = {f"an output with number {n}": n for n in range(70)}
    text = Traffic.of({}, many, many).to_text()
    assert len(text.encode()) < MOST
    assert Traffic.of({}, many) == Traffic.from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "warming up",
        "[]",
        "{}",
        '{"received":1,"sent":1}',
        '{"received":[],"sent":1,"dropped":0}',
    ],
)
def test_what_other_programs_say_is_no_traffic(text: str) -> None:
    """A ValueError, so that it is left alone."""
    with pytest.raises(ValueError, match="not a node's traffic"):
        Traffic.from_text(text)


OPERATOR = OperatorTraffic("running", 0, 10, 9, 1, 0, 1, 0, 0, 120, 340, 56_000, 7_800)


def test_operators_are_told_one_by_one() -> None:
    """With the node's own counts, as long as all of it fits."""
    traffic = Traffic(
        received=1,
        inputs={"a/i": InputTraffic(1)},
        operators={f"o{n}": OPERATOR for n in range(20)},
        operator_states={"running": 20},
    )
    assert traffic == Traffic.from_text(traffic.to_text())


def test_of_very_many_operators_the_first_remain() -> None:
    """And how many there are in which state."""
    operators = {f"an operator with number {n}": OPERATOR for n in range(200)}
    traffic = Traffic(sent=7, operators=operators, operator_states={"running": 9990, "failed": 10})
    text = traffic.to_text()
    assert len(text.encode()) < MOST
    heard = Traffic.from_text(text)
    assert (7, {"running": 9990, "failed": 10}) == (heard.sent, heard.operator_states)
    assert len(heard.operators) > 20
    assert list(heard.operators) == list(operators)[: len(heard.operators)]
