"""One rule of the money protocol taken out, in a running process: what the kill loop must notice.

Each function replaces a piece of the product by one that lacks a rule of docs/money.md, and nothing else.
A name that is no longer there is an AttributeError, which ends the process: a mutation never does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(old)` in the place of owner.name."""
    setattr(owner, name, make(getattr(owner, name)))


def intent_before_send() -> None:
    """The intent is written some time after the request has left, together with what follows."""
    from burncloud.wire.journal import JournalWriter

    lazy: set[int] = set()

    def queues_lazily(old: Any) -> Any:
        def queue(self: Any, record: Any) -> Any:
            if not self._queue:
                lazy.add(id(self))
            return old(self, record)

        return queue

    def queues_now(old: Any) -> Any:
        def queue(self: Any, record: Any) -> Any:
            lazy.discard(id(self))
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._flush)
            return old(self, record)

        return queue

    def flush_later(old: Any) -> Any:
        def flush(self: Any) -> None:
            if id(self) not in lazy:
                old(self)
                return
            lazy.discard(id(self))
            waiters, self._waiters = self._waiters, []
            for waiter, argument in waiters:
                waiter(argument, True)
            self._scheduled = False
            self._loop.call_later(0.1, old, self)

        return flush

    for name in ("intend", "again"):
        replace(JournalWriter, name, queues_lazily)
    for name in ("end", "give_back"):
        replace(JournalWriter, name, queues_now)
    replace(JournalWriter, "_flush", flush_later)


def synced_offset() -> None:
    """What was read is booked and acknowledged, synced or not."""
    from burncloud.service.segments import Reader

    replace(Reader, "sync", lambda old: lambda self: None)


def watermark_in_booking() -> None:
    """The watermark moves in a transaction of its own behind the booking, and no unique key stands in between."""
    from burncloud.database import ledger
    from burncloud.database.driver import PostgresTx, SqliteTx, quoted
    from burncloud.service.bookkeeper import Keeper

    def insert_or_ignore(self: Any, table: Any, rows: Any) -> None:
        columns = ",".join(quoted(column.name) for column in table.columns)
        places = ",".join(f"${n}" for n in range(1, len(table.columns) + 1))
        statement = f"INSERT INTO {quoted(table.name)} ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING"
        for row in rows:
            self.execute(statement, *row)

    def then_watermark(old: Any) -> Any:
        async def write(self: Any, batch: Any) -> None:
            await old(self, batch)
            move = "UPDATE journals SET acked = $1 WHERE id = $2"
            await self._house.db.ledger(lambda tx: tx.execute(move, self.acked, self.row.id))

        return write

    replace(ledger, "move_watermark", lambda old: lambda *_: True)
    for kind in (SqliteTx, PostgresTx):
        replace(kind, "insert_rows", lambda old: insert_or_ignore)
    replace(Keeper, "_write", then_watermark)


def draw_with_receipt() -> None:
    """What receipts draw on leases is booked in a transaction of its own, before them."""
    from burncloud.database import ledger
    from burncloud.database.journals import check_epoch
    from burncloud.database.schema import balances, leases
    from burncloud.service import billing
    from burncloud.service.bookkeeper import Keeper

    split: set[int] = set()
    """Journals (by number) whose next booking has drawn before."""

    def draw_first(old: Any) -> Any:
        async def write(self: Any, batch: Any) -> None:
            if not batch.unseen:
                sums = billing.booking(self.row.id, (record for _, record in batch.good))
                drawn = [(kind, id_, 0, leased) for kind, id_, _, leased in sums.balances if leased]

                def draw(tx: Any) -> None:
                    check_epoch(tx, self._house.guard)
                    tx.add_rows(leases, ledger.LEASE_KEYS, ledger.LEASE_SUMS, sums.leases)
                    tx.add_rows(balances, ledger.BALANCE_KEYS, ledger.BALANCE_SUMS, drawn)

                await self._house.db.ledger(draw)
                split.add(self.row.id)
            try:
                await old(self, batch)
            finally:
                split.discard(self.row.id)

        return write

    def without_draws(old: Any) -> Any:
        def book(tx: Any, guard: Any, journal: int, state: str, before: int, after: int, what: Any) -> Any:
            if journal in split:
                what = what._replace(leases=[], balances=[(k, i, used, 0) for k, i, used, _ in what.balances])
            return old(tx, guard, journal, state, before, after, what)

        return book

    replace(Keeper, "_write", draw_first)
    replace(ledger, "book", without_draws)


def copy_forward() -> None:
    """At rollover nothing is copied, yet old segments go when they are acknowledged."""
    from burncloud.wire.journal import JournalWriter

    replace(JournalWriter, "_keep_open", lambda old: lambda self: None)


def end_before_last_bytes() -> None:
    """The client gets the last bytes, and the receipt is queued a little later."""
    from burncloud.router.answer import Answers
    from burncloud.router.exchange import ENDING

    def finish_first(old: Any) -> Any:
        def settle(self: Any, x: Any, state: str, last: bytes) -> None:
            x.state = ENDING
            if not x.done:
                x.client.transport.write(last)
            asyncio.get_running_loop().call_later(0.05, old, self, x, state, b"")

        return settle

    replace(Answers, "_settle", finish_first)


def replay_under_lock() -> None:
    """A journal whose worker has left the link counts as dead, whoever holds its lock."""
    import os

    from burncloud.service.bookkeeper import Keeper

    def take(self: Any) -> None:
        self._lock_fd = os.open(self.folder / "lock", os.O_RDWR)

    replace(Keeper, "_try_lock", lambda old: take)


def epoch() -> None:
    """Who was passed by goes on writing."""
    from burncloud.database import journals, leases, ledger

    for module in (journals, leases, ledger):
        replace(module, "check_epoch", lambda old: lambda tx, guard: None)


MUTATIONS: Final[dict[str, tuple[Callable[[], None], str]]] = {
    "intent_before_send": (intent_before_send, "worker"),
    "synced_offset": (synced_offset, "control"),
    "watermark_in_booking": (watermark_in_booking, "control"),
    "draw_with_receipt": (draw_with_receipt, "control"),
    "copy_forward": (copy_forward, "worker"),
    "end_before_last_bytes": (end_before_last_bytes, "worker"),
    "replay_under_lock": (replay_under_lock, "control"),
    "epoch": (epoch, "control"),
}
"""Name → what takes the rule out, and in which role."""


def take_out(name: str, role: str) -> None:
    """Take the rule out, if this role keeps it."""
    apply, where = MUTATIONS[name]
    if role.startswith(where):
        apply()
