"""Shares, tiers, absence and return, held over many picks and over weights that hypothesis finds."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from burncloud.router import choose
from burncloud.router.choose import AHEAD_MAX, Awaited, Route, Tier, Turns


class Stub(Awaited):
    """A channel that is available or not."""

    def __init__(self, name: str, available: bool = True) -> None:
        Awaited.__init__(self, available)
        self.name = name

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
    stubs["a"].turn(False)
    stubs["b"].turn(False)
    assert shares(of, 10) == {"spare": 10}
    stubs["b"].turn(True)
    assert shares(of, 10) == {"b": 10}


def test_tiers() -> None:
    """A lower priority only when the higher one has nobody."""
    of, stubs = route({"a": 1, "b": 1, "c": 5, "d": 0}, {"a": 10, "b": 10, "c": 1, "d": 1})
    assert shares(of, 10) == {"a": 5, "b": 5}
    stubs["a"].turn(False)
    assert shares(of, 10) == {"b": 10}
    stubs["b"].turn(False)
    assert shares(of, 10) == {"c": 10}
    stubs["c"].turn(False)
    assert shares(of, 10) == {"d": 10}
    stubs["d"].turn(False)
    assert of.pick() is None
    stubs["a"].turn(True)
    assert shares(of, 10) == {"a": 10}


def test_who_was_away_does_not_catch_up() -> None:
    """It comes back at the current virtual time, with its own share and no more."""
    of, stubs = route({"a": 1, "b": 1})
    stubs["a"].turn(False)
    assert shares(of, 1000) == {"b": 1000}
    stubs["a"].turn(True)
    found = shares(of, 100)
    assert abs(found["a"] - found["b"]) <= 2


def test_who_was_away_for_a_moment_is_not_favoured() -> None:
    """Coming and going is no way to be picked more often."""
    of, stubs = route({"a": 1, "b": 1})
    found: Counter[str] = Counter()
    for n in range(3000):
        stubs["a"].turn(n % 3 != 0)
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
    of: Route[Stub] = Route((stub, *member) for stub, member in zip(stubs, members, strict=True))
    assert of.size == len(members)
    weighted = {priority for priority, weight in members if weight > 0}

    def rank(n: int) -> tuple[int, bool]:
        priority, weight = members[n]
        return -priority, weight == 0 and priority in weighted

    for away, tried_ in zip(absences, tries, strict=False):
        for n, stub in enumerate(stubs):
            stub.turn(n not in away)
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


# Shares when channels fail, leave and return


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=8), st.integers(0, 100), st.integers(0, 999))
def test_shares_hold_while_channels_fail_at_random(weights: list[int], percent: int, seed: int) -> None:
    """5 % of all sends fail and go to another: what each is sent and what it answers stays its share, to 1 %."""
    total, chance = sum(weights), Random(seed)
    assume(max(weights) <= 0.9 * total)
    of, _ = route({f"c{n}": weight for n, weight in enumerate(weights)})
    shares(of, percent)
    sent: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for _ in range(10_000):
        tried: tuple[Stub, ...] = ()
        while (channel := of.pick(tried)) is not None:
            sent[channel.name] += 1
            if chance.random() >= 0.05:
                answered[channel.name] += 1
                break
            tried = (*tried, channel)
    for n, weight in enumerate(weights):
        for found in (sent, answered):
            assert abs(found[f"c{n}"] / found.total() - weight / total) <= 0.01, (weights, sent, answered)


def test_80_and_20_while_channels_fail() -> None:
    """The promise of the manual, with the failures of both sides."""
    of, _ = route({"big": 80, "small": 20})
    chance = Random(4)
    answered: Counter[str] = Counter()
    for _ in range(10_000):
        first = of.pick()
        assert first is not None
        failed = chance.random() < 0.05
        channel = of.pick((first,)) if failed else first
        assert channel is not None
        answered[channel.name] += 1
    assert 7_900 <= answered["big"] <= 8_100


@pytest.mark.parametrize("weights", [[80, 20], [50, 30, 20], [0, 0, 0], [1, 1, 1, 97]])
def test_shares_by_chi_square(weights: list[int]) -> None:
    """Over 10,000 far closer than chance would be (5 % of chance exceeds 3.8 with two channels)."""
    of, _ = route({f"c{n}": weight for n, weight in enumerate(weights)})
    found = shares(of, 10_000)
    expected = [10_000 * (weight or 1) / (sum(weights) or len(weights)) for weight in weights]
    assert sum((found[f"c{n}"] - e) ** 2 / e for n, e in enumerate(expected)) < 0.1


def test_shares_return_after_a_death() -> None:
    """Dead for 3,000 requests: nothing goes there; from its return on, 80 and 20 again, and nothing is made up for."""
    of, stubs = route({"big": 80, "small": 20})
    assert shares(of, 1_000) == {"big": 800, "small": 200}
    stubs["big"].turn(False)
    assert shares(of, 3_000) == {"small": 3_000}
    stubs["big"].turn(True)
    found = shares(of, 1_000)
    assert abs(found["big"] - 800) <= 2, found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), max_size=80),
)
def test_coming_and_going_costs_only_the_turns_of_absence(weights: list[int], moves: list[tuple[int, int]]) -> None:
    """After any run of moments away, the next 10,000 picks are shared to one percent."""
    of, stubs = route({f"c{n}": weight for n, weight in enumerate(weights)})
    for who, picks in moves:
        stub = stubs[f"c{who % len(weights)}"]
        stub.turn(False)
        for _ in range(picks):
            of.pick()
        stub.turn(True)
    found = shares(of, 10_000)
    for n, weight in enumerate(weights):
        assert abs(found[f"c{n}"] / 10_000 - weight / sum(weights)) <= 0.01, (weights, found)


def test_short_absences_do_not_starve_a_light_one() -> None:
    """One of 101 is away for every other pick: it gets about half its turns, not none."""
    of, stubs = route({"heavy": 100, "light": 1})
    found: Counter[str] = Counter()
    for n in range(20_200):
        stubs["light"].turn(n % 2 == 0)
        found[str(of.pick())] += 1
    assert 80 <= found["light"] <= 201


def test_who_is_away_is_not_looked_at() -> None:
    """1,000 of 10,000 are away: once they have left, no pick asks them anything."""
    asked: Counter[str] = Counter()

    class Watched(Stub):
        @property
        def available(self) -> bool:
            asked[self.name] += 1
            return self.here

        @available.setter
        def available(self, value: bool) -> None:
            self.here = value

    stubs = [Watched(f"c{n}") for n in range(10_000)]
    of: Route[Stub] = Route((stub, 0, 1) for stub in stubs)
    for stub in stubs[:1_000]:
        stub.turn(False)
    shares(of, 10_000)
    asked.clear()
    found = shares(of, 9_000)
    assert sum(asked.values()) == 9_000
    assert not any(stub.name in found for stub in stubs[:1_000])
    for stub in stubs[:1_000]:
        stub.turn(True)
    found = shares(of, 10_000)
    assert sum(stub.name in found for stub in stubs[:1_000]) == 1_000


def test_a_route_that_is_gone_waits_for_nobody() -> None:
    """Routes are made anew whenever a channel changes: those before must not pile up at one that is off for weeks."""
    stub, other, spare = Stub("c", False), Stub("d", False), Stub("e")
    gc.disable()
    for _ in range(100):
        assert Route([(stub, 0, 1), (other, 0, 1)]).pick() is None
        assert Route([(stub, 0, 1), (other, 0, 1), (spare, -1, 1)]).pick() is spare
    gc.enable()
    assert stub.awaited is not None
    assert len(stub.awaited) == 0


def test_round_robin_takes_no_notice_of_weights() -> None:
    stubs = [Stub(name) for name in "abc"]
    of: Route[Stub] = Route([(stubs[0], 0, 5), (stubs[1], 0, 1), (stubs[2], 0, 0)], choose.round_robin)
    assert shares(of, 10) == {"a": 5, "b": 5}  # weight 0 beside others stays a spare


def test_what_ranks_before_what() -> None:
    """Priority, then weight 0 beside others, then the more exact name, the lower cost, no translation."""
    stubs = {name: Stub(name) for name in "abcdefg"}
    members = [
        (stubs["a"], 0, 0, 9, 0, False), (stubs["b"], 0, 1, 1, 5, False), (stubs["c"], 0, 1, 9, 5, True),
        (stubs["d"], 0, 1, 9, 5, False), (stubs["e"], 1, 1, 0, 9, True), (stubs["f"], 0, 1, 9, 3, True),
        (stubs["g"], 1, 0, 9, 0, False),
    ]  # fmt: skip
    of: Route[Stub] = Route(members)
    order = []
    while (channel := of.pick()) is not None:
        order.append(channel.name)
        channel.turn(False)
    assert "".join(order) == "egfdcba"


# One that is asked for by name


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 100), min_size=2, max_size=6),
    st.integers(0, 100),
    st.integers(0, 999),
)
def test_shares_hold_with_any_affinity(weights: list[int], percent: int, seed: int) -> None:
    """However many of the requests ask for the same channel: what it is given too much stays below AHEAD_MAX."""
    of, stubs = route({f"c{n}": weight for n, weight in enumerate(weights)})
    found, chance = Counter[str](), Random(seed)
    favourite = stubs["c0"]
    for _ in range(10_000):
        if chance.random() * 100 < percent and of.take(favourite):
            found["c0"] += 1
        else:
            found[str(of.pick())] += 1
    for n, weight in enumerate(weights):
        over = found[f"c{n}"] - 10_000 * weight / sum(weights)
        assert abs(over) <= AHEAD_MAX + len(weights) + 2, (weights, found)


def test_who_is_asked_for_within_his_share_is_always_taken() -> None:
    """A tenth asks for a channel that has four fifths of all."""
    of, stubs = route({"big": 80, "small": 20})
    found: Counter[str] = Counter()
    for n in range(1_000):
        if n % 10 == 0:
            assert of.take(stubs["big"])
            found["big"] += 1
        else:
            found[str(of.pick())] += 1
    assert abs(found["big"] - 800) <= 2


def test_who_cannot_be_taken() -> None:
    """One that is away, of another route, or of a lower tier than one that is there."""
    of, stubs = route({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1})
    assert of.take(stubs["a"])
    assert not of.take(stubs["c"])
    assert not of.take(Stub("stranger"))
    stubs["a"].turn(False)
    assert not of.take(stubs["a"])
    of.pick()
    of.pick()
    assert not of.take(stubs["a"])
    stubs["b"].turn(False)
    assert of.take(stubs["c"])
    assert all(of.take(stubs["c"]) for _ in range(3 * AHEAD_MAX))  # nobody else is there


def heap(stubs: list[Stub]) -> Tier[Stub]:
    """All of one weight, as if they were not."""
    return Tier((stub, 1) for stub in stubs)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 6), st.lists(st.sets(st.integers(0, 5), max_size=3), max_size=80))
def test_equal_weights_are_a_queue(count: int, steps: list[set[int]]) -> None:
    """It picks whom the heap picks, whoever was tried: a pick before one's turn is paid for by that turn."""
    stubs = [Stub(str(n)) for n in range(count)]
    line, weighed = Turns(stubs), heap(stubs)
    for step in steps:
        tried = tuple(stubs[n] for n in step if n < count)
        assert line.other(tried) == weighed.other(tried)
        assert line.pick(tried) is weighed.pick(tried)


