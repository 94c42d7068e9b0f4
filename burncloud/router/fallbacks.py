"""Another model answers instead: where no channel of the one asked for can, or where it said that it will not.

The operator names who stands in, in which order and when (domain/policies.py).  The stand-in must be among the models
that the token may use and must have a price; it is billed as itself, so a dearer one reserves what is missing before
anything is sent to it.  Who is out of the question is passed over.  Nothing of this happens before something failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol
from urllib.parse import quote

from burncloud import clock
from burncloud.adaptors.complaints import FILTERED, TOO_LONG
from burncloud.domain import policies
from burncloud.domain.names import among
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE, Refusal
from burncloud.router import settle
from burncloud.router.choose import Route
from burncloud.router.desk import Desk
from burncloud.router.exchange import DIALLING, LEASING, Exchange, StandIn
from burncloud.router.outlets import Ability
from burncloud.router.translate import forget
from burncloud.router.world import World

TRIGGERS: Final = {TOO_LONG: policies.CONTEXT, FILTERED: policies.FILTER}
"""Kind of a complaint (adaptors/complaints.py) → the trigger."""
_HEADER_SAFE: Final = "/:@!$&'()*+,;= "


class Prices(Protocol):
    """What a request costs, and what may be asked for (gateway.py)."""

    def price(self, x: Exchange) -> int:
        """Set price, ratio and reserve of `x.model`; −1 = it has no price."""

    def choose(self, x: Exchange) -> None:
        """Choose a channel of `x.route`, and go there.  Raises Refusal."""

    def refuse(self, x: Exchange, refusal: Refusal) -> None:
        """Answer with an error."""


class Fallbacks:
    """The stand-ins of one worker's exchanges."""

    def __init__(self, world: World, desk: Desk, prices: Prices, timeout_ms: Callable[[], int]) -> None:
        """`timeout_ms`: no stand-in is asked after this."""
        self._world = world
        self._desk = desk
        self._prices = prices
        self._timeout_ms = timeout_ms
        self.count: Callable[[Exchange, int, Callable[[Refusal | None], None]], Refusal | bool]
        """Put it down in the limits of `x.model`, so many tokens (limits.py, `stand_in`)."""

    def early(self, x: Exchange) -> bool:
        """No channel has the model at all: is there one that stands in?  Nothing is reserved yet."""
        for model, route in self._candidates(x, policies.UNAVAILABLE):
            self._turn(x, model, route)
            return True
        return False

    def has(self, x: Exchange, kind: str) -> bool:
        """Whether another model is to be asked after a complaint of this kind, or "unavailable"."""
        known = self._world.policies
        return bool(known) and next(self._candidates(x, TRIGGERS.get(kind, kind)), None) is not None

    def take(self, x: Exchange, trigger: str) -> bool:
        """Ask the next stand-in; False = there is none (any more)."""
        for model, route in self._candidates(x, trigger):
            before = (x.model, x.route, x.price, x.reserve, x.charge_lost, x.stand_in, x.fields)
            fields = self._turn(x, model, route)
            output = self._prices.price(x)
            count = partial(self._counted, x, fields, trigger)
            found = not self._world.limits or self.count(x, x.prompt + output, count)
            if found is True:
                self._taken(x, fields, trigger)
            elif found:
                x.model, x.route, x.price, x.reserve, x.charge_lost, x.stand_in, x.fields = before
                continue
            else:
                x.state = DIALLING if x.x else LEASING
            return True
        return False

    def _taken(self, x: Exchange, fields: bytes, trigger: str) -> None:
        """It is priced, and counts for the model's limits."""
        assert x.stand_in is not None
        x.fields = fields
        self.label(x, x.stand_in)
        self._afresh(x)
        self._hold(x, trigger)

    def _counted(self, x: Exchange, fields: bytes, trigger: str, refusal: Refusal | None) -> None:
        """Whether there is room at its limits is known; who has none is passed over."""
        if x.done:
            if x.money:
                settle.release(x, self._desk)
            return
        x.fields = fields
        if refusal is None:
            self._taken(x, fields, trigger)
        elif not self.take(x, trigger):
            self._poor(x, trigger, refusal)

    def restore(self, x: Exchange) -> None:
        """Nobody could stand in: the client hears of the model that it asked for."""
        if x.stand_in is not None:
            x.fields = x.stand_in.fields

    def _candidates(self, x: Exchange, trigger: str) -> Iterator[tuple[str, Route[Ability]]]:
        """Stand-ins that were not asked yet, may be, have a price, and a channel that is available."""
        world, token, endpoint = self._world, x.token, x.target.endpoint
        if not world.policies or endpoint is None or x.pinned:
            return
        if clock.now_ns() - x.started_ns > self._timeout_ms() * 1_000_000:
            return
        given_up = (x.model,) if x.stand_in is None else (*x.stand_in.given_up, x.model)
        said = world.said(policies.scopes_of(token.id, x.group), given_up[0])
        for model in policies.fallbacks(said, trigger):
            if model in given_up or (token.models is not None and not among(token.models, model)):
                continue
            route = world.route(endpoint, x.group, model)
            if route is not None and route.other(()) and world.tariff(endpoint, model) is not None:
                yield model, route

    def _turn(self, x: Exchange, model: str, route: Route[Ability]) -> bytes:
        """The answer's fields, without a model's name."""
        fields = x.fields if x.stand_in is None else x.stand_in.fields
        given_up = (x.model,) if x.stand_in is None else (*x.stand_in.given_up, x.model)
        x.stand_in, x.fields = StandIn(given_up), fields
        x.model, x.route = model, route
        return fields

    def label(self, x: Exchange, stand_in: StandIn) -> None:
        """Name the model in the head of the answer."""
        stand_in.fields = x.fields
        x.fields += b"x-burncloud-model: %b\r\n" % quote(x.model, safe=_HEADER_SAFE).encode()

    def _afresh(self, x: Exchange) -> None:
        """The attempts at another model are its own: who failed before may be asked for it."""
        x.tried, x.failed_keys, x.again = (), (), False
        x.asked = None
        if x.written is not None:
            forget(x)

    def _hold(self, x: Exchange, trigger: str) -> None:
        """Reserve what is missing for the dearer one; then go on."""
        token = x.token
        payer = self._world.users.get(token.user)
        user = token.user if payer is not None and payer.limited else 0
        limited = token.id if token.limited else 0
        missing = x.reserve - max(x.hold_user, x.hold_token)
        if missing <= 0 or not (user or limited):
            self._go_on(x)
        elif self._desk.hold(user, limited, missing):
            self._held(x, user, limited, missing)
            self._go_on(x)
        else:
            x.state = DIALLING if x.x else LEASING
            self._desk.wait(
                user, limited, missing, lambda refusal: self._leased(x, user, limited, missing, trigger, refusal)
            )

    def _held(self, x: Exchange, user: int, token: int, amount: int) -> None:
        x.hold_user += amount if user else 0
        x.hold_token += amount if token else 0
        x.money = True

    def _leased(self, x: Exchange, user: int, token: int, amount: int, trigger: str, refusal: Refusal | None) -> None:
        """The control process has answered.  Who is too dear is passed over."""
        if x.done:
            for leases, account in ((self._desk.users, user), (self._desk.tokens, token)):
                if account and refusal is None:
                    self._desk.settle(leases, account, amount, 0)
            if x.money:
                settle.release(x, self._desk)
        elif refusal is None:
            self._held(x, user, token, amount)
            self._go_on(x)
        elif not self.take(x, trigger):
            self._poor(x, trigger, refusal)

    def _poor(self, x: Exchange, trigger: str, refusal: Refusal) -> None:
        """What was asked for could be paid for but not be had; what could be had is too dear."""
        stand_in = x.stand_in
        assert stand_in is not None
        dear = x.model
        self.restore(x)
        row, why = SERVICE_UNAVAILABLE, f"No channel for the model `{stand_in.given_up[0]}` is available"
        if trigger is not policies.UNAVAILABLE:
            row, why = INVALID_REQUEST, f"The model `{stand_in.given_up[0]}` does not take this request"
        text = f"{why}, and `{dear}`, which would answer instead: {refusal.message}"
        self._prices.refuse(x, Refusal(row, text, refusal.retry_after_s))

    def _go_on(self, x: Exchange) -> None:
        try:
            x.reason = "fallback" if x.x else x.reason
            self._prices.choose(x)
        except Refusal as refusal:
            self._prices.refuse(x, refusal)
