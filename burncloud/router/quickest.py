"""The quickest to answer: those nearly as quick as the best share the requests, the others are looked at now and then.

A better of two by chance would leave the slow ones what falls to pairs of them: a third, of two slow ones among three.
So the quick ones are looked up four times a second, and shared by the better of two (pairs.py), by how busy they are:
the one best of all would be swamped at once.  A request in ONE_IN at most goes to see whether who was slow still is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable
from typing import Final

from burncloud import clock
from burncloud.router.pairs import EXPLORE_S, M, Pairs, busyness

QUICK: Final = 1.25
"""Who takes this much of the best one's time is as quick."""
LOOK_S: Final = 0.25
LOOK_SHARE: Final = 10_000
"""Channels looked through in a second, at most."""
ONE_IN: Final = 25
"""One request in so many goes to a channel of which nothing new is known: 4 %, however few requests there are."""
UNKNOWN: Final = float("inf")


class Quickest(Pairs[M]):
    """The channels of one rank; the requests go to those that are quickest with their first byte."""

    __slots__ = ("_due", "_new", "_old", "_quick", "_since")

    def __init__(self, weighted: Iterable[tuple[M, int]], chance: Callable[[], float] = random.random) -> None:
        Pairs.__init__(self, weighted, busyness, chance)
        self._quick: Pairs[M] = self
        self._new: list[M] = []
        """Of which nothing is known: each is asked at once, by one request."""
        self._old: list[M] = []
        """Of which nothing new is known, the newest first."""
        self._since = 0
        """Requests since one was spent to see."""
        self._due = 0.0

    def pick(self, tried: Container[M] = ()) -> M | None:
        """One of the quick ones that is available and not in `tried`, else the quickest of the others."""
        now = clock.monotonic_ms() / 1000
        if now >= self._due:
            self._look(now)
        if tried == ():  # where one failed, nobody is spent to see
            self._since += 1
            found = self._unheard(self._new)
            if found is None and self._old and self._since >= ONE_IN:
                found = self._unheard(self._old)
                self._since = 0
            if found is not None:
                return found
        return self._quick.pick(tried) or self._next(tried)

    def _next(self, tried: Container[M]) -> M | None:
        left = [channel for channel in self._present if channel.available and channel not in tried]
        return min(left, key=_first_s, default=None)

    def _unheard(self, waiting: list[M]) -> M | None:
        """The next of them that nobody is asking."""
        while waiting:
            channel = waiting.pop()
            if channel.available and not channel.busy:
                return channel
        return None

    def _look(self, now: float) -> None:
        """Who is quick, and of whom must be heard?"""
        for place in range(len(self._present) - 1, -1, -1):
            self._leave(place)
        present = self._present
        self._due = now + max(LOOK_S, len(present) / LOOK_SHARE)
        most = QUICK * min(map(_first_s, present), default=UNKNOWN)
        quick = [(channel, 1) for channel in present if _first_s(channel) <= most]
        self._quick = Pairs(quick, busyness, self._random)
        self._new = [channel for channel in present if not channel.heard]
        old = [channel for channel in present if channel.heard and now - channel.heard > EXPLORE_S]
        self._old = sorted(old, key=lambda channel: -channel.heard)


def _first_s(channel: M) -> float:
    return channel.first_s or UNKNOWN
