"""Sliding windows and counts in flight that all workers of a node share: exact, and without a message.

One table in shared memory, one mutex.  An account (a token, a channel, …) has a slot with a ring of cells, each a
quarter of a second of the last minute, for requests and for tokens, and a count of what is in flight with each
worker's part of it.  Under the mutex a request is either put down in all its accounts or in none, so that no window
of 60 s ever holds more than the limit, and what the limit allows is admitted by whichever worker is asked.

A cell is forgotten when its youngest entry is 60 s old: room comes back at most 250 ms late, never early.  What a
dead worker had admitted leaves with the window; what it had in flight leaves when its successor starts, or when another
worker has seen that it is gone.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from burncloud import clock, logs
from burncloud.wire.mutex import MUTEX_BYTES, Mutex

WINDOW_MS: Final = 60_000
CELL_MS: Final = 250
CELLS: Final = WINDOW_MS // CELL_MS + 1
"""A cell counts while any of its entries may be younger than a window."""
SLOTS: Final = 16_384
"""Accounts with limits that can be busy within one window on a node; idle ones make room."""
WORKERS: Final = 64

# Words of a slot
CELL, REQUESTS, TOKENS, FLYING, PARTS = 0, 1, 2, 3, 4
REQUEST_CELLS: Final = PARTS + WORKERS
TOKEN_CELLS: Final = REQUEST_CELLS + CELLS
PERMITS: Final = TOKEN_CELLS + CELLS
PERMIT_WORDS: Final = 17
"""What permits.py keeps of an account that other nodes have, too."""
QUEUED, LAST, YIELDED = range(PERMITS + PERMIT_WORDS, PERMITS + PERMIT_WORDS + 3)
"""Which workers have requests that wait for room (bits), which one let in the last, since when that one stands back."""
SLOT_WORDS: Final = YIELDED + 1
YIELD_MS: Final = 12
"""So long a worker stands back for others whose requests wait, too: each looks more often."""
QUEUE_BITS: Final = 62
# Words of the table
READY: Final = MUTEX_BYTES // 8
USED: Final = READY + 1
HAND: Final = READY + 2
KEYS: Final = READY + 8
FIRST: Final = KEYS + SLOTS
BYTES: Final = (FIRST + SLOTS * SLOT_WORDS) * 8
LAYOUT: Final = SLOT_WORDS << 32 | SLOTS
"""Stands in a table that is in use.  A reload may bring workers of another version beside those that go."""
OFFSET: Final = 64 << 10
"""Where the table begins in the workers' shared file: behind the load map, on a boundary that mmap takes."""

_log = logs.logger(__name__)
_KEY: Final = struct.Struct("=q")
_NO_CELLS: Final = memoryview(bytes(8 * CELLS)).cast("q")

REQUEST_LIMIT, TOKEN_LIMIT, FLIGHT_LIMIT = "requests", "tokens", "concurrency"


class Account:
    """One limited thing and its limits (−1 = none)."""

    __slots__ = ("concurrency", "key", "name", "part", "requests", "slot", "tokens")

    def __init__(self, name: str, key: int, requests: int = -1, tokens: int = -1, concurrency: int = -1) -> None:
        """`key`: 63 bits that stand for it in all processes, not 0."""
        self.name = name
        self.key = key
        self.requests = requests
        """A minute, as are the tokens."""
        self.tokens = tokens
        self.concurrency = concurrency
        self.part = (requests, tokens, concurrency)
        """This node's part of the three, where several nodes divide them."""
        self.slot = -1


class Full(NamedTuple):
    """Why a request was not admitted."""

    account: Account
    what: str
    """requests · tokens · concurrency."""
    retry_ms: int
    """When there may be room; −1 = never, it alone is larger than the limit."""


class NoRoom(Exception):
    """More accounts are busy than the table holds."""