def test_many_who_owe_much_are_no_long_way_to_go() -> None:
    """All but a turn of what all owe is paid at once."""
    stubs = [Stub(str(n)) for n in range(300)]
    tier = Turns(stubs)
    for stub in stubs:
        assert all(tier.take(stub) for _ in range(AHEAD_MAX))
        assert not tier.take(stub)
    assert tier.pick() is stubs[0]
    assert sum(tier._owed.values()) < 300
    assert Counter(str(tier.pick()) for _ in range(600)) == dict.fromkeys(map(str, stubs), 2)


def test_out_of_turn_is_paid_for_in_a_queue() -> None:
    """Of 300 picks each of three has its hundred, whoever was asked for by name, and is at most so far ahead."""
    stubs = [Stub(name) for name in "abc"]
    tier = Turns(stubs)
    found: Counter[str] = Counter()
    for n in range(300):
        if n % 5 == 0 and tier.take(stubs[0]):
            found["a"] += 1
        else:
            found[str(tier.pick())] += 1
    assert found == {"a": 100, "b": 100, "c": 100}


@pytest.mark.parametrize("kind", [heap, Turns])
def test_a_tier_whose_all_are_owing_still_picks(kind: Callable[[list[Stub]], Tier[Stub] | Turns[Stub]]) -> None:
    stubs = [Stub("a"), Stub("b")]
    tier = kind(stubs)
    for _ in range(20):
        assert tier.take(stubs[0])
        assert tier.take(stubs[1])
    found = Counter(str(tier.pick(())) for _ in range(100))
    assert found == {"a": 50, "b": 50}


@pytest.mark.parametrize("weights", [{"a": 4, "b": 1}, {"a": 5, "b": 3, "c": 2}, {"a": 1, "b": 1, "c": 1}])
def test_a_route_may_begin_anywhere_in_its_round(weights: dict[str, int]) -> None:
    """Four picks of each of many routes: together they hold the shares, nearly as one route does."""
    found: Counter[str] = Counter()
    for n in range(1000):
        tier = choose.by_weight([(Stub(name), weight) for name, weight in weights.items()], n / 1000)
        found.update(str(tier.pick()) for _ in range(4))
    total = sum(weights.values())
    for name, weight in weights.items():
        assert abs(found[name] / 4000 - weight / total) <= 0.04


def test_one_alone() -> None:
    stub = Stub("a")
    of: Route[Stub] = Route([(stub, 0, 3)])
    assert of.pick() is of.pick(()) is stub
    assert of.take(stub)
    assert of.has(stub)
    assert not of.has(Stub("b"))
    assert of.pick((stub,)) is None
    assert not of.other((stub,))
    stub.turn(False)
    assert of.pick() is None
    assert not of.take(stub)
    stub.turn(True)
    assert of.pick() is stub
