"""The better of two: who is busy or slow is asked less, who is new or was long not heard of is tried."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud import clock
from burncloud.router.choose import Route
from burncloud.router.pairs import EXPLORE_S, Measured, Pairs, busyness, least_busy, lowest_latency, slowness


class Stub(Measured):
    """A channel."""

    def __init__(self, name: str) -> None:
        Measured.__init__(self, True)
        self.name = name

    def __repr__(self) -> str:
        return self.name


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, in seconds."""
    at = [1_000.0]
    monkeypatch.setattr(clock, "monotonic_ms", lambda: int(at[0] * 1000))
    return at


def stubs(count: int) -> list[Stub]:
    return [Stub(f"c{n}") for n in range(count)]


def test_requests_under_way_stay_level() -> None:
    """10 channels, all requests last: nobody has more than one above the least by much."""
    all_ = stubs(10)
    of: Route[Stub] = Route([(stub, 0, 1) for stub in all_], least_busy, counted=True)
    assert of.counted
    for _ in range(1_000):
        channel = of.pick()
        assert channel is not None
        channel.busy += 1
    assert max(stub.busy for stub in all_) - min(stub.busy for stub in all_) <= 8


def test_twice_the_weight_carries_twice_as_many() -> None:
    one, other = stubs(2)
    of: Route[Stub] = Route([(one, 0, 2), (other, 0, 1)], least_busy)
    for _ in range(300):
        channel = of.pick()
        assert channel is not None
        channel.busy += 1
    assert one.busy == pytest.approx(200, abs=2)


def test_a_slow_one_gets_little(now: list[float]) -> None:
    """Ten times as slow as the others: it is asked when it is looked at again, and no more."""
    all_ = stubs(4)
    of: Route[Stub] = Route([(stub, 0, 1) for stub in all_], lowest_latency)
    found: Counter[str] = Counter()
    for _ in range(4_000):
        channel = of.pick()
        assert channel is not None
        found[channel.name] += 1
        now[0] += 0.01
        channel.answered(1.0 if channel is all_[0] else 0.1, now[0], True)
    assert 1 <= found["c0"] <= 20, found


def test_a_new_one_is_tried_by_one_request(now: list[float]) -> None:
    """The others wait for what becomes of it, instead of falling upon it."""
    known, new = stubs(2)
    known.answered(0.2, now[0], True)
    of: Route[Stub] = Route([(known, 0, 1), (new, 0, 1)], lowest_latency)
    assert of.pick() is new
    new.busy = 1
    assert {of.pick() for _ in range(20)} == {known}
    new.busy = 0
    new.answered(0.1, now[0], True)
    assert {of.pick() for _ in range(20)} == {new}


def test_what_is_old_is_looked_at_again(now: list[float]) -> None:
    slow, quick = stubs(2)
    slow.answered(5.0, now[0], True)
    quick.answered(0.1, now[0], True)
    of: Route[Stub] = Route([(slow, 0, 1), (quick, 0, 1)], lowest_latency)
    assert {of.pick() for _ in range(50)} == {quick}
    now[0] += EXPLORE_S + 1
    quick.answered(0.1, now[0], True)
    assert of.pick() is slow
    slow.busy = 1
    assert of.pick() is quick  # what was known of it stands until there is news
    slow.answered(0.01, now[0], True)
    assert slow.first_s == pytest.approx(0.7 * 5.0 + 0.3 * 0.01)


def test_an_error_says_little_of_speed(now: list[float]) -> None:
    stub = Stub("c")
    stub.answered(0.5, now[0], False)
    assert stub.first_s == 0.5
    stub.answered(0.01, now[0], False)
    assert stub.first_s == 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7), max_size=3)), max_size=40),
    st.integers(0, 99),
)
def test_never_one_that_was_tried_or_is_away(count: int, steps: list[tuple[set[int], set[int]]], seed: int) -> None:
    """In any run of coming and going: None only if nobody is left, and everybody who is there is found."""
    all_ = stubs(count)
    for load in (busyness, slowness):
        tier = Pairs([(stub, 1) for stub in all_], load, Random(seed).random)
        for away, tried_ in steps:
            for n, stub in enumerate(all_):
                stub.turn(n not in away)
            tried = tuple(all_[n] for n in tried_ if n < count)
            left = [stub for stub in all_ if stub.available and stub not in tried]
            assert tier.other(tried) == bool(left)
            picked = tier.pick(tried)
            assert picked in left if left else picked is None
        for stub in all_:
            stub.turn(True)
        assert {tier.pick(tuple(one for one in all_ if one is not stub)) for stub in all_} == set(all_)


def test_affinity_needs_no_shares() -> None:
    one, other = stubs(2)
    of: Route[Stub] = Route([(one, 0, 1), (other, 0, 1)], least_busy)
    assert all(of.take(one) for _ in range(500))
    one.turn(False)
    assert not of.take(one)
    assert of.take(other)
    assert not of.take(Stub("stranger"))


def test_most_being_away_costs_little() -> None:
    """Of 10,000 only ten are there: once the others were met, they are not met again."""
    all_ = stubs(10_000)
    tier = Pairs([(stub, 1) for stub in all_], busyness)
    for stub in all_[10:]:
        stub.turn(False)
    for _ in range(6_000):
        assert tier.pick(()) in all_[:10]
    assert len(tier._present) < 500
