"""From an exchange to its receipt: what was used, what it costs, what the leases give for it.

Called once for each exchange that has an intent, when nothing more will come: the charge is fixed here, by the
price and the ratios of admission, and booked unchanged (MONEY.md §3).
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud import clock
from burncloud.adaptors.meter import billable
from burncloud.adaptors.translation import Translation
from burncloud.domain.journal import Again, Attempt, End, Intent
from burncloud.domain.pricing import charge
from burncloud.domain.usage import Usage
from burncloud.router.desk import Desk
from burncloud.router.exchange import DIALLING, Exchange, StandIn
from burncloud.router.ports import Journal

MALFORMED: Final = "malformed_events"
"""Events of a stream that were none were dropped."""
NS_PER_DAY: Final = 86_400_000_000_000


def intent(x: Exchange) -> Intent:
    """The record that an attempt is about to leave."""
    token, outlet, price, started_ns = x.token, x.outlet, x.price, x.started_ns
    x.day = day = started_ns // NS_PER_DAY
    return Intent(
        started_ns, day, x.request_id, x.head.client_request, token.user, token.id,
        outlet.id, x.key.id, x.model, x.upstream_model, x.endpoint, x.group, x.stream,
        price.revision, price.ratio_ppm, x.group_ratio_ppm, x.reserve, x.hold_user, x.hold_token, x.charge_lost,
        "" if x.stand_in is None else note(x, x.stand_in),
    )  # fmt: skip


def again(x: Exchange) -> Again:
    """The record that a further attempt is about to leave; the first at another model brings what it is billed by."""
    instead = intent(x) if x.stand_in is not None and x.stand_in.noted != x.model else None
    return Again(x.x, x.n or len(x.attempts) + 1, x.outlet.id, x.key.id, x.reason, instead)


def note(x: Exchange, stand_in: StandIn) -> str:
    """The model that the client asked for; the journal knows of the one that stands in for it from here on."""
    stand_in.noted = x.model
    return stand_in.given_up[0]


def attempt_over(x: Exchange, status: int, sent: int, now_ns: int) -> None:
    """Note how the attempt under way ended; `sent`: 1 received, 0 it never left, 2 unknown."""
    outlet, n = x.outlet, x.n or len(x.attempts) + 1
    x.n = 0
    x.attempts += (Attempt(n, outlet.id, x.key.id, x.reason, sent, status, 0, (now_ns - x.attempt_ns) // 1000),)


def used(x: Exchange) -> tuple[Usage, bool]:
    """What the exchange used so far, and whether that is an estimate."""
    if x.rescue is not None:
        if x.reading is None and x.meter is not None and x.translation is not None and x.translation.content:
            x.reading = x.meter.finish()
        return x.rescue.used(x.reading, x.translation is not None and x.translation.ended)
    if x.state is DIALLING or not x.attempts or not (x.first_ns or x.attempts[-1].sent):
        return Usage(), False  # no attempt is under way that anybody received
    endpoint = x.target.endpoint
    if x.status >= 400 or endpoint is None or endpoint.free:
        return Usage(), False
    reading = x.reading
    if reading is None and x.meter is not None:
        reading = x.reading = x.meter.finish()
    if reading is None:
        # the request was received, nothing came back: the prompt was read
        return Usage(input=x.prompt_billed), True
    if reading.usage is None and isinstance(x.translation, Translation):
        reading.usage = x.translation.usage
    if reading.error and reading.usage is None and not reading.output_estimate_tokens:
        return Usage(), False  # an error in the place of an answer: nothing was delivered, nothing was counted
    return billable(reading, x.prompt_billed)


def settle(x: Exchange, state: str, status: int, journal: Journal, desk: Desk) -> None:
    """Price the exchange, end its holds and queue its receipt."""
    token, outlet, price, started_ns, first_ns = x.token, x.outlet, x.price, x.started_ns, x.first_ns
    cost = 0
    if state == "failed":
        usage, estimated = Usage(), False
    else:
        usage, estimated = used(x)
        if (state == "done" and x.status < 400) or usage != _NOTHING:
            cost = charge(price, usage, x.group_ratio_ppm)
    if x.seat is not None:
        x.seat.used = sum(msgspec.structs.astuple(usage))
    draw_user = desk.settle(desk.users, token.user, x.hold_user, cost) if x.hold_user else 0
    draw_token = desk.settle(desk.tokens, token.id, x.hold_token, cost) if x.hold_token else 0
    if cost and x.attempts and x.rescue is None:
        x.attempts[-1].charge = cost
    channel = key = first_us = 0
    if first_ns:
        channel, key, first_us = outlet.id, x.key.id, (first_ns - started_ns) // 1000
    if x.rescue is not None:
        ended = x.translation is not None and x.translation.ended
        last = x.rescue.share(x.attempts, cost, price, x.group_ratio_ppm, ended)
        channel, key = last.channel, last.key
    if x.raced:
        x.attempts = tuple(sorted(x.attempts, key=lambda attempt: attempt.n))
    lossy = "" if x.translation is None else ",".join(x.translation.losses.names())
    if (x.sieve is not None and x.sieve.dropped) or (x.rescue is not None and x.rescue.dropped):
        lossy = f"{lossy},{MALFORMED}" if lossy else MALFORMED
    journal.end(
        End(
            x.x, started_ns, x.day, x.request_id, x.head.client_request, token.user, token.id,
            channel, key, x.model, x.upstream_model,
            x.endpoint, x.group, x.stream, price.revision, price.ratio_ppm, x.group_ratio_ppm, x.reserve,
            x.hold_user, x.hold_token, draw_user, draw_token, cost, usage, estimated, state, status,
            (clock.now_ns() - started_ns) // 1000, first_us,
            x.bytes_up, x.bytes_down, x.client.peer, x.upstream_request, x.attempts,
            lossy,
            "" if x.stand_in is None else x.stand_in.given_up[0],
        )
    )  # fmt: skip
    x.money = False


def release(x: Exchange, desk: Desk) -> None:
    """End the holds of an exchange that never had an intent."""
    if x.hold_user:
        desk.settle(desk.users, x.token.user, x.hold_user, 0)
    if x.hold_token:
        desk.settle(desk.tokens, x.token.id, x.hold_token, 0)
    x.hold_user = x.hold_token = 0
    x.money = False


_NOTHING: Final = Usage()
