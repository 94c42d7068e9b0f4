"""A channel made ready to send to: its connections, its keys, its paths, and the health of each part.

What is chosen is an `Ability`: a model at a channel.  It is available while its own breaker, and that of any key of
the channel, lets requests through; that is kept as a plain attribute, since every choice reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from burncloud.adaptors.spoken import SPOKEN
from burncloud.adaptors.vendors import Vendor, form_of, speaks, upstream_path
from burncloud.domain.names import STAR, carried, most_specific
from burncloud.domain.snapshot import Channel
from burncloud.router.breaker import Breaker
from burncloud.router.pairs import Measured
from burncloud.router.reach import Reach
from burncloud.router.routes import Endpoint
from burncloud.wire.pool import Origin

pattern_of: Final = lru_cache(16)(most_specific)
"""The name with a star that says the most of a model: a thousand channels in a row are asked for the same."""


@lru_cache(1024)
def paths_at(vendor: str, base: str) -> dict[bytes, bytes]:
    """What becomes of a client's path there: one for all channels of a place, for what many share stays in caches."""
    return {}


class Key:
    """One credential of a channel."""

    __slots__ = ("breaker", "head", "id", "secret")

    def __init__(self, number: int, secret: str, head: bytes) -> None:
        self.id = number
        self.secret = secret
        self.head = head
        """Host, credential and encoding, as they stand in every request with it."""
        self.breaker = Breaker()


class Outlet:
    """A channel."""

    __slots__ = (
        "_base_path", "_next", "_only", "_paths", "abilities", "available", "by_model", "channel", "full", "gone", "id",
        "keys", "models", "origin", "patterns", "reach", "ref_field", "vendor", "ways",
    )  # fmt: skip

    def __init__(
        self,
        channel: Channel,
        vendor: Vendor,
        origin: Origin,
        base: str,
        heads: list[bytes],
        reach: Reach | None = None,
    ) -> None:
        """`heads`: of its keys, in their order."""
        self.channel = channel
        self.id = channel.id
        self.vendor = vendor
        self.origin = origin
        origin.join()
        self.models = dict(channel.models)
        """Public → upstream name; models that one with a star means join when they are asked for."""
        self.patterns = tuple(model for model in channel.models if STAR in model)
        self.reach = reach
        """None for an ordinary channel."""
        self.ways: dict[str, str] = {}
        """API → the dialect a request of it is translated to; "" = it goes as it came."""
        self.by_model = bool(vendor.models)
        """That depends on the model: `ways` is not used."""
        self.keys = [Key(number, secret, head) for (number, secret), head in zip(channel.keys, heads, strict=True)]
        self._only = self.keys[0] if len(self.keys) == 1 else None
        self.available = channel.enabled
        """Enabled, and one of its keys may be used."""
        self.full = False
        """At one of its limits (limits.py)."""
        self.gone = False
        self.abilities = {model: Ability(self, model) for model in channel.models if STAR not in model}
        self.ref_field = b"x-burncloud-channel: %b\r\n" % channel.ref.encode()
        self._next = 0
        self._base_path = base
        self._paths = paths_at(vendor.name, base)

    def __repr__(self) -> str:
        return f"<Outlet {self.channel.ref} {'available' if self.available else 'away'}>"

    def way(self, endpoint: Endpoint, model: str) -> str | None:
        """How a request of this API gets there: "" as it came, else translated to that dialect; None = not at all."""
        spoken, vendor = endpoint.conversation, self.vendor
        name = self.name(model) or model
        known = speaks(vendor, self.channel.options, name)
        if spoken in known:
            return ""
        if spoken:
            if SPOKEN[spoken].kind == "conversation":
                return next((one for one in known if one in SPOKEN), None)
            form = form_of(vendor, SPOKEN[spoken].kind, name)
            return "" if form == spoken else form or None
        if self.by_model:
            own = endpoint.name in vendor.places and any(SPOKEN[name].family == endpoint.dialect for name in known)
        else:
            own = endpoint.dialect == vendor.dialect
        return "" if own else None

    def path(self, client_path: bytes) -> bytes:
        """The path to ask for upstream."""
        path = self._paths.get(client_path)
        if path is None:
            path = upstream_path(self.vendor, self._base_path, client_path.decode("latin-1")).encode("latin-1")
            if len(self._paths) < 1000:
                self._paths[client_path] = path
        return path

    def key(self, failed: Collection[Key] = ()) -> Key | None:
        """The next key in turn that may be used and is not among those that failed; None = there is none."""
        only = self._only
        if only is not None and self.available and not failed:
            return only  # else the channel were not available
        keys = self.keys
        for _ in keys:
            self._next = number = (self._next + 1) % len(keys)
            key = keys[number]
            if key.breaker.available and key not in failed:
                return key
        return None

    def any_key(self) -> Key:
        """A key to try although none may be used: the one that may be used soonest."""
        return min(self.keys, key=lambda key: key.breaker.until)

    def ability(self, model: str) -> Ability | None:
        """The model here: by its own name, else by the name with a star that says the most of it; None = it has not."""
        ability = self.abilities.get(model)
        if ability is None and self.patterns:
            name = self.name(model)
            if name is not None:
                self.models[model] = name
                ability = self.abilities[model] = Ability(self, model)
                ability.look()
        return ability

    def name(self, model: str) -> str | None:
        """What the upstream calls it; None = the channel has it not."""
        name = self.models.get(model)
        if name is None and self.patterns:
            pattern = pattern_of(self.patterns, model)
            name = None if pattern is None else carried(pattern, self.channel.models[pattern], model)
        return name

    def forget(self, model: str) -> None:
        """Of a model that a name with a star stood for."""
        if model not in self.channel.models:
            self.abilities.pop(model, None)
            self.models.pop(model, None)

    def look(self) -> None:
        """A breaker of a key has changed."""
        usable = self.channel.enabled and not self.gone and not self.full
        self.available = usable and any(key.breaker.available for key in self.keys)
        for ability in self.abilities.values():
            ability.look()

    def close(self) -> None:
        """The channel is gone or replaced: nobody may choose it any more."""
        if not self.gone:
            self.origin.leave()
        self.available, self.gone = False, True
        for ability in self.abilities.values():
            ability.turn(False)

    def inherit(self, old: Outlet) -> None:
        """What was known of the same place before its channel changed."""
        if (old.origin, old.vendor.name) != (self.origin, self.vendor.name):
            return
        known = {(key.id, key.secret): key.breaker for key in old.keys}
        for key in self.keys:
            key.breaker = known.get((key.id, key.secret), key.breaker)
        for model, known_ability in old.abilities.items():
            ability = self.ability(model)
            if ability is not None and old.models[model] == self.models[model]:
                ability.follow(known_ability)
        self.look()


class Ability(Measured):
    """A model at a channel: what a route chooses."""

    __slots__ = ("breaker", "model", "name", "outlet")

    def __init__(self, outlet: Outlet, model: str) -> None:
        Measured.__init__(self, outlet.available)
        self.outlet = outlet
        self.model = model
        self.name = sys.intern(outlet.models.get(model) or model)
        """What the upstream calls it."""
        self.breaker = Breaker()

    def __repr__(self) -> str:
        return f"<Ability {self.model} at {self.outlet.channel.ref}, {self.breaker.state}>"

    def look(self) -> None:
        """A breaker has changed."""
        self.turn(self.outlet.available and self.breaker.available)

    def follow(self, old: Ability) -> None:
        """It takes the place of the same model there."""
        self.breaker, self.first_s, self.heard = old.breaker, old.first_s, old.heard
