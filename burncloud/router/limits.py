"""How much may be asked: the limits of tokens, users, groups and models at the door, those of channels at the choice.

At the door a request is put down in the windows of all that it counts for, or refused (429).  A channel is entered
when a request is about to go there; one that is full is not available, so the choice falls on others.  Where all are
full the request waits: each token has a line of its own, and the lines are served in turn, so that nobody who asks
for much keeps others waiting.  The windows are shared by all workers (wire/windows.py); nothing here does I/O.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final

from burncloud import clock, logs
from burncloud.config import Settings
from burncloud.domain.snapshot import Limit
from burncloud.errors import RATE_LIMIT_EXCEEDED, SERVICE_UNAVAILABLE, Refusal
from burncloud.router.exchange import DIALLING, LEASING, Exchange, Seat
from burncloud.router.known import Known
from burncloud.router.outlets import Ability, Outlet
from burncloud.router.permit_script import SCRIPT
from burncloud.router.permits import Permits
from burncloud.router.world import World
from burncloud.wire.permits import SharedWindows
from burncloud.wire.redis import Redis, parse_url
from burncloud.wire.windows import (
    FLIGHT_LIMIT,
    REQUEST_LIMIT,
    REQUESTS,
    TOKEN_LIMIT,
    WINDOW_MS,
    Account,
    Full,
    NoRoom,
    Windows,
)

RESOLVED_MAX: Final = 20_000
LOOK_S: Final = 0.25
"""As often a channel full of concurrent requests is looked at: other workers end some, too."""
POLL_S: Final = 0.005
"""The same while requests wait for it; less often where looking itself takes long."""
POLL_SHARE: Final = 20
AGAIN_S: Final = 1
"""Retry-After where nobody knows better."""
RESTING: Final = Account("", 0)
"""Why requests wait for channels that said 429 of their own."""
_log = logs.logger(__name__)

_SAID: Final = {
    REQUEST_LIMIT: "requests a minute",
    TOKEN_LIMIT: "tokens a minute",
    FLIGHT_LIMIT: "concurrent requests",
}


class Limits:
    """The limits of one worker's requests."""

    def __init__(
        self,
        world: World,
        loop: asyncio.AbstractEventLoop,
        go: Callable[[Exchange, Ability], None],
        refuse: Callable[[Exchange, Refusal], None],
        settings: Settings,
    ) -> None:
        """`go`: send to this ability, which was entered (may raise Refusal)."""
        self._world = world
        self._loop = loop
        self._go = go
        self._refuse = refuse
        self._settings = settings
        self._windows: Windows | None = None
        self._permits: Permits | None = None
        """Where the limits are shared with other nodes."""
        self.proceed: Callable[[Exchange], None] = lambda x: None
        """What comes after the door."""
        self.another: Callable[[Exchange], Ability | None] = lambda x: x.route.pick(x.tried)
        """The next channel for one that waits."""
        self.counters = {"redis_away": 0, "redis_slow": 0, "redis_lost": 0}
        self.on_change: Callable[[], None] = lambda: None
        """Called when Redis goes, comes, or is slow."""
        self._accounts: dict[str, Account] = {}
        self._share: tuple[int, int] = (-1, 0)
        self._seen = 0
        self._resolved: dict[tuple[int, str, str], Known] = {}
        self.channels: dict[int, Account] = {}
        """Channels that have limits, by id."""
        self._full: dict[Outlet, float] = {}
        """Until when they are not asked, loop time."""
        self._lines: OrderedDict[tuple[int, str], deque[Exchange]] = OrderedDict()
        """Token and model → those who wait; the first line is served next."""
        self.waiting = 0
        self._due = False
        self._polling = False
        self._queued: dict[int, Account] = {}
        """Channels of which other workers know that requests wait here."""

    def share(self, fd: int, index: int) -> None:
        """All workers have the file `fd`; to be called before the first request."""
        self._share = (fd, index)

    def join(self, ledger: str, node: str) -> None:
        """Share the limits with all nodes that keep this ledger, where there is a server for it."""
        url = self._settings.redis_url
        if not url or self._permits is not None:
            return
        server = Redis(self._loop, parse_url(url), SCRIPT, self._server_changed, self._settings.upstream_ca_file)
        windows = self._windows = SharedWindows(*self._share)
        prefix = b"burncloud:{%b}" % ledger.encode()
        self._seen = -1  # what is known of limits is to be looked at anew
        self._permits = permits = Permits(self._loop, server, windows, prefix, node)
        permits.on_news = self._news
        server.hello = permits.hello
        permits.counters = self.counters = self.counters | permits.counters
        server.start()

    def bury(self, workers: Iterable[int]) -> None:
        """These have ended: what they had under way is over."""
        if self._windows is not None:
            for index in workers:
                self._windows.bury(index)

    def _server_changed(self, why: str) -> None:
        self.counters["redis_away"] = int(bool(why))
        if why:
            self.counters["redis_lost"] += 1
            _log.warning("Redis is away (%s): each node keeps its part of the limits by itself", why)
        else:
            _log.warning("Redis is there: limits hold across nodes")
            if self._permits is not None:
                self._permits.back()
        self.on_change()

    def _speed_changed(self, slow: bool) -> None:
        self.counters["redis_slow"] = int(slow)
        if slow:
            _log.warning("Redis is slow: what it does not answer in time is decided by each node alone")
        self.on_change()

    def _news(self) -> None:
        """Permits may have come for channels that were thought full."""
        if self._full or self.waiting:
            self._full = dict.fromkeys(self._full, 0.0)
            self._soon()

    @property
    def windows(self) -> Windows:
        """Made when the first limit is known: then what a dead worker of our number had under way is over."""
        if self._windows is None:
            self._windows = Windows(*self._share)
        return self._windows

    # At the door

    def admit(self, x: Exchange, tokens: int) -> bool:
        """Put the request down in all that it counts for; False = `proceed` will be called.  Raises Refusal."""
        if self._world.limits_seen != self._seen:
            self._renew()
        known = self._resolved.get((x.token.id, x.group, x.model))
        if known is None:
            known = self._resolve(x)
        accounts = known.accounts
        if not accounts:
            if self.channels:
                x.seat = Seat(accounts, 0, tokens)
            return True
        permits = self._permits
        try:
            if permits is None:
                full = self.windows.admit(accounts, tokens)
            else:
                found = permits.admit(accounts, tokens, lambda full: self._decided(x, known, tokens, full))
                if found is False:
                    x.state = LEASING
                    return False
                full = None if found is True else found
        except NoRoom:
            raise _no_room() from None
        if full is None:
            self._seat(x, known, tokens)
            return True
        raise self._refusal(x, known, full)

    def _decided(self, x: Exchange, known: Known, tokens: int, full: Full | None) -> None:
        """What it waited for is known."""
        if x.done or x.state is not LEASING:
            if full is None:
                self._leave(known.accounts, self.windows.cell, -tokens)
            return
        try:
            if full is not None:
                raise self._refusal(x, known, full)
            self._seat(x, known, tokens)
            self.proceed(x)
        except Refusal as refusal:
            self._refuse(x, refusal)

    def _seat(self, x: Exchange, known: Known, tokens: int) -> None:
        if known.lasting or self.channels:
            x.seat = Seat(known.lasting, self.windows.cell, tokens)
        x.fields = self._fields(known, None)

    def _refusal(self, x: Exchange, known: Known, full: Full) -> Refusal:
        x.fields = self._fields(known, full)
        kind = full.account.name.partition(":")[0]
        if full.retry_ms < 0:
            text = f"The request alone is more than the {_SAID[full.what]} of this {kind}"
            return Refusal(RATE_LIMIT_EXCEEDED, text)
        text = f"The limit of {_SAID[full.what]} of this {kind} is reached"
        return Refusal(RATE_LIMIT_EXCEEDED, text, -(-full.retry_ms // 1000))

    def stand_in(self, x: Exchange, tokens: int, decided: Callable[[Refusal | None], None]) -> Refusal | bool:
        """Another model, `x.model`, is asked from now on: put the request down in its limits.

        Of the model before only that it was asked counts on.  A Refusal = there is no room; False = `decided` will
        be called, with None if it is put down.
        """
        if self._world.limits_seen != self._seen:
            self._renew()
        account = self._accounts.get(f"model:{x.model}")
        if account is None:
            self._stands_in(x, None, tokens)
            return True
        known = Known((account,))

        def decide(full: Full | None) -> None:
            if full is None and x.done:
                self._leave(known.accounts, self.windows.cell, -tokens)
            elif full is None:
                self._stands_in(x, account, tokens)
            decided(None if full is None else self._refusal(x, known, full))

        try:
            if self._permits is None:
                full = self.windows.admit(known.accounts, tokens)
            else:
                found = self._permits.admit(known.accounts, tokens, decide)
                if found is False:
                    return False
                full = None if found is True else found
        except NoRoom:
            return _no_room()
        if full is not None:
            return self._refusal(x, known, full)
        self._stands_in(x, account, tokens)
        return True

    def _stands_in(self, x: Exchange, account: Account | None, tokens: int) -> None:
        seat = x.seat
        if seat is not None:
            if seat.stand_in is not None:
                before, cell, reserve = seat.stand_in
                self._leave((before,), cell, -reserve)
            before_it = tuple(one for one in seat.accounts if one.name.startswith("model:"))
            if before_it:
                self._leave(before_it, seat.cell, -seat.tokens)
                seat.accounts = tuple(one for one in seat.accounts if one not in before_it)
        elif account is not None:
            seat = x.seat = Seat((), 0, tokens)
        if seat is not None:
            seat.stand_in = (account, self.windows.cell, tokens) if account is not None else None

    def depart(self, x: Exchange, used: int) -> None:
        """It is at its channel no more, which has read so many tokens."""
        if x.seat is not None:
            self._leave_channel(x.seat, used)

    def leave(self, x: Exchange) -> None:
        """The request is over, in whatever way."""
        seat = x.seat
        if seat is None:
            return
        if seat.until:
            self._lines[x.token.id, x.model].remove(self._out(x))
        x.seat = None
        used = seat.used - seat.spent
        if seat.stand_in is not None:
            account, cell, tokens = seat.stand_in
            self._leave((account,), cell, used - tokens)
        self._leave_channel(seat, used)
        if seat.accounts:
            self._leave(seat.accounts, seat.cell, used - seat.tokens)

    def spent(self, x: Exchange, used: int) -> None:
        """A session has used so many tokens so far: they count when they are used, those reserved first."""
        seat = x.seat
        if seat is None or used <= seat.spent:
            return
        more, seat.spent = used - seat.spent, used
        reserved = min(more, seat.tokens)
        parts = [(seat.accounts, seat.cell)]
        if seat.channel is not None:
            parts.append(((seat.channel,), seat.channel_cell))
        if seat.stand_in is not None:
            account, cell, tokens = seat.stand_in
            parts.append(((account,), cell))
            seat.stand_in = account, cell, tokens - reserved
        for accounts, cell in parts:
            self.windows.spend(accounts, cell, reserved, more)
            if self._permits is not None:
                self._permits.refund(accounts, cell, reserved)
        seat.tokens -= reserved

    def _leave(self, accounts: tuple[Account, ...], cell: int, more_tokens: int) -> None:
        self.windows.leave(accounts, cell, more_tokens)
        if self._permits is not None and more_tokens:
            self._permits.refund(accounts, cell, -more_tokens)

    # At the choice

    def counts(self, ability: Ability) -> bool:
        """Whether requests to this channel take places there."""
        return ability.outlet.id in self.channels

    def enter(self, x: Exchange, ability: Ability) -> Ability | None:
        """Take a place at the channel, or at another where it is full; None = at none, the request waits for `go`.

        Raises Refusal where waiting is no use.
        """
        seat = x.seat
        if seat is None:
            seat = x.seat = Seat((), 0, x.prompt)
        elif seat.entered is ability:
            seat.entered = None
            return ability
        self._leave_channel(seat, x.prompt if x.rescue is not None else 0)  # of the attempt before, which has failed
        found, full = self._place(x, seat, ability)
        if found is None and full is not None:
            self._wait(x, ability, full)
        return found

    def _place(self, x: Exchange, seat: Seat, ability: Ability | None) -> tuple[Ability | None, Full | None]:
        """The first that has room, from this one on; else why the last one had none."""
        tried = {*x.tried}
        soonest: Full | None = None
        while ability is not None:
            outlet = ability.outlet
            account = self.channels.get(outlet.id)
            if account is None:
                return ability, None
            windows = self.windows
            full = self._enter(account, seat.tokens)
            if full is None:
                windows.entered(account)
                seat.channel, seat.channel_cell, seat.outlet = account, windows.cell, outlet
                requests, _, flights = windows.left(account)
                if not requests or not flights:
                    self._fill(outlet, POLL_S if self.waiting else LOOK_S)
                return ability, None
            if full.what != TOKEN_LIMIT:
                look_s = POLL_S if self.waiting else LOOK_S
                self._fill(outlet, look_s if full.what == FLIGHT_LIMIT else full.retry_ms / 1000)
            if self.waiting:
                self._queue(account)
            if soonest is None or 0 <= full.retry_ms < soonest.retry_ms or soonest.retry_ms < 0:
                soonest = full
            tried.add(ability)
            ability = x.route.pick(tried)
        return None, soonest

    def _enter(self, account: Account, tokens: int) -> Full | None:
        full = Full(account, FLIGHT_LIMIT, 1000)
        if self.windows.others_first(account):
            return full
        try:
            if self._permits is None:
                return self.windows.admit((account,), tokens)
            found = self._permits.admit((account,), tokens, None)
        except NoRoom:
            return full
        return None if found is True else found or full  # there will be news within 4 ms

    def _fill(self, outlet: Outlet, seconds: float) -> None:
        """It is not chosen for so long."""
        self._full[outlet] = self._loop.time() + max(seconds, 0.001)
        outlet.full = True
        outlet.look()

    def _leave_channel(self, seat: Seat, used: int) -> None:
        account, outlet = seat.channel, seat.outlet
        if account is None:
            return
        self._leave((account,), seat.channel_cell, used - seat.tokens)
        seat.channel = None
        if account.concurrency >= 0 and outlet is not None and outlet.full:
            self._full[outlet] = 0.0
        if self.waiting or (outlet is not None and outlet.full):
            self._soon()

    # Lines

    def wait_for(self, x: Exchange, ability: Ability, seconds: float) -> bool:
        """All channels of its model rest, the first for so long: it waits in line; False = it would be too long."""
        settings = self._settings
        if seconds * 1000 > settings.queue_wait_ms or not settings.queue_max:
            return False
        if x.seat is None:
            x.seat = Seat((), 0, x.prompt)
        self._leave_channel(x.seat, 0)
        self._wait(x, ability, Full(RESTING, FLIGHT_LIMIT, int(seconds * 1000)))
        return True

    def _wait(self, x: Exchange, ability: Ability, full: Full) -> None:
        """Wait for room at one of its channels.  Raises Refusal."""
        settings = self._settings
        seconds = AGAIN_S if full.retry_ms < 0 else -(-full.retry_ms // 1000)
        refusal = Refusal(RATE_LIMIT_EXCEEDED, f"All channels of the model `{x.model}` are at their limit", seconds)
        hopeless = full.retry_ms < 0 or (full.what != FLIGHT_LIMIT and full.retry_ms > settings.queue_wait_ms)
        name = (x.token.id, x.model)
        line = self._lines.get(name)
        if hopeless or not (self.waiting < settings.queue_max or self._make_way(len(line) if line else 0, refusal)):
            raise refusal
        x.state = DIALLING
        x.ability, x.outlet, x.key = ability, ability.outlet, ability.outlet.any_key()
        if line is None:
            line = self._lines[name] = deque()
        assert x.seat is not None
        x.seat.until = self._loop.time() + settings.queue_wait_ms / 1000
        line.append(x)
        self.waiting += 1
        if full.account is not RESTING:
            self._queue(full.account)
        if full.what == FLIGHT_LIMIT and full.account is not RESTING:
            self._fill(ability.outlet, POLL_S)
        if not self._polling:
            self._polling = True
            self._loop.call_later(POLL_S, self._poll)

    def _queue(self, account: Account) -> None:
        """The other workers leave this one its turn at the channel."""
        if account.key not in self._queued:
            self._queued[account.key] = account
            self.windows.queue(account, True)

    def _poll(self) -> None:
        """Requests of other workers end without a word."""
        begun = clock.monotonic_ns()
        self._serve()
        if self.waiting:
            took_s = (clock.monotonic_ns() - begun) / 1e9
            self._loop.call_later(max(POLL_S, POLL_SHARE * took_s), self._poll)
            return
        self._polling = False
        for account in self._queued.values():
            self.windows.queue(account, False)
        self._queued.clear()

    def _make_way(self, length: int, refusal: Refusal) -> bool:
        """The lines are full: the newest of the longest goes, if that is longer than the newcomer's would be."""
        longest = max(self._lines.values(), key=len, default=None)
        if longest is None or len(longest) <= length + 1:
            return False
        self._refuse(self._out(longest.pop()), refusal)
        return True

    def _out(self, x: Exchange) -> Exchange:
        """It stands in no line any more."""
        assert x.seat is not None
        x.seat.until = 0.0
        self.waiting -= 1
        return x

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._serve)

    def tick(self, now: float) -> None:
        """A quarter of a second has passed."""
        if self._world.limits_seen != self._seen:
            self._renew()
        if self._permits is not None:
            self._permits.tick()
            if self._permits.slow != bool(self.counters["redis_slow"]):
                self._speed_changed(self._permits.slow)
        if self._full or self.waiting:
            self._serve()

    def _serve(self) -> None:
        """Channels whose time has come are open again; of each line in turn the first goes, while there is room."""
        self._due = False
        now = self._loop.time()
        for outlet, until in list(self._full.items()):
            if now >= until:
                del self._full[outlet]
                outlet.full = False
                outlet.look()
        served = True
        while served and self._lines:
            served = False
            for name in list(self._lines):
                served = self._serve_line(name, now) or served

    def _serve_line(self, name: tuple[int, str], now: float) -> bool:
        """The first in line goes, if there is room for it; then the line stands behind the others."""
        line = self._lines[name]
        went = False
        while line and not went:
            x = line[0]
            assert x.seat is not None
            found, full = self._place(x, x.seat, self.another(x))
            if found is None and now < x.seat.until:
                break
            self._out(line.popleft())
            if found is None:
                seconds = AGAIN_S if full is None else max(AGAIN_S, full.retry_ms // 1000)
                text = f"All channels of the model `{x.model}` are at their limit"
                self._refuse(x, Refusal(RATE_LIMIT_EXCEEDED, text, seconds))
                continue
            went = True
            x.seat.entered = found
            try:
                self._go(x, found)
            except Refusal as refusal:
                self._refuse(x, refusal)
        if not line:
            self._lines.pop(name, None)
        elif went:
            self._lines.move_to_end(name)
        return went

    # What limits there are

    def _renew(self) -> None:
        self._seen = self._world.limits_seen
        self._resolved.clear()
        limits = self._world.limits
        shared = self._permits is not None
        self._accounts = {
            name: account for name, limit in limits.items() if (account := _account(limit, shared)) is not None
        }
        if self._accounts:
            _ = self.windows
        self.channels = {
            int(name.partition(":")[2]): account
            for name, account in self._accounts.items()
            if name.startswith("channel:")
        }
        if self._permits is not None:
            self._permits.nodes = max((limit.nodes for limit in limits.values()), default=1)

    def _resolve(self, x: Exchange) -> Known:
        token = x.token
        names = (f"token:{token.id}", f"user:{token.user}", f"group:{x.group}", f"model:{x.model}")
        accounts = tuple(self._accounts[name] for name in names if name in self._accounts)
        if len(self._resolved) >= RESOLVED_MAX:
            self._resolved.clear()
        known = self._resolved[token.id, x.group, x.model] = Known(accounts)
        return known

    def _fields(self, known: Known, full: Full | None) -> bytes:
        """x-ratelimit-*: of requests and of tokens, those of the account that has least left."""
        windows, shared = self.windows, self._permits is not None
        words = windows.words
        fields = b""
        for what, total, accounts in known.shown:
            least = -1
            field = b""
            for account, limit, text in accounts:
                left = limit - words[account.slot + total] if account.slot >= 0 else limit
                if shared:
                    left = 0 if full is not None and full.what == what else windows.left(account)[total - REQUESTS]
                if least < 0 or left < least:
                    least, field = left if left > 0 else 0, text
            reset_ms = full.retry_ms if full is not None and full.what == what and full.retry_ms > 0 else WINDOW_MS
            fields += field % (least, -(-reset_ms // 1000))
        return fields


def _no_room() -> Refusal:
    return Refusal(SERVICE_UNAVAILABLE, "Too many limits are in use at once, try again", AGAIN_S)


def _account(limit: Limit, shared: bool) -> Account | None:
    if limit.requests < 0 and limit.tokens < 0 and limit.concurrency < 0:
        return None
    key = int.from_bytes(hashlib.blake2b(limit.name.encode(), digest_size=8).digest(), "little") >> 1 or 1
    account = Account(limit.name, key, limit.requests, limit.tokens, limit.concurrency)
    if shared and limit.whole is not None:
        account.part = (limit.requests, limit.tokens, limit.concurrency)
        account.requests, account.tokens, account.concurrency = limit.whole
    return account
