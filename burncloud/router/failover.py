"""When an attempt fails before the commit point: whose fault it was, who is next, and when it is enough.

The next channel is one that has not failed in this request.  Where none is left, one that failed is asked once
more, after a pause or when it said; then the client is told.  Every send is an attempt in the ledger; attempts and
time are bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Final

from burncloud import clock
from burncloud.config import Settings
from burncloud.domain.parts import REFUSED
from burncloud.domain.policies import UNAVAILABLE
from burncloud.errors import BAD_GATEWAY, INVALID_REQUEST, RATE_LIMIT_EXCEEDED, SERVICE_UNAVAILABLE, ErrorRow, Refusal
from burncloud.router import settle
from burncloud.router.desk import Desk
from burncloud.router.exchange import DIALLING, Exchange
from burncloud.router.fallbacks import TRIGGERS, Fallbacks
from burncloud.router.fault import Fault
from burncloud.router.health import BLAMED, KEY, OF_ONE_KEY, Health, may_resort, rests_until, wait_s
from burncloud.router.outlets import Ability
from burncloud.router.ports import House
from burncloud.router.translate import way_at
from burncloud.router.world import World

FEW: Final = 8
"""Upstreams' names of a model make a difference to what is lost, as long as there are few."""
WAITED_FOR_S_MAX: Final = 5.0
"""A channel that says to come back later than this is not waited for."""


