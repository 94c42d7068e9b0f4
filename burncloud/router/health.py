"""Whose fault a failure is, and what follows: the parts of a channel rest, are probed, and come back.

A failure is blamed on the part that it says something of (BLAMED): a key, or a model at a channel.  A client's
mistake is nobody's fault here; it never arrives.  What rests is looked at by the sweep; nothing has a timer.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from burncloud import logs
from burncloud.router.breaker import OFF, READY, Breaker
from burncloud.router.exchange import Exchange
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
    "forbidden": MODEL,
    "busy": MODEL,
    "refused": KEY,
}
"""Kind of fault → the part that is blamed.  busy (429) is the key's where the channel has another one."""


class Health:
    """The state of all channels, as this worker sees it."""

    def __init__(self) -> None:
        self.resting: set[Outlet] = set()
        """Those with a part that is not ready, or has failed lately."""

    def chosen(self, ability: Ability, key: Key, now: float) -> None:
        """A request goes there: a probe keeps others away."""
        for breaker in (ability.breaker, key.breaker):
            if breaker.state is not READY:
                breaker.taken(now)
                ability.outlet.look()

    def succeeded(self, ability: Ability, key: Key) -> None:
        """It answered.  To be called where the outlet is among the resting."""
        outlet = ability.outlet
        healed = [breaker for breaker in (ability.breaker, key.breaker) if breaker.succeeded()]
        if healed:
            _log.warning("channel %s is ready again for %s", outlet.channel.ref, ability.model)
            outlet.look()
        self._settle(outlet)

    def spared(self, ability: Ability, key: Key) -> None:
        """The client left before an answer: nothing was learned."""
        ability.breaker.spared()
        key.breaker.spared()
        ability.outlet.look()

    def failed(self, x: Exchange, kind: str, status: int, retry_after_s: float, now: float) -> None:
        """An attempt failed by the channel's fault."""
        ability, key = x.ability, x.key
        outlet = ability.outlet
        part = KEY if kind == "busy" and len(outlet.keys) > 1 else BLAMED[kind]
        breaker, other = (key.breaker, ability.breaker) if part is KEY else (ability.breaker, key.breaker)
        other.spared()
        if kind == "refused":
            opened = breaker.turn_off(now, kind)
        else:
            opened = breaker.failed(now, kind, retry_after_s or (1.0 if kind == "busy" else 0.0))
        self.resting.add(outlet)
        outlet.look()
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
            key.breaker.cool(now, "busy", pause_s)
            self.resting.add(ability.outlet)
            ability.outlet.look()

    def tick(self, now: float) -> None:
        """Whose time has come may be asked again."""
        for outlet in list(self.resting):
            if sum(breaker.tick(now) for breaker in _breakers(outlet)):
                outlet.look()
            self._settle(outlet)

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


def _breakers(outlet: Outlet) -> list[Breaker]:
    return [key.breaker for key in outlet.keys] + [ability.breaker for ability in outlet.abilities.values()]


def may_resort(ability: Ability) -> bool:
    """Whether it may be asked where nobody is available: it failed, but nobody said to stay away."""
    outlet = ability.outlet
    if outlet.gone or not outlet.channel.enabled:
        return False
    breakers = [ability.breaker, outlet.any_key().breaker]
    return all(b.available or (b.state is not OFF and b.reason not in ("busy", "forbidden")) for b in breakers)


def wait_s(abilities: list[Ability], now: float) -> tuple[float, bool]:
    """(seconds until one of them may be asked, whether all of them are only busy)."""
    waits: list[float] = []
    busy = bool(abilities)
    for ability in abilities:
        breakers = [b for b in (ability.breaker, ability.outlet.any_key().breaker) if not b.available]
        waits.append(max([b.until - now for b in breakers], default=1.0))
        busy = busy and any(b.reason == "busy" for b in breakers)
    return max(1.0, min(waits, default=1.0)), busy
