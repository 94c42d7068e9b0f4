"""The quickest get the requests; to see how the others do costs one in ONE_IN.  Time and chance are the test's."""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random

import pytest

from burncloud import clock
from burncloud.router.choose import Route
from burncloud.router.quickest import ONE_IN, Quickest
from tests.unit.router.test_pairs import Stub, stubs


class Street:
    """Channels that answer after so many seconds, and requests that come at even intervals."""

    def __init__(self, patch: pytest.MonkeyPatch, *first_s: float) -> None:
        self.now = 1_000.0
        patch.setattr(clock, "monotonic_ms", lambda: int(self.now * 1000))
        self.all = stubs(len(first_s))
        self.first_s = dict(zip(self.all, first_s, strict=True))
        self.errors: set[Stub] = set()
        chance = Random(7)
        self.route: Route[Stub] = Route(
            [(stub, 0, 1) for stub in self.all], lambda weighted: Quickest(weighted, chance.random), counted=True
        )
        self._flying: list[tuple[float, int, Stub, float]] = []
        self._count = 0

    def ask(self, count: int, a_second: float) -> list[float]:
        """So many requests; the part that each channel got."""
        got: Counter[Stub] = Counter()
        for _ in range(count):
            self.now += 1 / a_second
            while self._flying and self._flying[0][0] <= self.now:
                at, _, done, first_s = heapq.heappop(self._flying)
                done.busy -= 1
                done.answered(first_s, at, done not in self.errors)
            stub = self.route.pick()
            assert stub is not None
            got[stub] += 1
            stub.busy += 1
            self._count += 1
            first_s = self.first_s[stub]
            heapq.heappush(self._flying, (self.now + first_s, self._count, stub, first_s))
        return [got[stub] / count for stub in self.all]


@pytest.mark.parametrize("a_second", [0.2, 1, 10, 200])
def test_two_slow_ones_get_what_it_takes_to_look(monkeypatch: pytest.MonkeyPatch, a_second: float) -> None:
    street = Street(monkeypatch, 0.1, 0.4, 2.0)
    street.ask(100, a_second)  # nothing is known yet
    quick, *slow = street.ask(2_000, a_second)
    assert sum(slow) <= 1 / ONE_IN + 0.001
    assert 1 / ONE_IN <= 0.05
    assert all(part > 0 for part in slow) == (a_second < 200)  # 10 s are not long enough to look again
    assert quick >= 0.95


def test_equals_share(monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(monkeypatch, 0.1, 0.11, 0.12, 3.0)
    street.ask(100, 100)
    *parts, slow = street.ask(3_000, 100)
    assert all(0.25 <= part <= 0.4 for part in parts)
    assert slow <= 0.01


def test_the_quickest_that_becomes_slow_is_left_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(monkeypatch, 0.1, 0.3, 2.0)
    street.ask(200, 20)
    street.first_s[street.all[0]] = 1.0
    street.ask(60, 20)
    assert street.ask(400, 20)[1] >= 0.95
    street.first_s[street.all[0]] = 0.1
    street.ask(1_200, 20)  # a minute: three looks
    assert street.ask(400, 20)[0] >= 0.95


def test_one_that_only_fails_quickly_is_not_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(monkeypatch, 0.005, 0.3)
    street.errors.add(street.all[0])
    street.ask(50, 10)
    assert street.ask(1_000, 10)[0] <= 1 / ONE_IN


def test_a_new_one_is_tried_at_once_by_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for what becomes of it, instead of falling upon it."""
    street = Street(monkeypatch, 0.1, 30.0)
    street.ask(1, 10)
    street.ask(20, 10)
    assert [stub.busy for stub in street.all] == [1, 1]
    assert street.ask(100, 10) == [1.0, 0.0]


def test_who_is_away_or_was_tried_is_passed_over_for_the_next_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(monkeypatch, 0.1, 0.3, 2.0)
    one, two, three = street.all
    street.ask(100, 10)
    assert [street.route.pick(tried) for tried in ((), (one,), (one, two))] == [one, two, three]
    one.turn(False)
    assert street.route.pick() is two
    one.turn(True)
    assert street.ask(30, 10)[0] >= 0.9
    for stub in street.all:
        stub.turn(False)
    assert street.route.pick() is None


def test_nothing_is_known_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(monkeypatch, 60.0, 60.0, 60.0)
    assert street.ask(300, 10) == pytest.approx([1 / 3] * 3, abs=0.02)