class Failover:
    """The failed attempts of one worker's exchanges."""

    def __init__(
        self,
        house: House,
        desk: Desk,
        health: Health,
        loop: asyncio.AbstractEventLoop,
        world: World,
        fallbacks: Fallbacks,
        go: Callable[[Exchange, Ability], None],
        reconnect: Callable[[Exchange], None],
        refuse: Callable[[Exchange, Refusal], None],
    ) -> None:
        """`go`: send to this ability (may raise Refusal); `reconnect`: the same again on a fresh connection."""
        self._house = house
        self._desk = desk
        self._health = health
        self._loop = loop
        self._world = world
        self._fallbacks = fallbacks
        self._go = go
        self._reconnect = reconnect
        self._refuse = refuse
        self.wait: Callable[[Exchange, Ability, float], bool] = lambda x, ability, seconds: False
        """Let it wait in line until a channel that rests for so long may be asked; False = that is no use."""

    def attempt_failed(self, x: Exchange, fault: Fault, settings: Settings) -> None:
        """The attempt under way came to nothing."""
        x.held, x.held_bytes, x.meter, x.pump, x.stripper, x.translation = [], 0, None, None, None, None
        x.whole, x.first_ns = None, 0
        x.status = 0
        self._health.attempt_failed(x, fault, self._loop.time())
        trigger = TRIGGERS.get(fault.kind)
        if trigger is not None:
            self._complained(x, trigger)
            return
        if x.done:
            return
        if fault.kind == "stale":
            x.reason = "reconnect"
            self._reconnect(x)
            return
        x.failed_keys = (*x.failed_keys, x.key)
        of_key = fault.kind in OF_ONE_KEY or BLAMED.get(fault.kind) is KEY
        if not of_key or x.outlet.key(x.failed_keys) is None:
            x.tried = (*x.tried, x.ability)
        x.reason = "failover"
        if _has_budget(x, settings, 0):
            ability = self.another(x)
            if ability is not None:
                self._next(x, ability)
                return
            if self._fallbacks.take(x, UNAVAILABLE):
                return
            ability = self.resort(x)
            if ability is not None:
                self._next(x, ability)
                return
            if self._ask_again(x, fault, settings):
                return
            if fault.kind == "busy" and self._line_up(x):
                return
        elif self._fallbacks.take(x, UNAVAILABLE):
            return
        self._give_up(x, fault)

    def _complained(self, x: Exchange, trigger: str) -> None:
        """The channel is well, but its model does not take this request, and another one may."""
        if x.outlet in self._health.resting:
            self._health.succeeded(x.ability, x.key)
        if x.done:
            return
        x.tried = (*x.tried, x.ability)
        if not self._fallbacks.take(x, trigger):
            self._conclude(x, INVALID_REQUEST, f"The model `{x.model}` does not take this request", 0)

    def another(self, x: Exchange) -> Ability | None:
        """One that has not failed in this request, of the channels that there are by now; None = there is none."""
        ability = x.route.pick(x.tried if len(x.tried) < FEW else frozenset(x.tried))
        endpoint = x.target.endpoint
        if ability is not None or x.pinned or endpoint is None:
            return ability
        route = self._world.route(endpoint, x.group, x.model)
        if route is None or route is x.route:
            return None
        failed = {one.outlet.id for one in x.tried}
        x.route, x.tried = route, tuple(one for one in route.members if one.outlet.id in failed)
        return route.pick(x.tried)

    def resort(self, x: Exchange, full: bool = False) -> Ability | None:
        """All that were not asked yet rest: one that only failed of late is asked all the same.

        `full`: also one that is at its limits, where the request waits in line.
        """
        left = [one for one in x.route.members if one not in x.tried and (full or not one.outlet.full)]
        return min(filter(may_resort, left), key=rests_until, default=None)

    def anyone(self, x: Exchange) -> Ability | None:
        """One that was not asked yet, also one that rests."""
        return self.another(x) or self.resort(x)

    def has_more(self, x: Exchange, same: bool, settings: Settings) -> bool:
        """Whether another attempt may follow the one under way, should that fail; `same`: also where it failed."""
        again = same and not x.again and settings.retry_same_ms > 0
        if _has_budget(x, settings, 1) and (again or x.route.other((*x.tried, x.ability))):
            return True
        return self._fallbacks.has(x, UNAVAILABLE)

    def unfit(self, x: Exchange) -> bool:
        """The request cannot be written for the channel chosen without loss, nor for those that are like it.

        Is there one that needs no translation, or another?
        """
        outlet = x.outlet
        name, few = outlet.models.get(x.model), len(x.tried) < FEW
        endpoint = x.target.endpoint
        own = "" if endpoint is None else endpoint.conversation
        alike = [
            one
            for one in x.route.members
            if (way_at(x, one.outlet) or own) == x.way and not (few and one.outlet.models.get(x.model) != name)
        ]
        return self._elsewhere(x, alike)

    def _elsewhere(self, x: Exchange, unable: list[Ability]) -> bool:
        """These cannot be asked, and it is nobody's fault; False = nobody else can.  A rival does not look further."""
        self._health.spared(x)
        x.tried = (*x.tried, *unable)
        ability = None if x.is_rival else self.another(x)
        if ability is None:
            return False
        self._go(x, ability)
        return True

    def full(self, x: Exchange) -> None:
        """All connections to the upstream are in use, which is nobody's fault: another channel, or "try again"."""
        try:
            if not self._elsewhere(x, [x.ability]):
                text = "All connections to the upstream are in use, try again"
                self._refuse(x, Refusal(SERVICE_UNAVAILABLE, text, 1))
        except Refusal as refusal:
            self._refuse(x, refusal)

    def nobody(self, x: Exchange) -> Ability | None:
        """No channel is available: one that only failed of late is asked all the same.  Raises Refusal.

        None = another model is asked instead, or it waits for one that is only busy.
        """
        if self._fallbacks.take(x, UNAVAILABLE):
            return None
        found = self.resort(x, True)
        if found is not None:
            return found
        abilities = [ability for ability in x.route.members if ability not in x.tried]
        seconds, busy = wait_s(abilities, self._loop.time())
        if busy:
            if self.wait(x, abilities[0], seconds):
                return None
            raise Refusal(RATE_LIMIT_EXCEEDED, f"The model `{x.model}` is busy, try again", int(seconds))
        raise Refusal(SERVICE_UNAVAILABLE, f"No channel for the model `{x.model}` is available", int(seconds))

    def _ask_again(self, x: Exchange, fault: Fault, settings: Settings) -> bool:
        """Nobody else is left: wait, and ask one that failed a second time; False = it is no use."""
        pause = fault.retry_after_s or settings.retry_same_ms / 1000
        if x.again or not pause or pause > WAITED_FOR_S_MAX or fault.kind == REFUSED:
            return False
        x.again = True
        x.state = DIALLING
        x.tried, x.failed_keys = (), x.failed_keys[:-1] if len(x.failed_keys) > 1 else ()
        self._loop.call_later(pause, self._second_time, x, x.ability)
        return True

    def _line_up(self, x: Exchange) -> bool:
        """All others rest, too, or have failed."""
        tried, x.tried = x.tried, ()
        if self.wait(x, x.ability, self._back_in_s(x)):
            return True
        x.tried = tried
        return False

    def _second_time(self, x: Exchange, ability: Ability) -> None:
        if x.done or x.state is not DIALLING:
            return
        self._next(x, self.another(x) or (None if ability.outlet.gone else ability))

    def _next(self, x: Exchange, ability: Ability | None) -> None:
        x.state = DIALLING
        try:
            ability = ability or self.nobody(x)
            if ability is not None:
                self._go(x, ability)
        except Refusal as refusal:
            self._refuse(x, refusal)

    def _give_up(self, x: Exchange, fault: Fault) -> None:
        if fault.kind == "busy":
            self._conclude(x, RATE_LIMIT_EXCEEDED, "The model is busy, try again", self._back_in_s(x))
        elif fault.kind in ("lost", "empty") or (fault.kind == "broken" and fault.status < 400):
            self._conclude(x, BAD_GATEWAY, "", 0)
        else:
            self._conclude(x, SERVICE_UNAVAILABLE, "No channel could answer, try again", self._back_in_s(x))

    def _back_in_s(self, x: Exchange) -> int:
        """When the first of its channels may be asked again."""
        known = x.route.members
        return 1 if any(map(may_resort, known)) else ceil(wait_s(known, self._loop.time())[0])

    def _conclude(self, x: Exchange, row: ErrorRow, text: str, retry_after_s: int) -> None:
        """No attempt answered: a row in the ledger says so, and the client gets the error."""
        self._fallbacks.restore(x)
        if not x.x:
            x.x = self._house.journal.intend(settle.intent(x))
        settle.settle(x, "failed", row.status, self._house.journal, self._desk)
        self._refuse(x, Refusal(row, text, retry_after_s))


def _has_budget(x: Exchange, settings: Settings, more: int) -> bool:
    """Whether yet another attempt may be made, after those that failed and so many more."""
    spent_ms = (clock.now_ns() - x.started_ns) // 1_000_000
    return len(x.failed_keys) + more + x.again < settings.attempts_max and spent_ms < settings.attempts_timeout_ms
