"""Which channel is next: exact shares by earliest deadline first.

Each channel of a tier stands in a heap by its virtual finish time; the first available one is taken and
moves back by 1/weight, so that any run of picks holds the weights to within about one pick a channel
(DATAPLANE.md rule 5).  Where all weigh the same, that is a queue.  Highest priority first, the next tier when none
there is available.  Weights all 0: round-robin; weight 0 beside others: only when the others are not available.

Who is away costs nothing: it leaves when its turn comes, is called back (`Awaited`) with one turn to make up
for and no more.  Other ways to choose inside a tier: pairs.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar
from weakref import WeakSet

NEVER_AFFINE: Final = 1 << 62
AHEAD_MAX: Final = 50
"""A channel that is asked for by name (affinity) may be this many picks ahead of its share: 0.5 % of 10,000."""


class Awaited:
    """A thing that is available or not, and calls those who wait for it."""

    __slots__ = ("available", "awaited")

    def __init__(self, available: bool) -> None:
        self.available = available
        self.awaited: WeakSet[Any] | None = None
        """Tiers that it has left; a tier that is gone waits for nobody."""

    def turn(self, available: bool) -> None:
        """It is available now, or not any more."""
        self.available = available
        if available and self.awaited is not None:
            tiers, self.awaited = self.awaited, None
            for tier in tiers:
                tier.back(self)

    def left(self, tier: object) -> None:
        """A tier does not look at it until it is called."""
        if self.awaited is None:
            self.awaited = WeakSet()
        self.awaited.add(tier)


C = TypeVar("C", bound=Awaited)


class Member(NamedTuple, Generic[C]):
    """A channel of a route, and what it is ranked by, the strongest first."""

    channel: C
    priority: int
    """Higher first."""
    weight: int
    exact: int = 0
    """How much of the model's name its own says (names.py); more first."""
    cost: int = 0
    """Lower first."""
    translated: bool = False
    """Those that need no translation first."""


class Chooser(Protocol[C]):
    """The channels of one rank."""

    def pick(self, tried: Container[C] = ()) -> C | None:
        """The next available channel that is not in `tried`."""

    def other(self, tried: Container[C]) -> bool:
        """Whether `pick` would find one; nobody's turn is used up."""

    def take(self, channel: C) -> bool:
        """Choose this one, if it may be: available, and not too far ahead of its share."""

    def __contains__(self, channel: object) -> bool: ...


class Tier(Generic[C]):
    """Shared by weight."""

    __slots__ = ("__weakref__", "_away", "_heap", "_owed", "_paid_until", "_strides", "_virtual")

    def __init__(self, weighted: Iterable[tuple[C, int]], start: float = 0.0) -> None:
        """`start`: at what point of the round, 0 to 1, the first pick is."""
        members = list(weighted)
        # each begins at another point of its round, else all of one weight would be due at once, one after the other;
        # the index breaks ties, so that channels themselves are never compared
        self._heap = [
            ((1 - (start * weight - (index + 1) / len(members)) % 1) / weight, index, 1.0 / weight, channel)
            for index, (channel, weight) in enumerate(members)
        ]
        heapify(self._heap)
        self._strides = {channel: 1.0 / weight for channel, weight in members}
        self._away: dict[C, tuple[float, int, float, C]] = {}
        self._owed: dict[C, int] = {}
        """Picks that were taken out of turn and are not yet paid for."""
        self._paid_until: dict[C, float] = {}
        self._virtual = 0.0

    def __contains__(self, channel: object) -> bool:
        return channel in self._strides

    def pick(self, tried: Container[C] = ()) -> C | None:
        """The next available channel that is not in `tried`."""
        heap = self._heap
        if heap:
            finish, index, stride, channel = heap[0]
            if channel.available and channel not in tried and not (self._owed and channel in self._owed):
                heapreplace(heap, (finish + stride, index, stride, channel))
                self._virtual = finish
                return channel
        return self._pick_further(tried)

    def other(self, tried: Container[C]) -> bool:
        """Whether `pick` would find one."""
        return any(entry[3].available and entry[3] not in tried for entry in self._heap)

    def take(self, channel: C) -> bool:
        """Choose this one out of turn: its turns to come pay for it, so that the shares stay what they are."""
        if not channel.available or channel in self._away:
            return False
        stride = self._strides[channel]
        until = max(self._paid_until.get(channel, 0.0), self._virtual) + stride
        if until > self._virtual + AHEAD_MAX * stride and len(self._heap) > 1:
            return False
        self._paid_until[channel] = until
        self._owed[channel] = self._owed.get(channel, 0) + 1
        return True

    def back(self, channel: C) -> None:
        """One that was away is available again: the turn that it missed is its next, those before are lost."""
        entry = self._away.pop(channel, None)
        if entry is None:
            return
        finish, index, stride, _ = entry
        heappush(self._heap, (max(finish, self._virtual), index, stride, channel))

    def _pick_further(self, tried: Container[C]) -> C | None:
        """The top cannot be taken: look below it; who is unavailable leaves, who was tried keeps its place."""
        heap = self._heap
        passed: list[tuple[float, int, float, C]] = []
        found: C | None = None
        while heap and found is None:
            entry = heappop(heap)
            finish, index, stride, channel = entry
            if self._owed and channel in self._owed:
                heappush(heap, (finish + self._owed.pop(channel) * stride, index, stride, channel))
            elif not channel.available:
                self._away[channel] = entry
                channel.left(self)
            elif channel in tried:
                passed.append(entry)
            else:
                heappush(heap, (finish + stride, index, stride, channel))
                found = channel
                if not passed:
                    self._virtual = finish
        for entry in passed:
            heappush(heap, entry)
        return found


