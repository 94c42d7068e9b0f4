"""A second request to another channel, where the first has not begun to answer for longer than it should.

Only before anything reached the client, once a request, and only where the operator set a delay.  The rival is an
exchange of its own on the same request: it has everything of the first but the attempt.  Who can answer first takes
the client; the other is cut off at once and stands in the row with what it presumably cost the house, and no charge
(MONEY.md §1).  If one fails the other goes on alone; what fails after that is an ordinary failover.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Final

from burncloud import clock, crash
from burncloud.adaptors.meter import billable
from burncloud.config import Settings
from burncloud.domain.policies import cost_ppm
from burncloud.domain.pricing import charge
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal
from burncloud.router import settle
from burncloud.router.exchange import DIALLING, HOLDING, OVER, SENT, Exchange
from burncloud.router.fault import Fault
from burncloud.router.health import Health
from burncloud.router.limits import Limits
from burncloud.router.outlets import Ability
from burncloud.router.translate import forget
from burncloud.router.world import World

SETTING: Final = "hedge_after_ms"
OF_AN_ATTEMPT: Final = (
    "ability", "outlet", "key", "way", "written", "asked", "translation", "stripper", "sieve", "meter", "reading",
    "held", "held_bytes", "hurried", "status", "first_ns", "sse", "upstream_model", "attempt_ns", "state", "up",
    "whole", "touched", "bytes_up", "reason", "upload", "upload_body", "pump", "digest", "counted", "n",
)  # fmt: skip
"""What a rival brings when it takes over."""
FIELDS: Final = tuple(
    name for kind in Exchange.__mro__ for name, value in vars(kind).items()
    if inspect.isdatadescriptor(value) and not name.startswith("__")
)  # fmt: skip
"""All that an exchange holds; a compiled class has no `__slots__` to tell."""


class Hedges:
    """The rivals of one worker's exchanges."""

    def __init__(
        self,
        world: World,
        health: Health,
        loop: asyncio.AbstractEventLoop,
        live: set[Exchange],
        go: Callable[[Exchange, Ability], None],
        uncount: Callable[[Exchange], None],
        limits: Limits,
    ) -> None:
        """`go`: send to this ability (may raise Refusal); `uncount`: it is with none any more."""
        self._world = world
        self._health = health
        self._loop = loop
        self._live = live
        self._go = go
        self._uncount = uncount
        self._limits = limits
        self._after_s = 0.0
        self._named: dict[str, float] = {}
        """Model → seconds, where it has its own."""

    def tune(self, settings: Settings) -> None:
        """The settings are these now."""
        self._after_s = settings.hedge_after_ms / 1000
        prefix = f"{SETTING}:"
        self._named = {
            name.removeprefix(prefix): int(value) / 1000
            for name, value in self._world.settings.items()
            if name.startswith(prefix) and value.isdigit()
        }

    def after_s(self, x: Exchange) -> float:
        """When a rival is due, from the send on; 0.0 = never."""
        return self._named.get(x.model, self._after_s) if self._named else self._after_s

    def begin(self, x: Exchange) -> None:
        """Ask another channel, too, if there is one."""
        if x.raced or x.rescue is not None or x.body is None or x.upload or x.pump is not None or x.pinned:
            return
        x.raced = True
        ability = x.route.pick((*x.tried, x.ability))
        if ability is None or self._limits.counts(ability):
            return
        x.n = len(x.attempts) + 1
        rival = _twin(x)
        rival.is_rival = True
        rival.race, x.race = x, rival
        rival.n = x.n + 1
        rival.up = rival.meter = rival.translation = rival.stripper = rival.sieve = rival.counted = rival.written = None
        rival.seat = rival.reading = rival.whole = None
        rival.held = []
        rival.tried = (*x.tried, x.ability)
        rival.failed_keys = (*x.failed_keys, x.key)
        rival.reason = "hedge"
        rival.state = DIALLING
        self._live.add(rival)
        try:
            self._go(rival, ability)
        except Refusal:
            self.drop(rival)

    # The race

    def won(self, x: Exchange) -> Exchange:
        """It can answer: the other is cut off; the client's exchange, which goes on as the winner."""
        rival = x.race
        assert rival is not None
        if crash.ARMED:
            crash.point("worker.race_won")
        if not x.is_rival:
            self.drop(rival)
            return x
        self._stop(rival)
        self._limits.depart(rival, rival.prompt)
        self._uncount(rival)
        if rival.written is not None and rival.written is not x.written:
            forget(rival)
        self._hand_over(x, rival)
        return rival

    def failed(self, x: Exchange, fault: Fault) -> bool:
        """The attempt of one of two failed; False = the other is none yet: an ordinary failover."""
        other = x.race
        assert other is not None
        if x.is_rival:
            self._note(x, other, fault)
            other.tried = (*other.tried, x.ability)
            self._part(x)
            return True
        if other.state not in (SENT, HOLDING):
            self.drop(other)
            return False
        self._note(x, x, fault)
        x.tried = (*x.tried, x.ability)
        x.failed_keys = (*x.failed_keys, x.key)
        self._limits.depart(x, 0)
        self._uncount(x)
        if x.written is not None:
            forget(x)
        if x.sieve is not None:
            x.sieve.drop()
        self._hand_over(other, x)
        return True

    def refused(self, x: Exchange) -> bool:
        """The client is to be told an error; True = only the rival cannot go on, of which it knows nothing."""
        assert x.race is not None
        is_rival = x.is_rival
        self.drop(x if is_rival else x.race)
        return is_rival

    def drop(self, rival: Exchange) -> None:
        """A rival is of no use any more."""
        if rival.race is None:
            return
        self._stop(rival)
        self._part(rival)

    # Own matters

    def _hand_over(self, rival: Exchange, x: Exchange) -> None:
        """The client's exchange goes on with the rival's attempt."""
        for name in OF_AN_ATTEMPT:
            setattr(x, name, getattr(rival, name))
        if x.up is not None and x.up.exchange is rival:
            x.up.exchange = x
        rival.up = rival.written = rival.sieve = rival.whole = rival.counted = None
        self._part(rival)

    def _part(self, rival: Exchange) -> None:
        """Forget the rival."""
        x, rival.race = rival.race, None
        if x is not None:
            x.race = None
        rival.done = True
        rival.whole = None
        rival.state = OVER
        self._live.discard(rival)
        self._uncount(rival)
        if rival.written is not None:
            forget(rival)
        if rival.sieve is not None:
            rival.sieve.drop()

    def _note(self, x: Exchange, lead: Exchange, fault: Fault) -> None:
        """An attempt failed: into the row, and to the channel's account."""
        self._health.attempt_failed(x, fault, self._loop.time())
        if x is not lead and fault.kind != "connect":
            lead.attempts += x.attempts[-1:]

    def _stop(self, x: Exchange) -> None:
        """Cut off an attempt that lost: it stands in the row, with what it cost."""
        up, x.up = x.up, None
        left = bool(x.upload)
        if up is not None and not up.lost:
            # what is still with us of the head was received by nobody
            left = left or up.transport.get_write_buffer_size() > x.bytes_up
            up.abort()
        self._health.spared(x)
        if x.state not in (SENT, HOLDING):
            return
        settle.attempt_over(x, x.status if x.state is HOLDING else 0, 0 if left else 1, clock.now_ns())
        lost = x.attempts[-1]
        if lost.sent:
            usage = Usage(input=x.prompt_billed)
            if x.meter is not None and x.state is HOLDING:
                usage = billable(x.meter.finish(), x.prompt_billed)[0]
            lost.cost = charge(x.price, usage, cost_ppm(x.outlet.channel.options, x.ability.model))
        if x.is_rival and x.race is not None:
            x.race.attempts += (lost,)


def _twin(x: Exchange) -> Exchange:
    """Everything of it; copy.copy would make an Exchange of nothing first, which the compiled class refuses."""
    twin = Exchange(x.client, x.method, x.url, x.head, x.length, x.started_ns)
    for name in FIELDS:
        if hasattr(x, name):
            setattr(twin, name, getattr(x, name))
    return twin
