"""What may be spent right now: the worker's leases, and the questions it asks when one runs dry.

Holding and settling are integer arithmetic.  Where a lease is short, the exchange waits for one answer of the
control process; questions for the same (user, token) are asked one at a time, for the first who waits, with the
others' needs as a wish.  Only the database's own "no" is a 402; silence is a 503 (MONEY.md §4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from burncloud.domain.journal import Return
from burncloud.domain.leases import Lease
from burncloud.domain.link import Ask, Grant
from burncloud.errors import INSUFFICIENT_QUOTA, RATE_LIMIT_EXCEEDED, SERVICE_UNAVAILABLE, Refusal
from burncloud.router.ports import House

IDLE_RETURN_MS: Final = 30_000
IDLE_LOOK_MS: Final = 5_000
"""Leases may be many: they are not gone through with every sweep."""
DENIED_MS: Final = 1_000
ANSWER_MS_MAX: Final = 10_000
AWAY_MS_MAX: Final = 5_000
"""A control process that went is waited for this long: another one takes its place in a second (a reload)."""
WANT_HOLDS: Final = 64
"""A lease is asked for this many requests like the one that needs it; control grants less where little is left."""
WANT_HOLDS_MAX: Final = 4096
REFILL_MS: Final = 1_000
"""A lease that runs low again this soon is refilled with twice as much: each question costs control a transaction."""

Answer = Callable[[Refusal | None], None]


class Waiting(NamedTuple):
    """An exchange in line for a hold."""

    amount: int
    answer: Answer


class Asked(NamedTuple):
    """A question on its way."""

    pair: tuple[int, int] | None
    """Whose line it serves; None = a refill, for nobody in particular."""
    user: int
    user_want: int
    token: int
    token_want: int


class Line:
    """Those who wait for the same (user, token)."""

    __slots__ = ("asked_ms", "n", "need", "queue")

    def __init__(self) -> None:
        self.queue: deque[Waiting] = deque()
        self.asked_ms = 0
        self.n = 0
        """Number of the question that was asked for it last; an older one's answer decides nothing."""
        self.need = 0