class Turns(Generic[C]):
    """All in turn: what `Tier` does where all weigh the same, however many they are, at the price of one."""

    __slots__ = ("__weakref__", "_away", "_line", "_members", "_owed")

    def __init__(self, channels: Iterable[C], start: float = 0.0) -> None:
        """`start`: at what point of the round, 0 to 1, the first pick is."""
        self._line = deque(channels)
        self._line.rotate(-int(start * len(self._line)))
        self._members = frozenset(self._line)
        self._away: set[C] = set()
        self._owed: dict[C, int] = {}
        """Picks that were taken out of turn and are not yet paid for."""

    def __contains__(self, channel: object) -> bool:
        return channel in self._members

    def pick(self, tried: Container[C] = ()) -> C | None:
        """The next available channel that is not in `tried`."""
        line = self._line
        if line:
            channel = line[0]
            if channel.available and channel not in tried and not (self._owed and channel in self._owed):
                line.rotate(-1)
                return channel
        return self._pick_further(tried)

    def other(self, tried: Container[C]) -> bool:
        """Whether `pick` would find one."""
        return any(channel.available and channel not in tried for channel in self._line)

    def take(self, channel: C) -> bool:
        """Choose this one out of turn: its turns to come pay for it."""
        if not channel.available or channel in self._away:
            return False
        owed = self._owed.get(channel, 0)
        if owed >= AHEAD_MAX and len(self._line) > 1:
            return False
        self._owed[channel] = owed + 1
        return True

    def back(self, channel: C) -> None:
        """One that was away is available again: the turn that it missed is its next, those before are lost."""
        if channel in self._away:
            self._away.remove(channel)
            self._line.appendleft(channel)

    def _pick_further(self, tried: Container[C]) -> C | None:
        """The first cannot be taken: who owes a turn pays, who is unavailable leaves, who was tried keeps its place."""
        line, owed, paid = self._line, self._owed, 0
        while line:
            channel = line[0]
            if channel in owed:
                if paid >= len(line):  # all owe: all but one turn of it is paid at once
                    self._pay(line, min(owed.get(one, 1) for one in line) - 1)
                    paid = 0
                paid += 1
                self._pay((channel,), 1)
                line.rotate(-1)
            elif not channel.available:
                line.popleft()
                self._away.add(channel)
                channel.left(self)
            elif channel in tried:
                return self._pick_early(tried)
            else:
                line.rotate(-1)
                return channel
        return None

    def _pick_early(self, tried: Container[C]) -> C | None:
        """The next one behind those who were tried; its turn to come pays for it."""
        owed = self._owed
        left = (channel for channel in self._line if channel.available and channel not in tried)
        found = next((channel for channel in left if channel not in owed), None)
        if found is None:
            left = (channel for channel in self._line if channel.available and channel not in tried)
            found = min(left, key=owed.__getitem__, default=None)
        if found is not None:
            owed[found] = owed.get(found, 0) + 1
        return found

    def _pay(self, channels: Iterable[C], turns: int) -> None:
        owed = self._owed
        for channel in channels:
            left = owed.get(channel, 0) - turns
            if left > 0:
                owed[channel] = left
            else:
                owed.pop(channel, None)


