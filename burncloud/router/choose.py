"""Which channel is next: exact shares by earliest deadline first.

Each channel of a tier stands in a heap by its virtual finish time; the first available one is taken and
moves back by 1/weight, so that any run of picks holds the weights to within about one pick a channel
(DATAPLANE.md rule 5).  Highest priority first, the next tier when none there is available.  Weights all 0:
round-robin; weight 0 beside others: only when the others are not available.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, Protocol, TypeVar


class Choosable(Protocol):
    """What a choice needs to know of a channel."""

    @property
    def available(self) -> bool:
        """Healthy and not full."""


C = TypeVar("C", bound=Choosable)


class Tier(Generic[C]):
    """Channels of one rank, shared by weight."""

    __slots__ = ("_away", "_heap", "_virtual")

    def __init__(self, weighted: Iterable[tuple[C, int]]) -> None:
        members = list(weighted)
        # each begins at another point of its round, else all of one weight would be due at once, one after the other;
        # the index breaks ties, so that channels themselves are never compared
        self._heap = [
            ((index + 1) / len(members) / weight, index, 1.0 / weight, channel)
            for index, (channel, weight) in enumerate(members)
        ]
        heapify(self._heap)
        self._away: list[tuple[float, int, float, C]] = []
        self._virtual = 0.0

    def pick(self, tried: Container[C]) -> C | None:
        """The next available channel that is not in `tried`."""
        heap = self._heap
        if self._away:
            self._return()
        if heap:
            finish, index, stride, channel = heap[0]
            if channel.available and channel not in tried:
                heapreplace(heap, (finish + stride, index, stride, channel))
                self._virtual = finish
                return channel
        return self._pick_further(tried)

    def other(self, tried: Container[C]) -> bool:
        """Whether `pick` would find one."""
        return any(entry[3].available and entry[3] not in tried for entry in (*self._heap, *self._away))

    def _pick_further(self, tried: Container[C]) -> C | None:
        """The top cannot be taken: look below it; who is unavailable leaves, who was tried keeps its place."""
        heap = self._heap
        passed: list[tuple[float, int, float, C]] = []
        found: C | None = None
        while heap and found is None:
            entry = heappop(heap)
            finish, index, stride, channel = entry
            if not channel.available:
                self._away.append(entry)
            elif channel in tried:
                passed.append(entry)
            else:
                heappush(heap, (finish + stride, index, stride, channel))
                found = channel
        for entry in passed:
            heappush(heap, entry)
        return found

    def _return(self) -> None:
        """Who is available again comes back at the current virtual time: it does not make up for its absence."""
        still: list[tuple[float, int, float, C]] = []
        for entry in self._away:
            finish, index, stride, channel = entry
            if channel.available:
                heappush(self._heap, (max(finish, self._virtual + stride), index, stride, channel))
            else:
                still.append(entry)
        self._away = still


class Route(Generic[C]):
    """The channels of one (dialect, group, model), in tiers."""

    __slots__ = ("_tiers", "members", "size")

    def __init__(self, members: Iterable[tuple[C, int, int]]) -> None:
        """`members`: (channel, priority, weight)."""
        tiers: dict[tuple[int, int], list[tuple[C, int]]] = {}
        ranked = list(members)
        self.size = len(ranked)
        self.members = [channel for channel, _, _ in ranked]
        weighted = {priority for _, priority, weight in ranked if weight > 0}
        for channel, priority, weight in ranked:
            spare = weight <= 0 and priority in weighted
            tiers.setdefault((-priority, int(spare)), []).append((channel, max(weight, 1) if not spare else 1))
        self._tiers = [Tier(tiers[rank]) for rank in sorted(tiers)]

    def pick(self, tried: Container[C] = ()) -> C | None:
        """The next channel, or None where none is available."""
        tiers = self._tiers
        if len(tiers) == 1:
            return tiers[0].pick(tried)
        for tier in tiers:
            channel = tier.pick(tried)
            if channel is not None:
                return channel
        return None

    def other(self, tried: Container[C]) -> bool:
        """Whether `pick` would find one; nobody's turn is used up."""
        return any(tier.other(tried) for tier in self._tiers)
