"""Who gets what: keys, loads, and replicas that come and go, by a model of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dora.communication.distribution import Distributor, key_of


class Lane:
    """A replica that takes nothing by itself."""

    def __init__(self) -> None:
        self.there = True
        self.leaving = False
        self.given: list[tuple[int, object]] = []
        self.done = 0

    @property
    def open(self) -> bool:
        return self.there and not self.leaving

    def load(self) -> int:
        return len(self.given) - self.done

    def finished(self) -> int:
        return self.done


def give(distributor: Distributor[Lane], lanes: list[Lane], key: object = None) -> Lane | None:
    lane = distributor.choose(lanes, key)
    if lane is not None:
        lane.given.append((len(lane.given), key))
        distributor.gave(lane, len(lane.given), key)
    return lane


def test_who_has_least_gets_the_next() -> None:
    """And of equals one after the other."""
    distributor: Distributor[Lane] = Distributor()
    lanes = [Lane() for _ in range(3)]
    for _ in range(30):
        give(distributor, lanes)
    assert [10, 10, 10] == [lane.load() for lane in lanes]
    lanes[1].done = 5
    assert all(give(distributor, lanes) is lanes[1] for _ in range(5))


def test_an_idle_flow_uses_all_of_them() -> None:
    """Also where each is done before the next message comes."""
    distributor: Distributor[Lane] = Distributor()
    lanes = [Lane() for _ in range(3)]
    for _ in range(9):
        lane = give(distributor, lanes)
        assert lane is not None
        lane.done += 1
    assert [3, 3, 3] == [lane.done for lane in lanes]


def test_a_key_moves_when_it_is_done_with() -> None:
    """And not before, unless its replica is gone."""
    distributor: Distributor[Lane] = Distributor()
    first, second = lanes = [Lane(), Lane()]
    at = give(distributor, lanes, "a")
    assert at is not None
    other = second if at is first else first
    assert at is give(distributor, lanes, "a")
    at.done = 2
    give(distributor, [at])
    assert other is give(distributor, lanes, "a")
    other.there = False
    assert at is give(distributor, lanes, "a")


def test_a_key_of_a_replica_that_goes_waits_for_it() -> None:
    """Until that one is done with it."""
    distributor: Distributor[Lane] = Distributor()
    old, new = Lane(), Lane()
    give(distributor, [old], "a")
    old.leaving = True
    assert give(distributor, [old, new], "a") is None
    assert new is give(distributor, [old, new], "b")
    old.done = 1
    assert new is give(distributor, [old, new], "a")


def test_a_replica_that_never_runs_dry_loses_its_keys_to_idle_ones() -> None:
    """Else new replicas would get nothing while there is most to do."""
    distributor: Distributor[Lane] = Distributor()
    busy = Lane()
    for number in range(10):
        give(distributor, [busy], number % 2)
    assert give(distributor, [busy, Lane()], 0) is None


def test_keys_that_are_done_with_are_forgotten() -> None:
    """However many there were."""
    distributor: Distributor[Lane] = Distributor()
    lane = Lane()
    for number in range(10_000):
        give(distributor, [lane], number)
        lane.done += 1
    assert len(distributor._keys) < 2000


def test_what_cannot_be_hashed_is_a_key_too() -> None:
    """Parameters may be lists; one that is not there is no key."""
    assert key_of({"k": [1]}, "k") == key_of({"k": [1]}, "k") != key_of({"k": [2]}, "k")
    assert key_of({}, "k") is None
    assert key_of({"k": 1}, "") is None


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("gdlad"), st.integers(0, 3)), max_size=120))
def test_of_one_key_nothing_overtakes(history: list[tuple[str, int]]) -> None:
    """Whatever happens: two replicas never have unfinished messages of one key at a time."""
    distributor: Distributor[Lane] = Distributor()
    lanes = [Lane(), Lane()]
    for action, number in history:
        if action == "g":
            give(distributor, lanes, number)
        elif action == "a":
            lanes.append(Lane())
        elif number < len(lanes):
            lane = lanes[number]
            if action == "d":
                lane.done = min(lane.done + 1, len(lane.given))
            else:
                lane.leaving = True
        for key in range(4):
            having = [it for it in lanes if any(k == key for _, k in it.given[it.done :])]
            assert len(having) <= 1
