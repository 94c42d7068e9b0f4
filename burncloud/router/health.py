"""Whose fault a failure is, and what follows: the parts of a channel rest, are probed, and come back.

A failure is blamed on the part that it says something of (BLAMED): a key, or a model at a channel.  A client's
mistake is nobody's fault here; it never arrives.  What rests is looked at by the sweep; nothing has a timer.
Only what changes is news: it is collected for a moment and goes to the other workers through control.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from burncloud import clock, logs
from burncloud.domain.link import Part
from burncloud.domain.parts import FORBIDDEN, OFF, PROBING, READY, REFUSED, PartName
from burncloud.router import settle
from burncloud.router.breaker import BUSY, Breaker
from burncloud.router.exchange import Exchange
from burncloud.router.fault import Fault
from burncloud.router.outlets import Ability, Key, Outlet

_log = logs.logger(__name__)

REFILL_PART: Final = 0.05
REST_S_MIN: Final = 1.0
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms]|$)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}

KEY: Final = "key"
MODEL: Final = "model"
BLAMED: Final[dict[str, str]] = {
    "connect": KEY,
    "lost": KEY,
    "timeout": MODEL,
    "broken": MODEL,
    "empty": MODEL,
    FORBIDDEN: MODEL,
    BUSY: MODEL,
    REFUSED: KEY,
}
"""Kind of fault → the part that is blamed; of any other kind nobody is."""
OF_ONE_KEY: Final = frozenset((BUSY, FORBIDDEN))
"""Where the channel has another key it is the key's: that one may have room, or may have the model."""


def _unknown(channel: int) -> Outlet | None:
    return None


class Health:
    """The state of all channels, as this worker sees it."""

    def __init__(self) -> None:
        self.resting: set[Outlet] = set()
        """Those with a part that is not ready, or has failed lately."""
        self.find: Callable[[int], Outlet | None] = _unknown
        """The channel of an id as it is now."""
        self.on_news: Callable[[], None] = lambda: None
        """Called when there is something to `report`."""
        self.news: dict[PartName, Breaker] = {}
        """What changed and was not told yet; who tells it clears this."""

    def chosen(self, ability: Ability, key: Key, now: float, who: str = "") -> None:
        """A request, `who`, goes there: a probe keeps others away."""
        outlet = ability.outlet
        for name, breaker in ((_model_of(ability), ability.breaker), (_key_of(outlet, key), key.breaker)):
            if breaker.state is not READY:
                breaker.taken(now, who)
                self._look(outlet)
                if breaker.state is PROBING:
                    self._tell(name, breaker)

    def succeeded(self, ability: Ability, key: Key) -> None:
        """It answered.  To be called where the outlet is among the resting."""
        outlet = ability.outlet
        healed = False
        for name, breaker in ((_model_of(ability), ability.breaker), (_key_of(outlet, key), key.breaker)):
            if breaker.succeeded():
                healed = True
                self._tell(name, breaker)
        if healed:
            _log.warning("channel %s is ready again for %s", outlet.channel.ref, ability.model)
            self._look(outlet)
        self._settle(outlet)

    def spared(self, x: Exchange) -> None:
        """It is over, or goes elsewhere: if it was to go and see and has learned nothing, another may."""
        ability: Ability | None = getattr(x, "ability", None)
        if ability is None:  # it was nowhere
            return
        outlet, key = ability.outlet, x.key
        for name, breaker in ((_model_of(ability), ability.breaker), (_key_of(outlet, key), key.breaker)):
            if breaker.spared(x.request_id):
                self._tell(name, breaker)
                self._look(outlet)

    def attempt_failed(self, x: Exchange, fault: Fault, now: float) -> None:
        """The attempt under way came to nothing: into the row, and to the account of who is to blame."""
        kind = fault.kind
        if kind != "connect":
            # what waited for the journal never left; a stale connection may have died before or after it arrived
            sent = 0 if x.upload else 2 if kind == "stale" else 1
            settle.attempt_over(x, fault.status, sent, clock.now_ns())
        if kind in BLAMED:
            self.failed(x, kind, fault.status, fault.retry_after_s, now)
        elif kind != "stale":  # which is sent again
            self.spared(x)

    def failed(self, x: Exchange, kind: str, status: int, retry_after_s: float, now: float) -> None:
        """An attempt failed by the channel's fault."""
        ability, key = x.ability, x.key
        outlet = ability.outlet
        part = BLAMED[kind]
        if kind in OF_ONE_KEY and len(outlet.keys) > 1:
            others = (one for one in outlet.keys if one is not key and one not in x.failed_keys)
            if kind == BUSY or any(one.breaker.available for one in others):
                part = KEY
        names = _key_of(outlet, key), _model_of(ability)
        blamed, spared = ((names[0], key.breaker), (names[1], ability.breaker))[:: 1 if part is KEY else -1]
        if spared[1].spared(x.request_id):
            self._tell(*spared)
        name, breaker = blamed
        before = breaker.state
        breaker.fault = (kind, status)
        # who says when to come back is busy, with whatever status: it is no last resort
        reason = BUSY if retry_after_s else kind
        opened = breaker.turn_off(now, kind) if kind == REFUSED else breaker.failed(now, reason, retry_after_s)
        if opened or breaker.state is not before:
            breaker.status = status
            self._tell(name, breaker)
        self.resting.add(outlet)
        self._look(outlet)
        if opened:
            what = f"key {key.id}" if part is KEY else f"model {ability.model}"
            _log.warning(
                "channel %s: its %s is %s (%s%s)",
                outlet.channel.ref, what, breaker.state, kind, f", status {status}" if status else "",
            )  # fmt: skip

    def told(self, ability: Ability, key: Key, left: list[tuple[bytes, bytes]], now: float, now_s: int) -> None:
        """What the upstream's account has left: where that is nothing, the key rests before it is refused."""
        pause_s = rest_s(left, now_s)
        if pause_s:
            outlet = ability.outlet
            known = key.breaker.until
            key.breaker.cool(now, BUSY, pause_s)
            if key.breaker.until > known + REST_S_MIN / 2:
                self._tell(_key_of(outlet, key), key.breaker)
            self.resting.add(outlet)
            self._look(outlet)

    def tick(self, now: float) -> None:
        """Whose time has come may be asked again."""
        for outlet in list(self.resting):
            if outlet.gone:
                self._hand_over(outlet)
                continue
            if sum(breaker.tick(now) for breaker in _breakers(outlet)):
                self._look(outlet)
            self._settle(outlet)

    # What other workers know

    def report(self, now: float, everything: bool = False) -> list[Part]:
        """The news, or with `everything` also all that is not ready."""
        told = dict(self.news)
        if everything:
            for outlet in self.resting:
                told |= {name: breaker for name, breaker in _named(outlet) if breaker.state is not READY}
        return [
            Part(
                *name, breaker.state, breaker.reason, breaker.status,
                left_ms=0 if breaker.available else max(0, int((breaker.until - now) * 1000)),
                step_ms=int(breaker.step_s * 1000),
            )
            for name, breaker in told.items()
        ]  # fmt: skip

    def learn(self, parts: Iterable[Part], now: float) -> None:
        """Another worker has found this out; parts that are not known here are passed over."""
        for part in parts:
            outlet = self.find(part.channel)
            breaker = None if outlet is None else dict(_named(outlet)).get((part.channel, part.key, part.model))
            if outlet is None or breaker is None:
                continue
            if breaker.told(now, part.state, part.reason, part.status, part.left_ms / 1000, part.step_ms / 1000):
                outlet.look()
            if breaker.troubled:
                self.resting.add(outlet)
            else:
                self._settle(outlet)

    # Own matters

    def _tell(self, name: PartName, breaker: Breaker) -> None:
        first = not self.news
        self.news[name] = breaker
        if first:
            self.on_news()

    def _look(self, outlet: Outlet) -> None:
        """A breaker has changed; so it has for the channel that shares it: its heir, or who lent it for a probe."""
        outlet.look()
        other = self.find(outlet.id)
        if other is not None and other is not outlet:
            other.look()

    def _hand_over(self, old: Outlet) -> None:
        """The channel has changed: its heir rests for what is still its own; what it got anew is ready."""
        self.resting.discard(old)
        heir = self.find(old.id)
        if heir is None or heir.gone:
            return
        heir.look()
        known = dict(_named(heir))
        if any(breaker.troubled for breaker in known.values()):
            self.resting.add(heir)
        for name, breaker in _named(old):
            fresh = known.get(name)
            if fresh is not None and fresh is not breaker and breaker.state is not READY:
                self._tell(name, fresh)

    def _settle(self, outlet: Outlet) -> None:
        if not any(breaker.troubled for breaker in _breakers(outlet)):
            self.resting.discard(outlet)


