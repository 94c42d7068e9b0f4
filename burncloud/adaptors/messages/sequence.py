"""Blocks of a stream one by one, as the canonical events want them, whatever order a server has.

Anthropic itself ends each block before it begins the next.  Some servers with its form do not: one that begins a
block while a text is open forgot the text's end; one that begins a block while a call is open tells calls side by
side, so what it says of the later ones waits.  Indexes are counted anew, in the order in which blocks begin.
"""

from __future__ import annotations

from burncloud.adaptors import canon
from burncloud.adaptors.messages.blocks import DIALECT

Events = list[canon.Event]


class _Waiting:
    """A block that begins when the calls before it have ended."""

    __slots__ = ("ended", "events", "index", "wire")

    def __init__(self, wire: int, index: int, events: Events) -> None:
        self.wire = wire
        self.index = index
        self.events = events
        self.ended = False


class Sequence:
    """begin(), elsewhere() and end() of blocks by the server's index (`wire`, -1 where it says none)."""

    __slots__ = ("_is_call", "_later", "_next", "open", "wire")

    def __init__(self) -> None:
        self.open = -1
        """The index of the block that is open; -1 = none."""
        self.wire = -1
        """The same as the server counts."""
        self._is_call = False
        self._later: list[_Waiting] = []
        self._next = 0

    def begin(self, wire: int, block: canon.Block, found: Events) -> tuple[int, Events]:
        """A block begins, or waits to: (its index, where to tell the rest of it)."""
        index = self._next
        self._next += 1
        begun: Events = [canon.Opened(index, block)]
        if self.open >= 0 and self._is_call and wire != self.wire:
            self._later.append(_Waiting(wire, index, begun))
            return index, begun
        self.end_all(found)
        self.open, self.wire = index, wire
        self._is_call = isinstance(block, canon.ToolCall | canon.Raw)
        found += begun
        return index, found

    def elsewhere(self, wire: int, kind: str, found: Events) -> tuple[int, Events]:
        """(index, where to tell it) of a delta that is not of the open block, or does not say of which."""
        waiting = self._waiting(wire)
        if waiting is not None:
            return waiting.index, waiting.events
        if wire < 0 <= self.open:
            return self.open, found
        if kind == "input_json_delta":
            raise canon.Unreadable("the stream gives arguments of a tool call that it did not begin")
        thinks = kind in ("thinking_delta", "signature_delta")
        return self.begin(wire, canon.Reasoning(origin=DIALECT) if thinks else canon.Text(""), found)

    def end(self, wire: int, found: Events) -> None:
        """A block ends; one that is not there may."""
        waiting = self._waiting(wire)
        if waiting is not None:
            waiting.ended = True
            waiting.events.append(canon.Closed(waiting.index))
        elif wire in (self.wire, -1):
            self._end(found)

    def end_all(self, found: Events) -> None:
        """All that is open or waits."""
        while self.open >= 0:
            self._end(found)

    def _waiting(self, wire: int) -> _Waiting | None:
        return next((block for block in self._later if block.wire == wire and not block.ended), None)

    def _end(self, found: Events) -> None:
        """The open block ends, and those that waited for it are told."""
        if self.open < 0:
            return
        found.append(canon.Closed(self.open))
        self.open = -1
        while self._later and self.open < 0:
            block = self._later.pop(0)
            found += block.events
            if not block.ended:
                self.open, self.wire, self._is_call = block.index, block.wire, True