class Windows:
    """The table, as one worker uses it."""

    def __init__(self, fd: int = -1, index: int = 0, *, alone: bool = False) -> None:
        """`fd`: the workers' shared file, −1 = a table of our own; `alone`: no other process has it."""
        self._me = PARTS + index
        self._bit = 1 << index % QUEUE_BITS
        self.cell = 0
        """When the last request was admitted: `leave` asks for it."""
        if fd < 0:
            self._map = mmap.mmap(-1, BYTES)
        else:
            if os.fstat(fd).st_size < OFFSET + BYTES:
                os.ftruncate(fd, OFFSET + BYTES)
            self._map = mmap.mmap(fd, BYTES, offset=OFFSET)
            if memoryview(self._map).cast("q")[READY] not in (0, LAYOUT):
                _log.warning("the table of limits is another version's: this worker has one of its own until a restart")
                fd, self._map = -1, mmap.mmap(-1, BYTES)
        self.words = self._words = memoryview(self._map).cast("q")
        """At `slot + REQUESTS` and `slot + TOKENS` of an account admitted once: its sums."""
        mutex = Mutex(-1 if alone else fd, self._map, self._fresh)
        self._take, self._give = mutex.take, mutex.give
        self.bury(index)  # a predecessor with our number, which is dead

    def _fresh(self) -> bool:
        fresh = not self._words[READY]
        self._words[READY] = LAYOUT
        return fresh

    def admit(self, accounts: Sequence[Account], tokens: int) -> Full | None:
        """Put a request of so many tokens down in all these accounts; None = done, `cell` says when."""
        words = self._words
        if self._take():
            self._mend()
        try:
            now_ms = clock.monotonic_ms()
            cell = now_ms // CELL_MS
            for account in accounts:
                at = account.slot
                if at < 0 or words[KEYS + (at - FIRST) // SLOT_WORDS] != account.key:
                    at = self._place(account, cell)
                if words[at] < cell:
                    self._advance(at, cell)
                if 0 <= account.requests <= words[at + REQUESTS]:
                    return Full(account, REQUEST_LIMIT, self._retry_ms(at, REQUEST_CELLS, account.requests - 1, now_ms))
                if account.tokens >= 0 and words[at + TOKENS] + tokens > account.tokens:
                    room = account.tokens - tokens
                    return Full(account, TOKEN_LIMIT, self._retry_ms(at, TOKEN_CELLS, room, now_ms))
                if 0 <= account.concurrency <= words[at + FLYING]:
                    return Full(account, FLIGHT_LIMIT, 1000 if account.concurrency else -1)
            self._put_down(accounts, tokens, cell)
            return None
        finally:
            self._give()

    def leave(self, accounts: Sequence[Account], cell: int, more_tokens: int) -> None:
        """A request admitted at `cell` is over; it used so many tokens more (or less) than was put down."""
        words = self._words
        if self._take():
            self._mend()
        try:
            me = self._me
            for account in accounts:
                at = account.slot
                if at < 0 or words[KEYS + (at - FIRST) // SLOT_WORDS] != account.key:
                    continue
                if account.concurrency >= 0 and words[at + me] > 0:
                    words[at + FLYING] -= 1
                    words[at + me] -= 1
                if more_tokens and account.tokens >= 0 and words[at] - cell < CELLS:
                    words[at + TOKENS] += more_tokens
                    words[at + TOKEN_CELLS + cell % CELLS] += more_tokens
        finally:
            self._give()

    def spend(self, accounts: Sequence[Account], cell: int, reserved: int, tokens: int) -> None:
        """What goes on has used so many tokens just now, of which `reserved` were put down at `cell`."""
        words, now = self._words, clock.monotonic_ms() // CELL_MS
        if self._take():
            self._mend()
        try:
            for account in accounts:
                if account.tokens < 0:
                    continue
                at = account.slot
                if at < 0 or words[KEYS + (at - FIRST) // SLOT_WORDS] != account.key:
                    at = self._place(account, now)
                if words[at] < now:
                    self._advance(at, now)
                words[at + TOKENS] += tokens
                words[at + TOKEN_CELLS + now % CELLS] += tokens
                if words[at] - cell < CELLS:
                    words[at + TOKENS] -= reserved
                    words[at + TOKEN_CELLS + cell % CELLS] -= reserved
        except NoRoom:  # so many others are busy
            pass
        finally:
            self._give()

    def queue(self, account: Account, waits: bool) -> None:
        """Whether requests of this worker wait for room in the account."""
        words, at = self._words, account.slot
        if at < 0 or bool(words[at + QUEUED] & self._bit) == waits:
            return
        if self._take():
            self._mend()
        if words[KEYS + (at - FIRST) // SLOT_WORDS] == account.key:
            words[at + QUEUED] = words[at + QUEUED] | self._bit if waits else words[at + QUEUED] & ~self._bit
        self._give()

    def others_first(self, account: Account) -> bool:
        """Whether it is the turn of another worker, whose requests wait: who had the last room stands back a moment."""
        words, at = self._words, account.slot
        if at < 0 or not words[at + QUEUED] & ~self._bit or words[at + LAST] != self._bit:
            return False
        now_ms = clock.monotonic_ms()
        if not words[at + YIELDED]:
            words[at + YIELDED] = now_ms
        return now_ms - words[at + YIELDED] < YIELD_MS

    def entered(self, account: Account) -> None:
        """A request of this worker was let in."""
        at = account.slot
        self._words[at + LAST] = self._bit
        self._words[at + YIELDED] = 0

    def left(self, account: Account) -> tuple[int, int, int]:
        """Requests, tokens and concurrent requests that the account has left (−1 = no limit), as last counted."""
        words, at = self._words, account.slot
        if at < 0:
            return account.requests, account.tokens, account.concurrency
        return (
            max(0, account.requests - words[at + REQUESTS]) if account.requests >= 0 else -1,
            max(0, account.tokens - words[at + TOKENS]) if account.tokens >= 0 else -1,
            max(0, account.concurrency - words[at + FLYING]) if account.concurrency >= 0 else -1,
        )

    def bury(self, index: int) -> None:
        """The worker of that number is dead: what it had in flight is over, and nobody waits there."""
        words, part, bit = self._words, PARTS + index, 1 << index % QUEUE_BITS
        if self._take():
            self._mend()
        try:
            for number in range(words[USED]):
                at = FIRST + number * SLOT_WORDS
                if words[at + part]:
                    words[at + FLYING] -= words[at + part]
                    words[at + part] = 0
                words[at + QUEUED] &= ~bit
        finally:
            self._give()

    # Own matters, all under the mutex

    def _put_down(self, accounts: Sequence[Account], tokens: int, cell: int) -> None:
        """A request of so many tokens, in accounts that have room."""
        words, me, here = self._words, self._me, cell % CELLS
        for account in accounts:
            at = account.slot
            if account.requests >= 0:
                words[at + REQUESTS] += 1
                words[at + REQUEST_CELLS + here] += 1
            if account.tokens >= 0:
                words[at + TOKENS] += tokens
                words[at + TOKEN_CELLS + here] += tokens
            if account.concurrency >= 0:
                words[at + FLYING] += 1
                words[at + me] += 1
        self.cell = cell

    def _place(self, account: Account, cell: int) -> int:
        """The account's slot: the one it has, a new one, or that of an account that is idle."""
        words, key = self._words, _KEY.pack(account.key)
        used = words[USED]
        begin, end = KEYS * 8, (KEYS + used) * 8
        found = self._map.find(key, begin, end)
        while found >= 0 and found % 8:
            found = self._map.find(key, found + 1, end)
        if found >= 0:
            account.slot = FIRST + (found - begin) // 8 * SLOT_WORDS
            return account.slot
        number = used
        if used < SLOTS:
            words[USED] = used + 1
        else:
            number = self._idle(cell)
        at = FIRST + number * SLOT_WORDS
        words[KEYS + number] = account.key
        words[at : at + REQUEST_CELLS] = _NO_CELLS[:REQUEST_CELLS]
        words[at + PERMITS : at + SLOT_WORDS] = _NO_CELLS[: SLOT_WORDS - PERMITS]
        self._forget(at, cell)
        account.slot = at
        return at

    def _idle(self, cell: int) -> int:
        words = self._words
        for step in range(SLOTS):
            number = (words[HAND] + step) % SLOTS
            at = FIRST + number * SLOT_WORDS
            if cell - words[at] >= CELLS and not words[at + FLYING]:
                words[HAND] = number + 1
                return number
        raise NoRoom

    def _forget(self, at: int, cell: int) -> None:
        words = self._words
        words[at + CELL] = cell
        words[at + REQUESTS] = words[at + TOKENS] = 0
        words[at + REQUEST_CELLS : at + TOKEN_CELLS] = _NO_CELLS
        words[at + TOKEN_CELLS : at + PERMITS] = _NO_CELLS

    def _advance(self, at: int, cell: int) -> None:
        """Forget the cells that have become too old."""
        words = self._words
        last = words[at]
        gone = cell - last
        if gone >= CELLS:
            self._forget(at, cell)
            return
        begin = (last + 1) % CELLS
        for first, count in ((begin, min(gone, CELLS - begin)), (0, begin + gone - CELLS)):
            if count <= 0:
                continue
            for total, ring in ((REQUESTS, REQUEST_CELLS), (TOKENS, TOKEN_CELLS)):
                place = at + ring + first
                if count == 1:
                    lost = words[place]
                else:
                    lost = sum(words[place : place + count].tolist())
                if lost:
                    words[at + total] -= lost
                    words[place : place + count] = _NO_CELLS[:count]
        words[at] = cell

    def _retry_ms(self, at: int, ring: int, room: int, now_ms: int) -> int:
        """When no more than `room` will be left of what the ring holds now."""
        if room < 0:
            return -1
        words = self._words
        held = words[at + (REQUESTS if ring == REQUEST_CELLS else TOKENS)]
        newest = words[at]
        for cell in range(newest - CELLS + 1, newest + 1):
            held -= words[at + ring + cell % CELLS]
            if held <= room:
                return max(1, (cell + CELLS) * CELL_MS - now_ms)
        return WINDOW_MS

    def _mend(self) -> None:
        """A process died in the middle of a change: sums are made anew from their parts."""
        words = self._words
        for number in range(words[USED]):
            at = FIRST + number * SLOT_WORDS
            words[at + REQUESTS] = sum(words[at + REQUEST_CELLS : at + TOKEN_CELLS].tolist())
            words[at + TOKENS] = sum(words[at + TOKEN_CELLS : at + PERMITS].tolist())
            words[at + FLYING] = sum(words[at + PARTS : at + REQUEST_CELLS].tolist())