class Only(Generic[C]):
    """A tier of one."""

    __slots__ = ("_channel",)

    def __init__(self, channel: C) -> None:
        self._channel = channel

    def __contains__(self, channel: object) -> bool:
        return channel is self._channel

    def pick(self, tried: Container[C] = ()) -> C | None:
        """The channel, if it is available and not in `tried`."""
        channel = self._channel
        return channel if channel.available and channel not in tried else None

    def other(self, tried: Container[C]) -> bool:
        """The same."""
        return self.pick(tried) is not None

    def take(self, channel: C) -> bool:
        """Whether it is available."""
        return channel.available


def round_robin(weighted: Iterable[tuple[C, int]], start: float = 0.0) -> Turns[C]:
    """All in turn, whatever their weights."""
    return Turns((channel for channel, _ in weighted), start)


def by_weight(weighted: list[tuple[C, int]], start: float = 0.0) -> Chooser[C]:
    """Exact shares."""
    return Tier(weighted, start) if len({weight for _, weight in weighted}) > 1 else round_robin(weighted, start)


class Several(Generic[C]):
    """Tiers, the best first."""

    __slots__ = ("_tiers",)

    def __init__(self, tiers: list[Chooser[C]]) -> None:
        self._tiers = tiers

    def pick(self, tried: Container[C] = ()) -> C | None:
        """The next channel of the first tier that has one."""
        for tier in self._tiers:
            channel = tier.pick(tried)
            if channel is not None:
                return channel
        return None


class Route(Generic[C]):
    """The channels of one (dialect, group, model), in tiers."""

    __slots__ = ("_tiers", "affine_from", "counted", "members", "pick", "size", "way")

    def __init__(
        self,
        members: Iterable[tuple[Any, ...]],
        chooser: Callable[[list[tuple[C, int]]], Chooser[C]] = by_weight,
        counted: bool = False,
        way: str | None = None,
    ) -> None:
        """`members`: (channel, priority, weight) or whole Members; `chooser` makes a tier of (channel, weight)s."""
        ranked: list[Member[C]] = [Member(*one) for one in members]
        self.size = len(ranked)
        self.members = [one.channel for one in ranked]
        self.counted = counted
        """It must be known how busy and how quick its channels are."""
        self.way = way
        """The dialect that all its channels have requests translated to, "" = none; None = they differ."""
        self.affine_from = NEVER_AFFINE
        """Prompts of so many tokens and more are looked at: what is their conversation, where was it (affinity.py)."""
        tiers: dict[tuple[int, ...], list[tuple[C, int]]] = {}
        shared = {one.priority for one in ranked if one.weight > 0}
        for one in ranked:
            spare = one.weight <= 0 and one.priority in shared
            rank = (-one.priority, int(spare), -one.exact, one.cost, int(one.translated))
            tiers.setdefault(rank, []).append((one.channel, 1 if spare else max(one.weight, 1)))
        ordered = [tiers[rank] for rank in sorted(tiers)]
        self._tiers: list[Chooser[C]] = [chooser(one) if len(one) > 1 else Only(one[0][0]) for one in ordered]
        # of another object: a route that held its own method would hold itself for ever
        self.pick: Callable[..., C | None] = self._tiers[0].pick if len(self._tiers) == 1 else Several(self._tiers).pick
        """pick(tried): the next channel that is not in `tried`, or None where none is available."""

    def take(self, channel: C) -> bool:
        """Choose this one, unless a better tier has anybody or it is too far ahead of its share."""
        for tier in self._tiers:
            if channel in tier:
                return tier.take(channel)
            if tier.other(()):
                return False
        return False

    def has(self, channel: C) -> bool:
        """Whether it is one of them."""
        return any(channel in tier for tier in self._tiers)

    def other(self, tried: Container[C]) -> bool:
        """Whether `pick` would find one; nobody's turn is used up."""
        return any(tier.other(tried) for tier in self._tiers)