def rest_s(left: list[tuple[bytes, bytes]], now_s: int) -> float:
    """How long to stay away by an answer's LEFT_FIELDS; 0.0 = something is left of everything.

    Vendors refill steadily, and say when all is there again: a part of that time brings room for some requests.
    """
    said = {name.lower().decode("latin-1"): value.strip().decode("latin-1") for name, value in left}
    rest = 0.0
    for name, value in said.items():
        if "remaining" in name and value in ("0", "0.0"):
            reset_s = reset_in_s(said.get(name.replace("remaining", "reset"), ""), now_s)
            rest = max(rest, REFILL_PART * reset_s, REST_S_MIN)
    return rest


def reset_in_s(text: str, now_s: int) -> float:
    """ "6m0s", "1.5s", "120ms", "30" or a time of RFC 3339 → seconds from now; 0.0 = it cannot be read."""
    parts = _SPAN.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - now_s)
    except ValueError:
        return 0.0


def _key_of(outlet: Outlet, key: Key) -> PartName:
    return outlet.id, key.id, ""


def _model_of(ability: Ability) -> PartName:
    return ability.outlet.id, 0, ability.model


def _named(outlet: Outlet) -> list[tuple[PartName, Breaker]]:
    keys = [(_key_of(outlet, key), key.breaker) for key in outlet.keys]
    return keys + [(_model_of(ability), ability.breaker) for ability in outlet.abilities.values()]


def _breakers(outlet: Outlet) -> list[Breaker]:
    return [key.breaker for key in outlet.keys] + [ability.breaker for ability in outlet.abilities.values()]


def may_resort(ability: Ability) -> bool:
    """Whether it may be asked where nobody is available: it failed, but nobody said to stay away."""
    outlet = ability.outlet
    if outlet.gone or not outlet.channel.enabled:
        return False
    breakers = [ability.breaker, outlet.any_key().breaker]
    return all(b.available or (b.state is not OFF and b.reason not in (BUSY, FORBIDDEN)) for b in breakers)


def rests_until(ability: Ability) -> float:
    """When it may be asked again: loop time."""
    return max(ability.breaker.until, ability.outlet.any_key().breaker.until)


def wait_s(abilities: list[Ability], now: float) -> tuple[float, bool]:
    """(seconds until one of them may be asked, whether all of them are only busy)."""
    waits: list[float] = []
    busy = bool(abilities)
    for ability in abilities:
        breakers = [b for b in (ability.breaker, ability.outlet.any_key().breaker) if not b.available]
        waits.append(max([b.until - now for b in breakers], default=1.0))
        busy = busy and any(b.reason == BUSY for b in breakers)
    return max(1.0, min(waits, default=1.0)), busy
