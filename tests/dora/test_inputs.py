"""Who is next, who is closed, and when the stream ends; by histories."""

from __future__ import annotations

from dora.inputs import Inputs


def test_the_least_recently_served_comes_first() -> None:
    """An input that is always full cannot starve another."""
    inputs = Inputs(["a", "b", "c"], ["t"], {}, 0)
    order = []
    for _ in range(6):
        name = inputs.turns({"a", "c", "t"})[0]
        inputs.served(name)
        order.append(name)
    assert ["a", "c", "t", "a", "c", "t"] == order
    assert ["b", "a"] == inputs.turns({"a", "b"})


def test_the_stream_ends_when_all_inputs_are_closed() -> None:
    """Said once for each input."""
    inputs = Inputs(["a", "b"], [], {}, 0)
    assert (True, False, False) == (inputs.close("a"), inputs.close("a"), inputs.all_closed)
    assert (True, True) == (inputs.close("b"), inputs.all_closed)


def test_timers_keep_the_stream_open_unless_they_are_ignored() -> None:
    """A node without other inputs never ends by itself."""
    for ignore, ends in ((False, False), (True, True)):
        inputs = Inputs(["a"], ["t"], {}, 0, ignore_endless=ignore)
        inputs.close("a")
        assert ends == inputs.all_closed
    assert not Inputs([], ["t"], {}, 0, ignore_endless=True).all_closed
    assert not Inputs([], [], {}, 0).all_closed


def test_a_silent_input_comes_back() -> None:
    """Its timeout closes it without ending the stream; a message opens it again."""
    inputs = Inputs(["a"], [], {"a": 2.0}, 10.0)
    assert (12.0, []) == (inputs.deadline(), inputs.expire(11.9))
    assert (["a"], [], False) == (inputs.expire(12.0), inputs.expire(13.0), inputs.all_closed)
    assert (True, False, 16.0) == (
        inputs.heard("a", 14.0),
        inputs.heard("a", 14.0),
        inputs.deadline(),
    )


def test_a_closed_input_comes_back_with_its_producer() -> None:
    """A restarted producer is heard as if it had been silent."""
    inputs = Inputs(["a", "b"], [], {}, 0)
    inputs.close("a")
    assert (True, True) == (inputs.heard("a", 1), inputs.close("a"))