class Desk:
    """All leases of a worker."""

    def __init__(self, house: House, now_ms: Callable[[], int]) -> None:
        self._house = house
        self._now_ms = now_ms
        self.users: dict[int, Lease] = {}
        self.tokens: dict[int, Lease] = {}
        self._lines: dict[tuple[int, int], Line] = {}
        self._asked: dict[int, Asked] = {}
        self._n = 0
        self._idle_at_ms = 0
        self._away_ms = 0
        """Since when nobody can be asked; 0 = somebody can."""

    # The hot path

    def hold(self, user: int, token: int, amount: int) -> bool:
        """Reserve on the user's and the token's lease (0 = unlimited, no lease), both or neither."""
        of_user = of_token = None
        left_user = left_token = 0
        if user:
            of_user = self.users.get(user)
            if of_user is None:
                return False
            left_user = of_user.granted - of_user.drawn - of_user.returned - of_user.held - amount
            if left_user < 0:
                return False
        if token:
            of_token = self.tokens.get(token)
            if of_token is None:
                return False
            left_token = of_token.granted - of_token.drawn - of_token.returned - of_token.held - amount
            if left_token < 0:
                return False
        now = self._now_ms()
        if of_user is not None:
            of_user.held += amount
            of_user.used_at_ms = now
            if left_user < of_user.refill_below:
                self._refill(of_user, amount)
        if of_token is not None:
            of_token.held += amount
            of_token.used_at_ms = now
            if left_token < of_token.refill_below:
                self._refill(of_token, amount)
        return True

    def settle(self, leases: dict[int, Lease], account: int, hold: int, charge: int) -> int:
        """End a hold on one of `users` or `tokens`; the draw for the receipt.  A tight lease gives its surplus back."""
        lease = leases[account]
        draw = charge if charge < hold else hold
        lease.held -= hold
        lease.drawn += draw
        if lease.tight and draw < hold and lease.free > 0 and not (self._lines and self._awaited(lease)):
            self._give_back(lease)
        return draw

    # Waiting

    def wait(self, user: int, token: int, amount: int, answer: Answer) -> None:
        """Get a hold that `hold` refused: `answer(None)` once it stands, `answer(refusal)` if it never will."""
        now = self._now_ms()
        for kind, account in (("user", user), ("token", token)):
            lease = self._leases(kind).get(account) if account else None
            if lease is not None and now < lease.denied_until_ms and amount - lease.free >= lease.denied_need:
                answer(_denial(lease))
                return
        line = self._lines.setdefault((user, token), Line())
        line.queue.append(Waiting(amount, answer))
        if len(line.queue) == 1:
            self._ask(user, token, line)

    def granted(self, grant: Grant) -> None:
        """An answer has come."""
        asked = self._asked.pop(grant.n, None)
        if asked is None:
            return
        for kind, account, total, wanted in (
            ("user", asked.user, grant.user_granted, asked.user_want),
            ("token", asked.token, grant.token_granted, asked.token_want),
        ):
            if account and total:
                lease = self._lease(kind, account)
                lease.tight = total - lease.granted < wanted
                lease.granted = max(lease.granted, total)
                lease.refill_below = 0 if lease.tight else lease.free // 2
        pair = asked.pair
        line = self._lines.get(pair) if pair is not None else None
        if line is None or pair is None or line.n != grant.n:
            return
        user, token = pair
        if grant.outcome == "ok":
            self._serve(user, token, line)
        elif grant.outcome == "denied":
            self._deny(user, token, line, grant.denied, grant.retry_s)
        else:
            self._fail(pair, line)

    def recall(self, kind: str, account: int, granted: int = 0) -> None:
        """Somebody else needs it: give back what is free, with what a lost reply had `granted` (cumulative)."""
        lease = self._lease(kind, account)
        lease.granted = max(lease.granted, granted)
        if self._give_back(lease):
            lease.tight = True
        self._house.ring()

    def quota_changed(self, kind: str, account: int) -> None:
        """The account's limit was changed: an old denial means nothing, and what is not on hold is asked for anew."""
        lease = self._leases(kind).get(account)
        if lease is not None:
            lease.denied_until_ms = 0
            lease.tight = False
            lease.refill_below = 0
            self._give_back(lease)

    def sweep(self) -> None:
        """Give back idle leases; give up questions that nobody answered."""
        now = self._now_ms()
        if now >= self._idle_at_ms:
            self._idle_at_ms = now + IDLE_LOOK_MS
            for lease in (*self.users.values(), *self.tokens.values()):
                if lease.used_at_ms + IDLE_RETURN_MS < now and not lease.held and lease.free:
                    self._give_back(lease)
        for pair, line in list(self._lines.items()):
            if line.asked_ms + ANSWER_MS_MAX < now or (self._away_ms and self._away_ms + AWAY_MS_MAX < now):
                self._fail(pair, line)

    def link_lost(self) -> None:
        """Questions on their way are lost; totals are cumulative, so asking again, as soon as that can be, is safe."""
        self._asked.clear()
        self._away_ms = self._away_ms or self._now_ms()

    def link_up(self) -> None:
        """Somebody can be asked again: for all who wait."""
        self._away_ms = 0
        for (user, token), line in list(self._lines.items()):
            self._ask(user, token, line)

    def close(self) -> None:
        """Give back everything that is free (a clean stop)."""
        for lease in (*self.users.values(), *self.tokens.values()):
            self._give_back(lease)

    # Own matters

    def _lease(self, kind: str, account: int) -> Lease:
        leases = self._leases(kind)
        lease = leases.get(account)
        if lease is None:
            lease = leases[account] = Lease(kind, account)
        return lease

    def _leases(self, kind: str) -> dict[int, Lease]:
        return self.users if kind == "user" else self.tokens

    def _awaited(self, lease: Lease) -> bool:
        """Whether somebody waits for this account: what is freed now is for him, whatever control will answer."""
        side = 0 if lease.kind == "user" else 1
        return any(pair[side] == lease.account for pair in self._lines)

    def _short(self, kind: str, account: int, amount: int) -> int:
        """How much is missing for a hold of `amount`."""
        return max(0, amount - self._lease(kind, account).free) if account else 0

    def _ask(self, user: int, token: int, line: Line) -> None:
        first = line.queue[0].amount
        wanted = min(sum(w.amount for w in line.queue) + first * WANT_HOLDS, 1 << 62)
        line.asked_ms = self._now_ms()
        line.need = first
        user_need, token_need = self._short("user", user, first), self._short("token", token, first)
        self._n += 1
        line.n = self._n
        question = Ask(
            self._n,
            user if user_need else 0,
            user_need,
            wanted if user_need else 0,
            token if token_need else 0,
            token_need,
            wanted if token_need else 0,
        )
        if self._house.ask(question):
            self._asked[self._n] = Asked((user, token), question.user, wanted, question.token, wanted)
            self._away_ms = 0
            return
        now = self._now_ms()
        self._away_ms = self._away_ms or now
        if self._away_ms + AWAY_MS_MAX < now:
            self._fail((user, token), line)

    def _serve(self, user: int, token: int, line: Line) -> None:
        """Hold for as many in line as the lease carries now, in order; ask again for the rest."""
        served: list[Waiting] = []
        while line.queue and self.hold(user, token, line.queue[0].amount):
            served.append(line.queue.popleft())
        if line.queue:
            self._ask(user, token, line)
        else:
            self._lines.pop((user, token), None)
        for waiting in served:
            waiting.answer(None)

    def _deny(self, user: int, token: int, line: Line, kind: str, retry_s: int) -> None:
        """The database said no to the first in line: so it would to all who need as much."""
        account = user if kind == "user" else token
        lease = self._lease(kind, account)
        lease.denied_until_ms = self._now_ms() + DENIED_MS
        lease.denied_retry_s = retry_s
        lease.denied_need = max(1, line.need - lease.free)
        refused = [w for w in line.queue if w.amount >= line.need]
        line.queue = deque(w for w in line.queue if w.amount < line.need)
        # a settle may have freed enough since the question was asked
        self._serve(user, token, line)
        for waiting in refused:
            if self.hold(user, token, waiting.amount):
                waiting.answer(None)
            else:
                waiting.answer(_denial(lease))

    def _fail(self, pair: tuple[int, int], line: Line) -> None:
        self._lines.pop(pair, None)
        for waiting in line.queue:
            waiting.answer(Refusal(SERVICE_UNAVAILABLE, "Quota cannot be checked right now, try again", 1))

    def _refill(self, lease: Lease, amount: int) -> None:
        """Ask for more before it is needed; an answer of nothing is no denial."""
        now = self._now_ms()
        twice = 2 * lease.refill_holds if now - lease.refilled_at_ms < REFILL_MS else 0
        lease.refill_holds = min(max(twice, WANT_HOLDS), WANT_HOLDS_MAX)
        lease.refilled_at_ms = now
        lease.refill_below = 0
        self._n += 1
        want = min(amount * lease.refill_holds, 1 << 62)
        user, token = (lease.account, 0) if lease.kind == "user" else (0, lease.account)
        question = Ask(self._n, user, 0, want if user else 0, token, 0, want if token else 0)
        if self._house.ask(question):
            few = min(amount * WANT_HOLDS, want)  # less than that, and little is left
            self._asked[self._n] = Asked(None, user, few, token, few)

    def _give_back(self, lease: Lease) -> int:
        amount = lease.give_back()
        if amount:
            self._house.journal.give_back(Return(lease.kind, lease.account, amount))
        return amount


def _denial(lease: Lease) -> Refusal:
    """The database's no: the quota is used up for good, a budget until its next period."""
    if lease.denied_retry_s:
        return Refusal(RATE_LIMIT_EXCEEDED, f"The budget of this {lease.kind} is used up", lease.denied_retry_s)
    return Refusal(INSUFFICIENT_QUOTA)
