"""Shares, tiers, absence and return, held over many picks and over weights that hypothesis finds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.router.choose import Route


class Stub:
    """A channel that is available or not."""

    def __init__(self, name: str, available: bool = True) -> None:
        self.name = name
        self.available = available

    def __repr__(self) -> str:
        return self.name


def route(weights: dict[str, int], priorities: dict[str, int] | None = None) -> tuple[Route[Stub], dict[str, Stub]]:
    """A route over stubs with these weights (and priorities, 0 by default)."""
    stubs = {name: Stub(name) for name in weights}
    given_ = priorities or {}
    return Route((stubs[n], given_.get(n, 0), w) for n, w in weights.items()), stubs


def shares(of: Route[Stub], picks: int) -> Counter[str]:
    """How often each was picked."""
    found: Counter[str] = Counter()
    for _ in range(picks):
        channel = of.pick()
        assert channel is not None
        found[channel.name] += 1
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), st.integers(0, 300))
def test_shares_are_exact(weights: list[int], skipped: int) -> None:
    """Over 10,000 picks from any point on, each has its share but for the roundings of all."""
    named = {f"c{n}": weight for n, weight in enumerate(weights)}
    of, _ = route(named)
    shares(of, skipped)
    found = shares(of, 10_000)
    total = sum(weights)
    for name, weight in named.items():
        assert abs(found[name] - 10_000 * weight / total) <= 1 + len(weights) * weight / total, (name, found)


def test_one_full_round_is_exact() -> None:
    """7 : 2 : 1 in every ten picks."""
    of, _ = route({"a": 7, "b": 2, "c": 1})
    for _ in range(100):
        assert shares(of, 10) == {"a": 7, "b": 2, "c": 1}


def test_light_ones_do_not_come_all_at_once() -> None:
    """One heavy and many light: the light ones stand apart."""
    of, _ = route({"heavy": 100} | {f"light{n}": 1 for n in range(10)})
    names = "".join("H" if str(of.pick()) == "heavy" else "l" for _ in range(1100))
    assert "ll" not in names
    assert names.count("l") == 100


def test_picks_are_spread() -> None:
    """Heavy ones do not come in blocks longer than their share makes them."""
    of, _ = route({"a": 1, "b": 1, "c": 2})
    names = [str(of.pick()) for _ in range(400)]
    assert "ccc" not in "".join(names)


@pytest.mark.parametrize("weights", [{"a": 0, "b": 0, "c": 0}, {"a": 0}])
def test_all_zero_is_round_robin(weights: dict[str, int]) -> None:
    """Nobody wanted to say anything by it."""
    of, _ = route(weights)
    assert shares(of, 300) == dict.fromkeys(weights, 300 // len(weights))


def test_zero_beside_others_is_a_spare() -> None:
    """Picked only where none of the others can be."""
    of, stubs = route({"a": 3, "spare": 0, "b": 1})
    assert shares(of, 100) == {"a": 75, "b": 25}
    stubs["a"].available = stubs["b"].available = False
    assert shares(of, 10) == {"spare": 10}
    stubs["b"].available = True
    assert shares(of, 10) == {"b": 10}


def test_tiers() -> None:
    """A lower priority only when the higher one has nobody."""
    of, stubs = route({"a": 1, "b": 1, "c": 5, "d": 0}, {"a": 10, "b": 10, "c": 1, "d": 1})
    assert shares(of, 10) == {"a": 5, "b": 5}
    stubs["a"].available = False
    assert shares(of, 10) == {"b": 10}
    stubs["b"].available = False
    assert shares(of, 10) == {"c": 10}
    stubs["c"].available = False
    assert shares(of, 10) == {"d": 10}
    stubs["d"].available = False
    assert of.pick() is None
    stubs["a"].available = True
    assert shares(of, 10) == {"a": 10}


def test_who_was_away_does_not_catch_up() -> None:
    """It comes back at the current virtual time, with its own share and no more."""
    of, stubs = route({"a": 1, "b": 1})
    stubs["a"].available = False
    assert shares(of, 1000) == {"b": 1000}
    stubs["a"].available = True
    found = shares(of, 100)
    assert abs(found["a"] - found["b"]) <= 2


def test_who_was_away_for_a_moment_is_not_favoured() -> None:
    """Coming and going is no way to be picked more often."""
    of, stubs = route({"a": 1, "b": 1})
    found: Counter[str] = Counter()
    for n in range(3000):
        stubs["a"].available = n % 3 != 0
        found[str(of.pick())] += 1
    assert found["a"] <= 1502


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5)), min_size=1, max_size=12),
    st.lists(st.lists(st.integers(0, 11), max_size=4), max_size=60),
    st.lists(st.sets(st.integers(0, 11), max_size=4), max_size=60),
)
def test_never_one_that_was_tried_or_is_away(
    members: list[tuple[int, int]], absences: list[list[int]], tries: list[set[int]]
) -> None:
    """In any run of coming, going and failing: None only if nobody is left, and always the best tier that is."""
    stubs = [Stub(f"c{n}") for n in range(len(members))]
    of = Route((stub, *member) for stub, member in zip(stubs, members, strict=True))
    assert of.size == len(members)
    weighted = {priority for priority, weight in members if weight > 0}

    def rank(n: int) -> tuple[int, bool]:
        priority, weight = members[n]
        return -priority, weight == 0 and priority in weighted

    for away, tried_ in zip(absences, tries, strict=False):
        for n, stub in enumerate(stubs):
            stub.available = n not in away
        tried = tuple(stubs[n] for n in tried_ if n < len(stubs))
        picked = of.pick(tried)
        left = [n for n, stub in enumerate(stubs) if stub.available and stub not in tried]
        if not left:
            assert picked is None
        else:
            assert picked is not None
            assert stubs.index(picked) in left
            assert rank(stubs.index(picked)) == min(rank(n) for n in left)


def test_a_failed_one_keeps_its_place() -> None:
    """Being left out of one request changes nothing for the next."""
    of, stubs = route({"a": 1, "b": 1, "c": 1})
    for _ in range(300):
        first = of.pick()
        assert first is not None
        second = of.pick((first,))
        assert second is not first
    found = shares(of, 300)
    assert all(abs(count - 100) <= 2 for count in found.values()), found
    assert set(found) == set(stubs)


def test_ten_thousand_channels_cost_as_one() -> None:
    """A pick does not go through them: 10,000 picks among 10,000 channels take each once."""
    of, _ = route({f"c{n}": 1 for n in range(10_000)})
    assert set(shares(of, 10_000).values()) == {1}
