"""Windows that this node shares with others: what it may admit are permits, which it holds before it needs them.

A permit for a request (or a token, or a place among those under way) is given out once, counts against the limit from
then on, and is used here, given back, or worthless at `UNTIL`.  So all nodes together never admit more than was given
out.  Given, used and given back only ever grow, which is why reports of them may be lost, doubled or overtaken.

The node's own windows are kept beside: they are what another server is told of us, and what the node goes by while
there is none (`alone`).  Who talks to the server, and when, is router/permits.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from burncloud import clock
from burncloud.wire.windows import (
    CELL_MS,
    CELLS,
    FIRST,
    FLIGHT_LIMIT,
    FLYING,
    KEYS,
    PERMITS,
    REQUEST_CELLS,
    REQUEST_LIMIT,
    REQUESTS,
    SLOT_WORDS,
    TOKEN_CELLS,
    TOKEN_LIMIT,
    TOKENS,
    WINDOW_MS,
    Account,
    Full,
    Windows,
)

VALID_MS: Final = 1_500
"""Permits are good for so long after the question that brought (or kept) them was sent."""
FRESH_MS: Final = 2_500
"""What the server said so long ago still says what others have."""
SETTLED_MS: Final = WINDOW_MS + 1_000
"""When all that was admitted before a node was alone has left the windows."""
HURRY_MS: Final = 100
"""Retry-After's grain where permits may come any moment."""

# Words of a slot, from PERMITS on
BIRTH, UNTIL, HEARD, ALONE, REQUEST_BOUND, TOKEN_BOUND, REQUEST_ROOM, TOKEN_ROOM = range(PERMITS, PERMITS + 8)
REQUESTS_GIVEN, REQUESTS_USED, REQUESTS_BACK = range(PERMITS + 8, PERMITS + 11)
TOKENS_GIVEN, TOKENS_USED, TOKENS_BACK = range(PERMITS + 11, PERMITS + 14)
FLIGHTS_GIVEN, FLIGHTS_BACK, JOINS = range(PERMITS + 14, PERMITS + 17)


class Report(NamedTuple):
    """How this node stands with an account."""

    birth: int
    """Of its slot: a number that no other slot of any node ever had."""
    joins: int
    """How often its window was shown to the server: what was given back before is in there."""
    counts: list[int]
    """Requests given, used, back; tokens given, used, back; places given, back, taken."""
    cells: list[tuple[int, int, int]] | None
    """(age in cells, requests, tokens) of our own window, where the server may not know us; else None."""


