"""The better of two: of two channels taken by chance, the less busy one is asked.

Two are enough to keep clear of the bad ones, and unlike the best of all they do not send everybody to the same channel
at once, which would be the best no longer (Mitzenmacher, "The power of two choices").  What is compared is what this
worker has seen itself: requests under way.  The time to the first byte, kept here, too, is for quickest.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable
from typing import Final, Generic, TypeVar

from burncloud.router.choose import Awaited

TRIES: Final = 12
"""Where so many pairs held somebody who was tried, all are gone through."""
NEWEST, NEWEST_OF_OLD = 0.3, 0.7
"""Part of the newest time in the running mean, and in one that is old."""
EXPLORE_S: Final = 10.0
"""What is known of a channel's speed is old after this."""


class Measured(Awaited):
    """What can be chosen by how it does."""

    __slots__ = ("busy", "first_s", "heard")

    def __init__(self, available: bool) -> None:
        Awaited.__init__(self, available)
        self.busy = 0
        """Requests under way there."""
        self.first_s = 0.0
        """Running mean of the time to the first byte of good answers; 0 = none was seen."""
        self.heard = 0.0
        """When the last was seen, an error's, too; monotonic seconds."""

    def answered(self, first_s: float, now: float, good: bool) -> None:
        """A first byte came after so long; an error, however quick, says nothing of the speed."""
        if good:
            part = (NEWEST if now - self.heard < EXPLORE_S else NEWEST_OF_OLD) if self.first_s else 1.0
            self.first_s += part * (first_s - self.first_s)
        self.heard = now


M = TypeVar("M", bound=Measured)


def busyness(channel: Measured, weight: int) -> float:
    """Requests under way with one more, by weight: twice the weight may carry twice as many."""
    return (channel.busy + 1) / weight


class Pairs(Generic[M]):
    """The channels of one rank; of two taken by chance the one with the lower `load`."""

    __slots__ = ("__weakref__", "_load", "_present", "_random", "_weights")

    def __init__(
        self,
        weighted: Iterable[tuple[M, int]],
        load: Callable[[M, int], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._weights = dict(weighted)
        self._present = list(self._weights)
        self._load = load
        self._random = chance

    def __contains__(self, channel: object) -> bool:
        return channel in self._weights

    def pick(self, tried: Container[M] = ()) -> M | None:
        """The better of two that are available and not in `tried`; who is met and is not available leaves."""
        present, chance = self._present, self._random
        tries = TRIES
        while tries and len(present) > 1:
            count = len(present)
            i, j = int(chance() * count), int(chance() * (count - 1))
            j += j >= i
            one, other = present[i], present[j]
            if not (one.available and other.available):
                self._leave(max(i, j))
                self._leave(min(i, j))
            elif one in tried or other in tried:
                tries -= 1
            else:
                return self._better(one, other)
        left = [channel for channel in present if channel.available and channel not in tried]
        if len(left) < 2:
            return left[0] if left else None
        i, j = int(chance() * len(left)), int(chance() * (len(left) - 1))
        return self._better(left[i], left[j + (j >= i)])

    def other(self, tried: Container[M]) -> bool:
        """Whether `pick` would find one."""
        return any(channel.available and channel not in tried for channel in self._present)

    def take(self, channel: M) -> bool:
        """Choose this one, if it is available: there are no shares to keep."""
        return channel.available

    def back(self, channel: M) -> None:
        """One that had left is available again."""
        self._present.append(channel)

    def _better(self, one: M, other: M) -> M:
        weights = self._weights
        return one if self._load(one, weights[one]) <= self._load(other, weights[other]) else other

    def _leave(self, place: int) -> None:
        """Forget it until it calls, if it is away."""
        present = self._present
        channel = present[place]
        if not channel.available:
            present[place] = present[-1]
            present.pop()
            channel.left(self)


def least_busy(weighted: Iterable[tuple[M, int]]) -> Pairs[M]:
    """A tier that asks the one with fewer requests under way."""
    return Pairs(weighted, busyness)
