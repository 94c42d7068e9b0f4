"""The better of two: who is busy is asked less."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.router.choose import Route
from burncloud.router.pairs import EXPLORE_S, Measured, Pairs, busyness, least_busy
from burncloud.router.quickest import Quickest


class Stub(Measured):
    """A channel."""

    def __init__(self, name: str) -> None:
        Measured.__init__(self, True)
        self.name = name

    def __repr__(self) -> str:
        return self.name


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


def test_the_running_mean() -> None:
    stub = Stub("c")
    stub.answered(0.001, 10.0, False)
    assert (stub.first_s, stub.heard) == (0.0, 10.0)  # an error says nothing of speed
    for first_s, now, mean in ((1.0, 11.0, 1.0), (0.5, 12.0, 0.85), (0.01, 13.0, 0.85), (0.85, 24.0, 0.85)):
        stub.answered(first_s, now, first_s > 0.1)
        assert stub.first_s == pytest.approx(mean)
    stub.answered(0.05, 24.0 + EXPLORE_S, True)
    assert stub.first_s == pytest.approx(0.3 * 0.85 + 0.7 * 0.05)  # what was known is old


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7), max_size=3)), max_size=40),
    st.integers(0, 99),
)
def test_never_one_that_was_tried_or_is_away(count: int, steps: list[tuple[set[int], set[int]]], seed: int) -> None:
    """In any run of coming and going: None only if nobody is left, and everybody who is there is found."""
    all_ = stubs(count)
    for tier in (
        Pairs([(stub, 1) for stub in all_], busyness, Random(seed).random),
        Quickest([(stub, 1) for stub in all_], Random(seed).random),
    ):
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