class SharedWindows(Windows):
    """The table of a node that has a server in common with others."""

    def claim(self, accounts: Sequence[Account], tokens: int) -> Full | list[Account] | None:
        """Admit on permits; None = done.  A list: these have too few, the server must be asked."""
        words = self._words
        if self._take():
            self._mend()
        try:
            now_ms = clock.monotonic_ms()
            lacking: list[Account] = []
            for account in accounts:
                at = self._at(account, now_ms // CELL_MS)
                full = self._full(account, at, (account.requests, account.tokens, account.concurrency), tokens, now_ms)
                if full is not None:
                    return full
                if words[at + UNTIL] <= now_ms or self._short(account, at, tokens):
                    lacking.append(account)
            if not lacking:
                self._put_down(accounts, tokens, now_ms // CELL_MS)
                return None
            return lacking
        finally:
            self._give()

    def alone(self, accounts: Sequence[Account], tokens: int, away: bool, nodes: int) -> Full | None:
        """Admit without the server: on permits while they are good, else by this node's part of the limit.

        `away`: the server is, for good as far as we know; then what was free of an account when it was last heard
        is divided among the `nodes`.  For one window a node admits no more than it had a right to then.
        """
        words = self._words
        if self._take():
            self._mend()
        try:
            now_ms = clock.monotonic_ms()
            for account in accounts:
                at = self._at(account, now_ms // CELL_MS)
                if words[at + UNTIL] > now_ms and not away and nodes > 1:
                    if self._short(account, at, tokens):
                        return Full(account, self._what(account, at, tokens), HURRY_MS)
                    continue
                full = self._full(account, at, self._bounds(account, at, now_ms, away, nodes), tokens, now_ms)
                if full is not None:
                    return full
            self._put_down(accounts, tokens, now_ms // CELL_MS)
            return None
        finally:
            self._give()

    def leave(self, accounts: Sequence[Account], cell: int, more_tokens: int) -> None:
        """A request is over; tokens beyond what was put down count from now on for all nodes."""
        Windows.leave(self, accounts, cell, more_tokens)
        if more_tokens > 0:
            self._used_more(accounts, more_tokens)

    def spend(self, accounts: Sequence[Account], cell: int, reserved: int, tokens: int) -> None:
        """What was reserved is a refund (router/permits.py)."""
        Windows.spend(self, accounts, cell, reserved, tokens)
        self._used_more(accounts, tokens)

    def _used_more(self, accounts: Sequence[Account], tokens: int) -> None:
        if self._take():
            self._mend()
        for account in accounts:
            if self._known(account):
                self._words[account.slot + TOKENS_USED] += tokens
        self._give()

    def left(self, account: Account) -> tuple[int, int, int]:
        """What the account has left in all nodes, as last heard; of this node's part, where it decides alone."""
        requests, tokens, flights = Windows.left(self, account)
        words, at, now_ms = self._words, account.slot, clock.monotonic_ms()
        if at < 0:
            return requests, tokens, flights
        if words[at + UNTIL] <= now_ms:
            most, most_tokens, places = self._part(account, at, now_ms)
            return (
                min(requests, max(0, most - words[at + REQUESTS])),
                min(tokens, max(0, most_tokens - words[at + TOKENS])),
                min(flights, max(0, places - words[at + FLYING])),
            )
        return (
            min(requests, max(0, self._free(at, REQUESTS_GIVEN) + words[at + REQUEST_ROOM])),
            min(tokens, max(0, self._free(at, TOKENS_GIVEN) + words[at + TOKEN_ROOM])),
            flights,
        )

    # With the server

    def report(self, account: Account, keep: tuple[int, int, int]) -> Report | None:
        """Where this node stands; permits beyond `keep` (requests, tokens, places) are given back.  None = nowhere."""
        words, at = self._words, account.slot
        if self._take():
            self._mend()
        try:
            if not self._known(account):
                return None
            now_ms = clock.monotonic_ms()
            join = words[at + UNTIL] <= now_ms
            if not words[at + BIRTH]:
                words[at + BIRTH] = random.getrandbits(52) | 1
            flying = words[at + FLYING]
            for given, taken, kept in (
                (REQUESTS_GIVEN, words[at + REQUESTS_USED], keep[0]),
                (TOKENS_GIVEN, words[at + TOKENS_USED], keep[1]),
            ):
                words[at + given + 2] = max(words[at + given + 2], words[at + given] - taken - (0 if join else kept))
            surplus = words[at + FLIGHTS_GIVEN] - flying - (0 if join else keep[2])
            words[at + FLIGHTS_BACK] = max(words[at + FLIGHTS_BACK], surplus)
            counts = words[at + REQUESTS_GIVEN : at + FLIGHTS_BACK + 1].tolist()
            cells = self._cells(at, now_ms // CELL_MS) if join else None
            return Report(words[at + BIRTH], words[at + JOINS], [*counts, flying], cells)
        finally:
            self._give()

    def receive(self, account: Account, birth: int, given: Sequence[int], room: Sequence[int], sent_ms: int) -> None:
        """The server's answer to a report sent at `sent_ms`: given so far, and what all nodes have left."""
        words, at = self._words, account.slot
        if self._take():
            self._mend()
        try:
            if not self._known(account) or words[at + BIRTH] != birth:
                return
            for place, amount in zip((REQUESTS_GIVEN, TOKENS_GIVEN, FLIGHTS_GIVEN), given, strict=True):
                words[at + place] = max(words[at + place], amount)
            words[at + REQUEST_ROOM], words[at + TOKEN_ROOM] = room
            words[at + UNTIL] = max(words[at + UNTIL], sent_ms + VALID_MS)
            words[at + HEARD] = clock.monotonic_ms()
            words[at + ALONE] = 0
        finally:
            self._give()

    def joined(self, account: Account, birth: int) -> None:
        """The server has taken our window as we showed it."""
        if self._take():
            self._mend()
        if self._known(account) and self._words[account.slot + BIRTH] == birth:
            self._words[account.slot + JOINS] += 1
        self._give()

    def forget(self, account: Account, birth: int) -> None:
        """The server does not know us: our permits are good no more."""
        if self._take():
            self._mend()
        if self._known(account) and self._words[account.slot + BIRTH] == birth:
            self._words[account.slot + UNTIL] = 0
        self._give()

    def used(self, account: Account) -> tuple[int, int]:
        """Requests and tokens admitted here since the account got its slot."""
        if not self._known(account):
            return 0, 0
        return self._words[account.slot + REQUESTS_USED], self._words[account.slot + TOKENS_USED]

    def joins(self, account: Account) -> int:
        """As in a Report."""
        return self._words[account.slot + JOINS] if self._known(account) else 0

    def held(self, account: Account) -> tuple[int, int]:
        """Permits for requests and for tokens that are not used yet."""
        at = account.slot
        if not self._known(account):
            return 0, 0
        return max(0, self._free(at, REQUESTS_GIVEN)), max(0, self._free(at, TOKENS_GIVEN))

    def resting(self, account: Account) -> bool:
        """Whether nothing is under way and no permit is held: there is nothing to tell."""
        at = account.slot
        if not self._known(account):
            return True
        held = max(0, self._free(at, REQUESTS_GIVEN)) + max(0, self._free(at, TOKENS_GIVEN))
        return not held and not self._words[at + FLYING] and self._places(at) <= 0

    # Under the mutex

    def _known(self, account: Account) -> bool:
        at = account.slot
        return at >= 0 and self._words[KEYS + (at - FIRST) // SLOT_WORDS] == account.key

    def _at(self, account: Account, cell: int) -> int:
        at = account.slot
        if not self._known(account):
            at = self._place(account, cell)
        if self._words[at] < cell:
            self._advance(at, cell)
        return at

    def _free(self, at: int, given: int) -> int:
        """Permits held and not used; `given`: the first of its three words."""
        words = self._words
        return words[at + given] - words[at + given + 1] - words[at + given + 2]

    def _places(self, at: int) -> int:
        words = self._words
        return words[at + FLIGHTS_GIVEN] - words[at + FLIGHTS_BACK] - words[at + FLYING]

    def _short(self, account: Account, at: int, tokens: int) -> bool:
        return (
            (account.requests >= 0 and self._free(at, REQUESTS_GIVEN) < 1)
            or (account.tokens >= 0 and self._free(at, TOKENS_GIVEN) < tokens)
            or (account.concurrency >= 0 and self._places(at) < 1)
        )

    def _what(self, account: Account, at: int, tokens: int) -> str:
        if account.requests >= 0 and self._free(at, REQUESTS_GIVEN) < 1:
            return REQUEST_LIMIT
        return TOKEN_LIMIT if account.tokens >= 0 and self._free(at, TOKENS_GIVEN) < tokens else FLIGHT_LIMIT

    def _full(self, account: Account, at: int, bounds: Sequence[int], tokens: int, now_ms: int) -> Full | None:
        """Whether our own window is at these bounds (−1 = none)."""
        words = self._words
        requests, most, flights = bounds
        if account.requests >= 0 and words[at + REQUESTS] >= requests:
            if requests < 1:
                return Full(account, REQUEST_LIMIT, WINDOW_MS if account.requests else -1)
            return Full(account, REQUEST_LIMIT, self._retry_ms(at, REQUEST_CELLS, requests - 1, now_ms))
        if account.tokens >= 0 and words[at + TOKENS] + tokens > most:
            if tokens > most:
                return Full(account, TOKEN_LIMIT, -1 if tokens > account.tokens else WINDOW_MS)
            return Full(account, TOKEN_LIMIT, self._retry_ms(at, TOKEN_CELLS, most - tokens, now_ms))
        if account.concurrency >= 0 and words[at + FLYING] >= flights:
            return Full(account, FLIGHT_LIMIT, 1000 if account.concurrency else -1)
        return None

    def _bounds(self, account: Account, at: int, now_ms: int, away: bool, nodes: int) -> Sequence[int]:
        """This node's part; for the first window alone also no more than what it had and could have got."""
        words = self._words
        if nodes < 2:
            return account.part
        if not words[at + ALONE]:
            words[at + ALONE] = now_ms
            fresh = now_ms - words[at + HEARD] < FRESH_MS and words[at + HEARD] > 0
            for bound, own, given, room in (
                (REQUEST_BOUND, REQUESTS, REQUESTS_GIVEN, REQUEST_ROOM),
                (TOKEN_BOUND, TOKENS, TOKENS_GIVEN, TOKEN_ROOM),
            ):
                spare = words[at + room] // nodes if away else 0
                words[at + bound] = words[at + own] + max(0, self._free(at, given)) + spare if fresh else -1
        return self._part(account, at, now_ms)

    def _part(self, account: Account, at: int, now_ms: int) -> tuple[int, int, int]:
        words = self._words
        requests, tokens, flights = account.part
        if words[at + ALONE] and now_ms - words[at + ALONE] < SETTLED_MS:
            if words[at + REQUEST_BOUND] >= 0:
                requests = min(requests, words[at + REQUEST_BOUND])
            if words[at + TOKEN_BOUND] >= 0:
                tokens = min(tokens, words[at + TOKEN_BOUND])
        return requests, tokens, flights

    def _put_down(self, accounts: Sequence[Account], tokens: int, cell: int) -> None:
        Windows._put_down(self, accounts, tokens, cell)
        words = self._words
        for account in accounts:
            words[account.slot + REQUESTS_USED] += 1
            words[account.slot + TOKENS_USED] += tokens

    def _cells(self, at: int, cell: int) -> list[tuple[int, int, int]]:
        words = self._words
        if words[at] < cell:
            self._advance(at, cell)
        requests = words[at + REQUEST_CELLS : at + TOKEN_CELLS].tolist()
        tokens = words[at + TOKEN_CELLS : at + PERMITS].tolist()
        ages = ((age, (cell - age) % CELLS) for age in range(CELLS))
        return [(age, requests[place], tokens[place]) for age, place in ages if requests[place] or tokens[place]]
