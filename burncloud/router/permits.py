"""Limits that several nodes share: permits are fetched from a server before, or just when, they are needed.

A request that finds permits for all that it counts for goes on at once, as if there were no other nodes.  Where some
are lacking it waits for one answer of the server, for WAIT_S at most; then this node decides by what it knows.  Every
quarter of a second the server hears what was used, and gets back what is not going to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from burncloud import clock
from burncloud.router.permit_script import GIVEN, JOIN, WAIT
from burncloud.wire.permits import HURRY_MS, Report, SharedWindows
from burncloud.wire.windows import CELL_MS, CELLS, REQUEST_LIMIT, TOKEN_LIMIT, WINDOW_MS, Account, Full

WAIT_S: Final = 0.004
"""With what a timer is late, a request waits less than 5 ms."""
AT_ONCE: Final = 16
"""Accounts in one call: the server does nothing else meanwhile."""
AHEAD: Final = 4
"""Quarters of a second for which permits are fetched: longer than it takes to see that the server is away."""
SLOW_UP: Final = 4
"""Of SLOW_FROM, for each quarter of a second with a request that was decided alone; those without take off 1."""
SLOW_FROM, SLOW_MAX = 20, 24
KEEP_ALL: Final = (1 << 52, 1 << 52, 1 << 52)
WAIT_AGAIN_MS: Final = 250

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[list[int]]).decode


class Server(Protocol):
    """What is asked of wire/redis.py."""

    here: bool

    @property
    def late(self) -> bool:
        """It is away, or slower than a request may wait."""
        ...

    def run(self, keys: Sequence[bytes], argument: bytes, done: Callable[[Any], object]) -> bool:
        """Call the script; False = there is nobody."""
        ...

    def look(self) -> None:
        """Time has passed."""
        ...


class Standing:
    """How this worker stands with an account."""

    __slots__ = (
        "account", "ahead", "asking", "fewest", "later_ms", "low", "need", "refunds", "silent_until_ms", "strange",
        "told", "used_at_prune", "used_before", "waits",
    )  # fmt: skip

    def __init__(self, account: Account) -> None:
        self.account = account
        self.ahead = (0, 0)
        """Requests and tokens that a second will need, as the last quarter of one did."""
        self.used_before = (0, 0)
        self.told = (-1, -1)
        """What was used when the server last answered."""
        self.need = [0, 0]
        """Requests (and places) and tokens of those who wait for the next call; `fewest` of one of them."""
        self.fewest = 0
        self.asking = False
        self.low = (0, 0)
        """Where there are fewer permits, more are fetched."""
        self.silent_until_ms = 0
        """The server has no more; it is not asked again before."""
        self.later_ms = (0, 0)
        self.waits = False
        """The server wants to hear of others first: until then we are alone."""
        self.refunds: dict[tuple[int, int], int] = {}
        """(joins, cell) → tokens that were put down then and not used."""
        self.used_at_prune = (-1, -1)
        self.strange = False
        """The server did not know us: we introduce ourselves."""


class Waiter:
    """A request that waits for permits."""

    __slots__ = ("accounts", "decide", "tokens")

    def __init__(self, accounts: Sequence[Account], tokens: int, decide: Callable[[Full | None], object]) -> None:
        self.accounts = accounts
        self.tokens = tokens
        self.decide = decide


class Told(NamedTuple):
    """What one call says of an account."""

    standing: Standing
    report: Report
    need: tuple[int, int, int]


class Batch:
    """The calls of one turn of the loop, and who waits for them."""

    __slots__ = ("left", "waiters")

    def __init__(self, waiters: list[Waiter]) -> None:
        self.waiters = waiters
        self.left = 0


class Permits:
    """The shared limits of one worker."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, server: Server, windows: SharedWindows, prefix: bytes, node: str
    ) -> None:
        """`prefix`: of keys, the same for all nodes of one ledger and for no others."""
        self._loop = loop
        self._server = server
        self._windows = windows
        self._keys = (prefix + b":nodes", prefix + b":%d")
        self._node = node
        self.nodes = 1
        """How many are live, as the database says."""
        self.on_news: Callable[[], object] = lambda: None
        """The server has answered, or is late with it."""
        self._standings: dict[int, Standing] = {}
        self._active: set[Standing] = set()
        """Those that the server must hear of."""
        self._asking: list[Standing] = []
        self._waiters: list[Waiter] = []
        self._due = False
        self._pruned_ms = 0
        self.counters = {"redis_waits": 0, "redis_alone": 0}
        """Requests that waited for the server, and those that were decided without it."""
        self.slow = False
        """It is there, but again and again too late."""
        self._slowness = 0
        self._late_before = self._lates = 0

    # A request

    def admit(
        self, accounts: Sequence[Account], tokens: int, decide: Callable[[Full | None], object] | None
    ) -> Full | bool:
        """True = admitted, False = wait: `decide` will be called; None: ask again after `on_news`."""
        windows = self._windows
        found = windows.claim(accounts, tokens)
        if found is None:
            self._used(accounts)
            return True
        if isinstance(found, Full):
            return found
        if self._server.late:
            self._lates += 1
            self._server.look()
            return self._alone(accounts, tokens)
        now_ms = clock.monotonic_ms()
        lacking = [self._standing(account) for account in found]
        for standing in lacking:
            if now_ms < standing.silent_until_ms:
                if standing.waits:
                    return self._alone(accounts, tokens)
                return self._why(standing, tokens)
        for standing in lacking:
            self._ask(standing)
            standing.need[0] += 1
            standing.need[1] += tokens
            standing.fewest = min(standing.fewest, tokens) or tokens
        if decide is not None:
            self.counters["redis_waits"] += 1
            self._waiters.append(Waiter(accounts, tokens, decide))
        return False

    def refund(self, accounts: Sequence[Account], cell: int, tokens: int) -> None:
        """So many tokens of those put down at `cell` were not used; below 0: so many more were, as is known here."""
        for account in accounts:
            if account.tokens >= 0:
                standing = self._standing(account)
                when = (self._windows.joins(account), cell)
                if tokens > 0:
                    standing.refunds[when] = standing.refunds.get(when, 0) + tokens
                self._active.add(standing)

    def _used(self, accounts: Sequence[Account]) -> None:
        for account in accounts:
            standing = self._standing(account)
            self._active.add(standing)
            low = standing.low
            if low[0] or low[1]:
                requests, tokens = self._windows.held(account)
                if (requests < low[0] or tokens < low[1]) and not self._server.late:
                    standing.low = (0, 0)
                    self._ask(standing)

    def _alone(self, accounts: Sequence[Account], tokens: int) -> Full | bool:
        self.counters["redis_alone"] += 1
        full = self._windows.alone(accounts, tokens, not self._server.here, self.nodes)
        if full is None:
            for account in accounts:
                self._active.add(self._standing(account))
        return full or True

    def _why(self, standing: Standing, tokens: int) -> Full:
        """The server had too little of this."""
        account, (requests_ms, tokens_ms) = standing.account, standing.later_ms
        held = self._windows.held(account)
        if account.requests >= 0 and held[0] < 1:
            return Full(account, REQUEST_LIMIT, requests_ms or HURRY_MS)
        if account.tokens >= 0 and held[1] < tokens:
            return Full(account, TOKEN_LIMIT, tokens_ms or HURRY_MS)
        return Full(account, "concurrency", 1000)

    def _standing(self, account: Account) -> Standing:
        standing = self._standings.get(account.key)
        if standing is None:
            standing = self._standings[account.key] = Standing(account)
            standing.used_before = self._windows.used(account)
        standing.account = account
        return standing

    # Calls

    def _ask(self, standing: Standing) -> None:
        if not standing.asking:
            standing.asking = True
            self._asking.append(standing)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        """One batch for all that was asked in this turn of the loop."""
        self._due = False
        asking, self._asking = self._asking, []
        waiters, self._waiters = self._waiters, []
        batch = Batch(waiters)
        for standing in asking:
            standing.asking = False
            self._active.add(standing)
        for at in range(0, len(asking), AT_ONCE):
            self._call(asking[at : at + AT_ONCE], batch, False)
        if batch.left:
            self._loop.call_later(WAIT_S, self._late, batch)
        else:
            self._over(batch, False)

    def _call(self, standings: list[Standing], batch: Batch | None, keep_ahead: bool) -> None:
        """Tell the server how we stand with these, and ask for what they need."""
        told: list[Told] = []
        lines = []
        for standing in standings:
            ahead = self._ahead(standing)
            report = self._windows.report(standing.account, (*ahead, ahead[0]) if keep_ahead else KEEP_ALL)
            if report is None:
                self._active.discard(standing)
                continue
            told.append(Told(standing, report, (standing.need[0], standing.need[1], standing.fewest)))
            lines.append(self._line(standing, report, ahead))
        keys = [self._keys[0], *(self._keys[1] % one.standing.account.key for one in told)]
        sent_ms = clock.monotonic_ms()
        argument = encode([self._node, self.nodes, lines])
        sent = self._server.run(keys, argument, lambda reply: self._heard(told, sent_ms, batch, reply))
        if sent and batch is not None:
            batch.left += 1

    def _ahead(self, standing: Standing) -> tuple[int, int]:
        requests, tokens = self._windows.used(standing.account)
        before = standing.used_before
        fetched = (AHEAD * (requests - before[0]), AHEAD * (tokens - before[1]))
        return max(standing.ahead[0], fetched[0]), max(standing.ahead[1], fetched[1])

    def _line(self, standing: Standing, report: Report, ahead: tuple[int, int]) -> list[Any]:
        account, (requests, tokens), fewest = standing.account, standing.need, standing.fewest
        held = self._windows.held(account)  # of what is held something may serve, so the need is what is lacking
        want = (max(requests, ahead[0] - held[0]), max(tokens, ahead[1] - held[1]))
        standing.need, standing.fewest = [0, 0], 0
        cell = clock.monotonic_ms() // CELL_MS
        refunds = [
            [cell - then, amount]
            for (joins, then), amount in standing.refunds.items()
            if joins == report.joins and cell - then < CELLS
        ]
        standing.refunds.clear()
        need = (max(0, requests - held[0]), max(0, tokens - held[1]))
        return [
            account.requests, account.tokens, account.concurrency, str(report.birth), int(report.cells is not None),
            *report.counts, need[0], want[0], need[1], want[1], max(0, fewest - held[1]), requests, want[0],
            refunds, report.cells or [],
        ]  # fmt: skip

    def _heard(self, told: list[Told], sent_ms: int, batch: Batch | None, reply: Any) -> None:
        """The server's answer to one call, or a RedisError."""
        good = isinstance(reply, bytes)
        if good:
            anew = [one for one, answer in zip(told, decode(reply), strict=True) if self._apply(one, answer, sent_ms)]
            if anew:
                for one in anew:
                    *one.standing.need, one.standing.fewest = one.need
                self._call([one.standing for one in anew], batch, False)
        if batch is not None:
            batch.left -= 1
            if not batch.left:
                self._over(batch, good)

    def _apply(self, told: Told, answer: list[int], sent_ms: int) -> bool:
        """What the server said of one account; True = it does not know us, and must be told everything."""
        status, requests, tokens, places, *room, requests_ms, tokens_ms, joined = answer
        standing, windows = told.standing, self._windows
        account, counts = standing.account, told.report.counts
        if status == JOIN:
            windows.forget(account, told.report.birth)
            again, standing.strange = not standing.strange, True
            return again
        standing.strange = False
        if joined:
            windows.joined(account, told.report.birth)
        standing.later_ms = (requests_ms, tokens_ms)
        standing.waits = status == WAIT
        standing.told = counts[1], counts[4]
        if status == GIVEN:
            windows.receive(account, told.report.birth, (requests, tokens, places), room, sent_ms)
            held = windows.held(account)
            standing.low = (held[0] // 2 if held[0] > 3 else 0, held[1] // 2 if held[1] > 3 * told.need[2] else 0)
        if windows.resting(account) and standing.told == windows.used(account) and not standing.refunds:
            self._active.discard(standing)
        return False

    def _late(self, batch: Batch) -> None:
        if batch.left:
            self._lates += len(batch.waiters)
            self._over(batch, False)

    def _over(self, batch: Batch, answered: bool) -> None:
        """The answers are there, or the time is over: whoever still waits is decided."""
        waiters, batch.waiters = batch.waiters, []
        for waiter in waiters:
            found = self._windows.claim(waiter.accounts, waiter.tokens)
            if found is None:
                self._used(waiter.accounts)
                waiter.decide(None)
            elif isinstance(found, Full):
                waiter.decide(found)
            else:
                full = self._decided(found, waiter, answered)
                waiter.decide(None if full is True else full)  # type: ignore[arg-type]  # never False
        self.on_news()

    def _decided(self, lacking: list[Account], waiter: Waiter, answered: bool) -> Full | bool:
        standings = [self._standing(account) for account in lacking]
        if not answered:
            return self._alone(waiter.accounts, waiter.tokens)
        now_ms = clock.monotonic_ms()
        for standing in standings:
            standing.silent_until_ms = now_ms + (WAIT_AGAIN_MS if standing.waits else HURRY_MS)
        if any(standing.waits for standing in standings):
            return self._alone(waiter.accounts, waiter.tokens)
        return self._why(standings[0], waiter.tokens)

    def hello(self) -> tuple[list[bytes], bytes]:
        """A sign of life: keys and argument of a call about no account."""
        return [self._keys[0]], encode([self._node, self.nodes, []])

    # Time

    def tick(self) -> None:
        """A quarter of a second has passed."""
        self._server.look()
        self._judge()
        now_ms = clock.monotonic_ms()
        if now_ms - self._pruned_ms > WINDOW_MS:
            self._pruned_ms = now_ms
            self._prune()
        due: list[Standing] = []
        for standing in self._active:
            used, before = self._windows.used(standing.account), standing.used_before
            standing.ahead = (AHEAD * (used[0] - before[0]), AHEAD * (used[1] - before[1]))
            standing.used_before = used
            due.append(standing)
        if not self._server.here:
            return
        for at in range(0, max(1, len(due)), AT_ONCE):  # none at all is a sign of life, too
            self._call(due[at : at + AT_ONCE], None, True)

    def _judge(self) -> None:
        """Whether it is slow: there, but again and again later than a request may wait."""
        late, self._late_before = self._lates > self._late_before, self._lates
        if not self._server.here:
            self._slowness = 0
        elif late:
            self._slowness = min(SLOW_MAX, self._slowness + SLOW_UP)
        elif self._slowness:
            self._slowness -= 1
        self.slow = self._slowness >= SLOW_FROM or (self.slow and self._slowness > 0)

    def back(self) -> None:
        """The server is there again: it may have forgotten what we have used."""
        self._active.update(self._standings.values())

    def _prune(self) -> None:
        """Forget accounts that were not used for a whole window, and what left it untold."""
        oldest = clock.monotonic_ms() // CELL_MS - CELLS
        for key, standing in list(self._standings.items()):
            standing.refunds = {when: tokens for when, tokens in standing.refunds.items() if when[1] > oldest}
            used = self._windows.used(standing.account)
            if standing not in self._active and used == standing.used_at_prune:
                del self._standings[key]
            standing.used_at_prune = used
