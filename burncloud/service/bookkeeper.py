"""One journal's way into the ledger: read, sync, book with the watermark, acknowledge; at its end, close.

The same walk serves the living and the dead.  When the writer's lock can be won, the rest is replayed, each open
exchange gets an interrupted receipt, the leases go back and the journal is closed, in one transaction (many open
exchanges: in several, the last of which closes); then the files go (shared MONEY.md §2, §3, §6).  Any round may
fail anywhere: the next one starts from what the database says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from burncloud import clock, crash, logs
from burncloud.database import journals as rows
from burncloud.database import ledger
from burncloud.database.driver import Tx
from burncloud.database.engine import Database, unstorable
from burncloud.database.journals import Guard, JournalRow
from burncloud.database.leases import Account
from burncloud.domain.journal import End, Return, encode_payload
from burncloud.service import billing
from burncloud.service.segments import Reader, Slice
from burncloud.wire.journal import lock_file

log = logs.logger(__name__)

KEPT_FOLDER: Final = "journal.kept"
"""Beside the journals' folder: where segments with something broken go instead of away."""
BATCH: Final = 2_000
"""Receipts in a transaction, at most: some 30 ms, which grants wait for.  Of 1,000 busy channels each has its rows in
every transaction, so that four small ones would cost a quarter more than one."""
BOOK_EVERY_MS: Final = 500
"""What is read and synced waits this long for company: a transaction costs as much as fifty receipts.  One that
comes after a pause does not wait, nor does one that somebody waits for."""
CLOSE_BATCH: Final = 500
WATERMARK_LAG: Final = 256
"""As many records that need no booking may be read without a transaction that says so."""
RUN_DEADLINE_MS: Final = 10_000
LOCK_POLL_MS: Final = 250
GRACE_MS: Final = 10_000
"""A folder without a row may be a worker's that is just starting: as long it is left alone."""
REWRITE_MS: Final = 1_000

Good = tuple[int, End | Return]
"""A record to book, with its number (an interrupted receipt: with its intent's)."""
Bad = tuple[int, int, bytes, str]
"""A record to put aside: number, exchange or 0, payload, reason."""


class WatermarkMoved(Exception):
    """The database's watermark is not where we left it: a failover, a restore."""


class House(Protocol):
    """What a keeper needs of the books it belongs to (service/journals.py)."""

    db: Database
    guard: Guard

    def booked(self, uuid: str, seq: int) -> None:
        """All records up to `seq` are durably booked."""

    def cannot_sync(self, uuid: str) -> None:
        """The worker must write what is not booked into another file."""

    def freed(self, accounts: Iterable[Account]) -> None:
        """Something of these accounts came back from a lease."""

    def alarm(self, kind: str, uuid: str, why: str) -> None:
        """A person must look at this."""


class Batch(NamedTuple):
    """What one transaction books."""

    good: list[Good]
    bad: list[Bad]
    upto: int
    """The watermark afterwards."""
    unseen: bool = False
    """Leave out what has a receipt already (interrupted and late ones)."""
    closing: bool = False

    def halves(self, acked: int) -> tuple[Batch, Batch]:
        """Two batches that come to the same, from the watermark `acked` on.

        Between them the watermark covers the left one and no more: what is behind it is still to be read after a crash.
        """
        middle = len(self.good) // 2
        cut = self.good[middle - 1][0]
        left = Batch(self.good[:middle], [bad for bad in self.bad if bad[0] <= cut], max(acked, cut), self.unseen)
        right = [bad for bad in self.bad if bad[0] > cut]
        return left, self._replace(good=self.good[middle:], bad=right)

    def put_aside(self, reason: str) -> Batch:
        """The same with its only record among the bad ones."""
        seq, record = self.good[0]
        x = record.x if isinstance(record, End) else 0
        return self._replace(good=[], bad=[*self.bad, (seq, x, encode_payload(record), reason)])


