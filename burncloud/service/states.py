"""How every part of every channel stands on this node, by what its workers say: keys, and models at channels.

A part is ready, cooling until some time, probing, or off (router/breaker.py).  Workers tell each change; it goes on
to the others at once, and to a worker that comes later with its Snapshot.  Nothing here is asked on a request's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from burncloud import clock
from burncloud.domain.link import Part

READY: Final = "ready"
COOLING: Final = "cooling"
PROBING: Final = "probing"
OFF: Final = "off"

PartName = tuple[int, int, str]
"""Channel, key, model: of a key the model is "", of a model the key 0."""


class State(msgspec.Struct):
    """One part."""

    part: Part
    until_ms: int
    """Until when it is left alone, monotonic."""
    since: int
    """In this state, unix seconds."""
    changed: bool = True
    """Since it was last written down."""


class States:
    """All parts that were not ready at some time."""

    def __init__(self) -> None:
        self.all: dict[PartName, State] = {}
        self.on_turn: Callable[[Part, str], None] = lambda part, before: None
        """Called with a part that is off now, or was `before` and is ready."""

    def learn(self, parts: Iterable[Part]) -> None:
        """A worker says so."""
        now_ms = clock.monotonic_ms()
        for part in parts:
            name = name_of(part)
            known = self.all.get(name)
            before = known.part.state if known is not None else READY
            was_off = before == OFF or (known is not None and known.part.reason == "refused" and before != READY)
            if known is not None and part.state == READY:
                # what was wrong last stays to be seen
                part = msgspec.structs.replace(part, reason=known.part.reason, status=known.part.status)
            since = known.since if known is not None and before == part.state else clock.now_s()
            self.all[name] = State(part, now_ms + part.left_ms, since)
            if (part.state == OFF and not was_off) or (part.state == READY and was_off):
                self.on_turn(part, before)

    def parts(self) -> list[Part]:
        """For a worker that knows nothing: all that is to be left alone still."""
        now_ms = clock.monotonic_ms()
        return [
            msgspec.structs.replace(state.part, left_ms=max(0, state.until_ms - now_ms))
            for state in self.all.values()
            if state.part.state == OFF or (state.part.state != READY and state.until_ms > now_ms)
        ]

    def forget(self, channel: int, keys: Iterable[int], models: Iterable[str]) -> None:
        """Of this channel only these keys and models are left."""
        left = {(channel, key, "") for key in keys} | {(channel, 0, model) for model in models}
        for name in [name for name in self.all if name[0] == channel and name not in left]:
            del self.all[name]


def name_of(part: Part) -> PartName:
    """Which part it is."""
    return part.channel, part.key, part.model