class Keeper:
    """One journal folder and how far it is booked."""

    def __init__(self, folder: Path, ledger_id: str, house: House) -> None:
        self.uuid = folder.name
        self.folder = folder
        self.reader = Reader(folder, ledger_id)
        self.row: JournalRow | None = None
        self.acked = 0
        """The watermark, as far as we know."""
        self.live = False
        """A worker is connected."""
        self.lock_poll_ms = 0
        """When to try for the lock next, on the monotonic clock."""
        self.hurry_until_ms = 0
        """Until then everything is booked as soon as it is read: somebody waits for what comes back."""
        self._good: list[Good] = []
        self._bad: list[Bad] = []
        self._booked_ms = 0
        self._house = house
        self._lock_fd = -1
        self._found_ms = clock.monotonic_ms()
        self._rewrite_ms = 0
        self._shaken = False
        """The last round did not come to its end."""

    @property
    def dead(self) -> bool:
        """We hold the lock: nobody writes any more."""
        return self._lock_fd >= 0

    def lag(self, written: int) -> int:
        """How many records wait to be booked, if the worker has `written` up to that number."""
        if self._good or self._bad:
            return max(written, self.reader.seq) - self.acked
        return max(0, written - self.reader.seq)

    def let_go(self) -> None:
        """Close our files, and with them the lock."""
        self.reader.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        self._lock_fd = -1

    # Where it stands

    async def ensure_row(self) -> JournalRow:
        """The journal's row, made if need be, and the reader at its watermark.  Raises Foreign, database errors."""
        row = await self._house.db.ledger(
            lambda tx: rows.ensure_journal(tx, self._house.guard, self.uuid, clock.now_s()), RUN_DEADLINE_MS
        )
        if self.row is None:
            self._stand(row)
        return row

    async def _stand_again(self) -> None:
        """After a round that failed: what the database says counts, not what we believe was written."""
        row = await self.ensure_row()
        if row.acked < self.acked:
            self._house.alarm("watermark", self.uuid, f"fell from {self.acked} to {row.acked}: booking again")
        self._stand(row)

    def _stand(self, row: JournalRow) -> None:
        self.row = row
        self.acked = row.acked
        self._read_again()

    def _read_again(self) -> None:
        """Forget what was read and not booked."""
        self._good, self._bad = [], []
        self.reader.seek(self.acked)

    async def _known(self, now_ms: int) -> bool:
        """Whether we may touch it: it has a row, or has lain here too long to be a worker's first moment."""
        async with self._house.db.read() as connection:
            row = await rows.find_journal(connection, self.uuid)
        if row is not None or self.live or now_ms - self._found_ms >= GRACE_MS:
            await self.ensure_row()
        return self.row is not None

    # A round

    async def round(self) -> bool:
        """Book what is new; True when the journal is closed and gone.

        Raises Foreign, StaleEpoch, WatermarkMoved, OSError, the database's errors.
        """
        now_ms = clock.monotonic_ms()
        if self.row is None and not await self._known(now_ms):
            return False
        if self._shaken:
            await self._stand_again()
        self._shaken = True
        if not self.live and not self.dead and now_ms >= self.lock_poll_ms:
            self.lock_poll_ms = now_ms + LOCK_POLL_MS
            self._try_lock()
        await self._book_new()
        if self.dead:
            await self._close()
        self._shaken = False
        return self.dead

    def _try_lock(self) -> None:
        """Win the lock if its holder is gone."""
        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
        fd = os.open(self.folder / "lock", flags, 0o600)
        try:
            lock_file(fd)
        except OSError:
            os.close(fd)
        else:
            self._lock_fd = fd

    async def _book_new(self) -> None:
        while True:
            found = self.reader.read(self.dead)
            if found.gap is not None:
                why = f"records {found.gap.first} to {found.gap.last} are in no file"
                self._house.alarm("gap", self.uuid, why)
            if not found.records:
                break
            if not await self._synced():
                return
            if crash.ARMED and self.dead:
                crash.point("control.replay")
            await self._take(found)
        if self._due():
            await self._book()
        if self.dead:
            for path, offset in self.reader.broken.items():
                self._house.alarm("broken", self.uuid, f"{path.name} at byte {offset}")

    async def _synced(self) -> bool:
        """Have what was read on the disk; if that fails, have the worker write it anew elsewhere."""
        try:
            await asyncio.to_thread(self.reader.sync)
        except OSError as error:
            self._house.alarm("sync", self.uuid, str(error))
            if self.dead:
                return True  # nobody can write it again; the database's commit will make it durable
            self._read_again()
            if clock.monotonic_ms() - self._rewrite_ms >= REWRITE_MS:
                self._rewrite_ms = clock.monotonic_ms()
                self._house.cannot_sync(self.uuid)
            return False
        return True

    # Booking

    async def _take(self, found: Slice) -> None:
        """Add a slice to what is to be booked."""
        good, bad = billing.sort_records(found.first, found.records)
        if self._good and len(self._good) + len(good) > BATCH:
            await self._book(found.first - 1)
        self._good += good
        self._bad += bad

    def _due(self) -> bool:
        now_ms = clock.monotonic_ms()
        if not self._good and not self._bad:
            return self.reader.seq - self.acked >= WATERMARK_LAG
        return self.dead or now_ms < self.hurry_until_ms or now_ms - self._booked_ms >= BOOK_EVERY_MS

    async def _book(self, upto: int = 0) -> None:
        """Book what was taken; all up to `upto` (0 = all that was read) needs no more."""
        assert self.row is not None
        self._booked_ms = clock.monotonic_ms()
        good, self._good, bad, self._bad = self._good, [], self._bad, []
        await self._book_batch(Batch(good, bad, upto or self.reader.seq, unseen=self.row.state != "open"))
        if crash.ARMED:
            crash.point("control.before_ack")
        self._house.booked(self.uuid, self.acked)
        self._house.freed([(record.kind, record.account) for _, record in good if isinstance(record, Return)])

    async def _book_batch(self, batch: Batch) -> None:
        """Book a batch; a record that can never be booked is found by halving and put aside."""
        try:
            await self._write(batch)
        except Exception as error:
            if not batch.good or not unstorable(error):
                raise
            parts = batch.halves(self.acked) if len(batch.good) > 1 else (batch.put_aside(str(error)),)
            for part in parts:
                await self._book_batch(part)
            return
        for seq, _, _, reason in batch.bad:
            self._house.alarm("quarantine", self.uuid, f"record {seq}: {reason}")

    async def _write(self, batch: Batch) -> None:
        """One transaction.  Raises WatermarkMoved if somebody else was here, and the database's errors."""
        row = self.row
        assert row is not None
        late = row.state != "open"
        guard = self._house.guard
        now_s = clock.now_s()

        def work(tx: Tx) -> list[Account] | None:
            good, bad = batch.good, batch.bad
            if batch.unseen:
                good, again = _unseen(tx, row.id, good)
                bad = bad + again
            booking = billing.booking(row.id, (record for _, record in good), late)
            if not ledger.book(tx, guard, row.id, row.state, self.acked, batch.upto, booking):
                return None
            for seq, x, payload, reason in bad:
                rows.put_aside(tx, row.id, seq, x, payload, reason, now_s)
            freed = ledger.close(tx, row.id, now_s) if batch.closing and not late else []
            if crash.ARMED:
                crash.point("control.in_close" if batch.closing else "control.before_commit")
            return freed

        freed = await self._house.db.ledger(work, RUN_DEADLINE_MS)
        if crash.ARMED:
            crash.point("control.after_commit")
        if freed is None:
            await self._was_written(batch)
        self.acked = batch.upto
        self._house.freed(freed or [])

    async def _was_written(self, batch: Batch) -> None:
        """The watermark is not where it was: fine if an earlier try of ours, its COMMIT unheard, moved it."""
        assert self.row is not None
        async with self._house.db.read() as connection:
            row = await rows.find_journal(connection, self.uuid)
        expected = (batch.upto, "closed" if batch.closing else self.row.state)
        if row is None or (row.acked, row.state) != expected:
            raise WatermarkMoved(f"journal {self.uuid} stands at {row}, not at {expected}")

    # The end

    async def _close(self) -> None:
        """Book what never ended as interrupted, give the leases back, close, and take the files away."""
        assert self.row is not None
        upto = max(self.acked, self.reader.seq)
        async with self._house.db.read() as connection:
            unbooked = await rows.put_aside_xs(connection, self.row.id)
        kept = await asyncio.to_thread(self.reader.open_exchanges, unbooked)
        batches = [kept[at : at + CLOSE_BATCH] for at in range(0, len(kept), CLOSE_BATCH)] or [[]]
        for number, part in enumerate(batches, 1):
            good: list[Good] = [(k.x, billing.interrupted(k)) for k in part]
            await self._book_batch(Batch(good, [], upto, unseen=True, closing=number == len(batches)))
        if crash.ARMED:
            crash.point("control.after_close")
        log.info("journal closed", extra={"journal": self.uuid, "acked": upto, "interrupted": len(kept)})
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        self.reader.close()
        for path in self.reader.broken:
            aside = self.folder.parent.with_name(KEPT_FOLDER)
            aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(aside / f"{self.uuid}-{path.name}")
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink()
        (self.folder / "lock").unlink(missing_ok=True)
        self.folder.rmdir()


def _unseen(tx: Tx, journal: int, good: list[Good]) -> tuple[list[Good], list[Bad]]:
    """Those without a receipt, and what the others are put aside as."""
    ends = [record.x for _, record in good if isinstance(record, End)]
    seen = rows.booked(tx, journal, ends)
    fresh: list[Good] = []
    again: list[Bad] = []
    for seq, record in good:
        if isinstance(record, End) and record.x in seen:
            if record.state == billing.INTERRUPTED:
                continue  # of our own making, in an earlier try
            again.append((seq, record.x, encode_payload(record), "its exchange has a receipt already"))
        else:
            fresh.append((seq, record))
    return fresh, again
