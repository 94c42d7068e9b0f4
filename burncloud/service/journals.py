"""The books: every journal is read to its end and booked once, whatever dies when.

One task a journal (service/bookkeeper.py), one that answers for leases (service/leases.py); this is their face.

How app/control.py uses it::

    books = Books(db, settings.data_dir, settings.node, settings.journal_sync_ms)
    books.on_ack = lambda uuid, seq: peers[uuid].send(Ack(seq))
    books.send_recall = lambda uuid, recall: peers[uuid].send(recall)
    books.send_rewrite = lambda uuid: peers[uuid].send(Rewrite())
    books.on_fatal = lambda error: shut_down()      # another control process took over: exit, write nothing
    await books.start()                             # quick; dead journals are closed in the background
    …Welcome(books.ledger, node)
    …Opened: acked = await books.open_journal(uuid) # before the Snapshot; JournalRefused: close the link
    …Bell:   books.bell(uuid, seq, recalled)
    …Ask:    peer.send(await books.ask(uuid, ask))  # in a task of its own; never raises
    …link closed: books.journal_lost(uuid)
    await books.stop()                              # after the workers; closes what they left
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from burncloud import clock, logs
from burncloud.database import journals as rows
from burncloud.database import leases as lease_rows
from burncloud.database import ledger
from burncloud.database.connection import Conn
from burncloud.database.driver import Tx
from burncloud.database.engine import DATABASE_ERRORS, Database, transient
from burncloud.database.journals import Guard, JournalRow, StaleEpoch
from burncloud.database.leases import Account
from burncloud.domain.link import Ask, Grant, Recall
from burncloud.service import billing
from burncloud.service.bookkeeper import RUN_DEADLINE_MS, Keeper, WatermarkMoved
from burncloud.service.leases import UNAVAILABLE, Granter
from burncloud.service.segments import Foreign

log = logs.logger(__name__)

FOLDER: Final = "journal"
UUID_DIGITS: Final = 32
BOOK_SOON: Final = 2_000
"""As many records behind, a doorbell is answered at once."""
RESCAN_MS: Final = 5_000
RETRY_MS: Final = 500
HURRY_MS: Final = 200
"""As long after a recall, every doorbell is answered at once."""
CHECKPOINT_MS: Final = 1_000


class JournalRefused(Exception):
    """This journal cannot be opened: it is closed, or not ours.  Its worker must start anew."""


class JournalStatus(NamedTuple):
    """One journal, for people."""

    uuid: str
    state: str
    """live · alone (no worker connected, but somebody holds its lock) · replay · foreign."""
    acked: int
    lag: int
    """Records written, as far as known, that wait to be read or booked."""


class Status(NamedTuple):
    """The books, for /health and /api/v1/status."""

    epoch: int
    journals: list[JournalStatus]
    leases: int
    """How many leases hold something."""
    leased: int
    """Σ of it, nano-dollars."""
    alarms: dict[str, str]
    """What a person must look at: "<kind> <journal>" → why.  Kept until the process ends."""


class _Desk:
    """A keeper with what makes it move."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.foreign = False
        self.bell_seq = 0
        self.recall_n = 0
        """Number of the newest recall sent."""
        self.recalled = 0
        """Number of the newest recall answered, …"""
        self.recalled_seq = 0
        """… and the record up to which that answer goes."""
        self.busy = False
        """In the midst of a round."""
        self.turn = asyncio.Event()
        """Set at the end of the round under way, or of the next one."""
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def state(self) -> str:
        if self.foreign:
            return "foreign"
        return "replay" if self.keeper.dead else "live" if self.keeper.live else "alone"

    def hurry(self, time_ms: int) -> None:
        """Book everything at once for a while, beginning now."""
        self.keeper.hurry_until_ms = clock.monotonic_ms() + time_ms
        self.wake.set()

    def has_booked(self, seq: int) -> bool:
        """All records up to `seq` are in the ledger (in the midst of a round only the watermark tells)."""
        return self.keeper.acked >= seq or (not self.busy and not self.keeper.lag(seq))

    async def round(self) -> bool:
        """A round of the keeper; whoever waits for its end hears of it, however it ends."""
        self.busy = True
        try:
            return await self.keeper.round()
        finally:
            self.busy = False
            self.turn.set()
            self.turn = asyncio.Event()

    def try_for_lock(self) -> None:
        """The worker is gone from the link: perhaps it is gone."""
        self.keeper.live = False
        self.keeper.lock_poll_ms = 0
        self.wake.set()

    async def pause(self, pause_ms: int) -> None:
        """Sleep that long unless woken."""
        try:
            async with asyncio.timeout(pause_ms / 1000):
                await self.wake.wait()
        except TimeoutError:
            pass
        self.wake.clear()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel them and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Books:
    """The control side of money; see the head of this file."""

    def __init__(self, db: Database, data_dir: Path | str, node: str, sync_ms: int = 50) -> None:
        """`sync_ms`: how often journals are read and synced (setting journal_sync_ms)."""
        self.db = db
        self.guard = Guard(node, 0)
        self.ledger = ""
        """The uuid of this database's money; known after `start`."""
        self.on_ack: Callable[[str, int], None] = lambda uuid, seq: None
        self.send_recall: Callable[[str, Recall], None] = lambda uuid, recall: None
        self.send_rewrite: Callable[[str], None] = lambda uuid: None
        self.on_fatal: Callable[[BaseException], None] = lambda error: None
        self._root = Path(data_dir) / FOLDER
        self._sync_ms = sync_ms
        self._desks: dict[str, _Desk] = {}
        self._granter: Granter | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._alarms: dict[str, str] = {}
        self._stopping = False
        self.lost = False
        """Another control process keeps these books now."""

    # Life

    async def start(self) -> None:
        """Take over the node's books and begin; replay of what others left goes on in the background.

        Raises the database's errors if it cannot be reached within RUN_DEADLINE_MS.
        """

        node = self.guard.node
        self.guard = await self.db.ledger(lambda tx: rows.bump_epoch(tx, node), RUN_DEADLINE_MS)
        async with self.db.read() as connection:
            self.ledger = await rows.read_ledger(connection)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._granter = Granter(self.db, self.guard, self)
        self._granter.start()
        self._scan()
        self._chores = [asyncio.create_task(chore()) for chore in (self._rescan, self._close_missing, self._checkpoint)]

    async def stop(self, deadline_ms: int = 10_000) -> None:
        """Close what has no worker any more (as long as `deadline_ms` allows), then stop; a second time, too."""
        self._stopping = True  # and in the same turn: a desk's next round is its last
        for desk in self._desks.values():
            desk.hurry(deadline_ms)
            desk.try_for_lock()
        await _end(self._chores)
        tasks = [desk.task for desk in self._desks.values() if desk.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_ms / 1000)
        await _end(tasks)
        if self._granter is not None:
            await self._granter.stop()
        for desk in self._desks.values():
            desk.keeper.let_go()

    def fail(self, error: BaseException) -> None:
        """The books are another's now: tell the owner, once."""
        self.lost = True
        if not self._stopping:
            self._stopping = True
            log.error("another control process has taken over", extra={"error": str(error)})
            self.on_fatal(error)

    # What the link brings

    async def open_journal(self, uuid: str) -> int:
        """A worker has made (or, reconnecting, still has) this journal; the number up to which it is booked.

        Raises JournalRefused, StaleEpoch, the database's errors, and OSError at the end: the next one may be asked.
        """
        if self._stopping:
            raise ConnectionAbortedError("these books are being closed")
        folder = self._root / uuid
        if len(uuid) != UUID_DIGITS or not uuid.isalnum() or not folder.is_dir():
            raise JournalRefused(f"there is no journal {uuid}")
        desk = self._desks.get(uuid) or self._add(folder)
        keeper = desk.keeper
        if desk.foreign or keeper.dead:
            raise JournalRefused(f"journal {uuid} is another's or has been given up")
        try:
            row = await keeper.ensure_row()
        except Foreign as error:
            raise JournalRefused(str(error)) from None
        if row.state != "open" or keeper.dead:
            raise JournalRefused(f"journal {uuid} is closed")
        keeper.live = True
        desk.wake.set()
        return keeper.acked

    def bell(self, uuid: str, seq: int, recalled: int = 0) -> None:
        """The journal has grown to record `seq`; recalls up to number `recalled` are answered."""
        desk = self._desks.get(uuid)
        if desk is not None:
            desk.bell_seq = seq
            if recalled > desk.recalled:
                desk.recalled, desk.recalled_seq = recalled, seq
            hurry_ms = desk.keeper.hurry_until_ms
            if seq - desk.keeper.reader.seq >= BOOK_SOON or (hurry_ms and clock.monotonic_ms() < hurry_ms):
                desk.wake.set()

    async def ask(self, uuid: str, ask: Ask) -> Grant:
        """The answer to a worker's question, cumulative totals in it.  Never raises."""
        desk = self._desks.get(uuid)
        row = desk.keeper.row if desk is not None and desk.keeper.live else None
        if row is None or self._granter is None or self._stopping:
            return Grant(ask.n, UNAVAILABLE)
        return await self._granter.ask(uuid, row.id, ask)

    def journal_lost(self, uuid: str) -> None:
        """The worker is not connected any more; if it is gone, its journal is replayed and closed."""
        desk = self._desks.get(uuid)
        if desk is not None:
            desk.try_for_lock()

    # For people

    async def verify(self) -> billing.Report:
        """Does everything add up?  See `billing.verify`."""
        return await billing.verify(self.db)

    async def status(self) -> Status:
        """How the books stand.  Raises the database's errors."""
        async with self.db.read() as connection:
            count, amount = await lease_rows.count_outstanding(connection)
            await self._check_epoch(connection)
        states = [
            JournalStatus(uuid, desk.state(), desk.keeper.acked, desk.keeper.lag(desk.bell_seq))
            for uuid, desk in self._desks.items()
        ]
        return Status(self.guard.epoch, states, count, amount, dict(self._alarms))

    # What the granter asks of us

    def is_live(self, uuid: str) -> bool:
        """Whether the journal's worker is connected."""
        desk = self._desks.get(uuid)
        return desk is not None and desk.keeper.live

    def recall(self, uuid: str, recall: Recall) -> None:
        """Have a worker give back; what it writes is booked at once."""
        desk = self._desks.get(uuid)
        if desk is not None:
            desk.hurry(HURRY_MS)
            desk.recall_n += 1
            self.send_recall(uuid, msgspec.structs.replace(recall, n=desk.recall_n))

    async def caught_up(self, uuids: Iterable[str], timeout_ms: int) -> bool:
        """Wait until these workers have answered every recall and what they had written by then is booked.

        A journal whose worker is gone is waited for until it is closed.  False if it takes longer.
        """
        end_ms = clock.monotonic_ms() + timeout_ms
        for uuid in uuids:
            desk = self._desks.get(uuid)
            if desk is not None and not await self._caught_up(desk, end_ms):
                return False
        return True

    async def _caught_up(self, desk: _Desk, end_ms: int) -> bool:
        n, seq, answered = desk.recall_n, desk.bell_seq, False
        hurried = False
        while self._desks.get(desk.keeper.uuid) is desk:
            if not answered and desk.recalled >= n:
                # fixed now: under load the journal grows on and on
                seq, answered = max(seq, desk.recalled_seq), True
            if answered and desk.keeper.live and desk.has_booked(seq):
                break
            left_ms = max(0, end_ms - clock.monotonic_ms())
            if not hurried:
                desk.hurry(left_ms)
                hurried = True
            try:
                async with asyncio.timeout(left_ms / 1000):
                    await desk.turn.wait()
            except TimeoutError:
                return False
        return True

    # What the keepers ask of us

    def booked(self, uuid: str, seq: int) -> None:
        """All records up to `seq` are durably booked."""
        self.on_ack(uuid, seq)

    def cannot_sync(self, uuid: str) -> None:
        """The worker must write what is not booked into another file."""
        self.send_rewrite(uuid)

    def freed(self, accounts: Iterable[Account]) -> None:
        """Something of these accounts came back from a lease."""
        if self._granter is not None:
            self._granter.returned(set(accounts))

    def alarm(self, kind: str, uuid: str, why: str) -> None:
        """A person must look at this."""
        key = f"{kind} {uuid}".strip()
        if self._alarms.get(key) != why:
            self._alarms[key] = why
            log.error("the books need a person's eye", extra={"alarm": kind, "journal": uuid, "why": why})

    # Journals

    def _add(self, folder: Path) -> _Desk:
        desk = self._desks[folder.name] = _Desk(Keeper(folder, self.ledger, self))
        desk.task = asyncio.create_task(self._tend(desk))
        return desk

    def _scan(self) -> None:
        for folder in sorted(self._root.iterdir()):
            if folder.is_dir() and folder.name not in self._desks:
                self._add(folder)

    async def _tend(self, desk: _Desk) -> None:
        """The life of a journal, until it is closed and its files are gone."""
        keeper = desk.keeper
        while True:
            last = self._stopping
            try:
                if await desk.round():
                    del self._desks[keeper.uuid]
                    return keeper.let_go()
                if last and not keeper.dead:
                    return None  # somebody still writes; the next control process will go on
                await desk.pause(self._sync_ms)
            except StaleEpoch as error:
                return self.fail(error)
            except Foreign as error:
                desk.foreign = True
                self.alarm("foreign", keeper.uuid, str(error))
                return keeper.let_go()
            except Exception as error:
                if not keeper.live and not keeper.folder.exists():
                    del self._desks[keeper.uuid]
                    keeper.let_go()
                    return await self._close_missing()
                if not isinstance(error, WatermarkMoved) and not transient(error):
                    self.alarm("stuck", keeper.uuid, repr(error))
                log.warning("a journal cannot be booked yet", extra={"journal": keeper.uuid, "error": repr(error)})
                await desk.pause(RETRY_MS)

    # Chores

    async def _rescan(self) -> None:
        """A journal may be copied back, or its worker never have come to say that it is there."""
        while True:
            await asyncio.sleep(RESCAN_MS / 1000)
            try:
                self._scan()
            except OSError as error:
                self.alarm("folder", "", str(error))
            with suppress(*DATABASE_ERRORS):  # who writes will say so
                async with self.db.read() as connection:
                    await self._check_epoch(connection)

    async def _check_epoch(self, connection: Conn) -> None:
        """Whoever has nothing to write must notice, too, that the books are another's."""
        epoch = await rows.read_epoch(connection, self.guard.node)
        if epoch != self.guard.epoch:
            self.fail(StaleEpoch(f"epoch {self.guard.epoch} of node {self.guard.node} was taken over by {epoch}"))

    async def _close_missing(self) -> None:
        """Close journals of this node whose folder is gone: there is nothing to replay, but their leases hold quota."""
        node = None if self.db.dialect == "sqlite" else self.guard.node
        while True:
            try:
                async with self.db.read() as connection:
                    found = await rows.open_journals(connection, node)
                for row in found:
                    if row.uuid not in self._desks and not (self._root / row.uuid).exists():
                        self.alarm("missing", row.uuid, "its files are gone: closed without replay")
                        await self._close_row(row)
                return None
            except StaleEpoch as error:
                return self.fail(error)
            except DATABASE_ERRORS as error:
                log.warning("missing journals cannot be closed yet", extra={"error": str(error)})
                await asyncio.sleep(RETRY_MS / 1000)

    async def _close_row(self, row: JournalRow) -> None:
        nothing = billing.booking(row.id, [])

        def work(tx: Tx) -> list[Account]:
            if not ledger.book(tx, self.guard, row.id, "open", row.acked, row.acked, nothing):
                return []
            return ledger.close(tx, row.id, clock.now_s())

        self.freed(await self.db.ledger(work, RUN_DEADLINE_MS))

    async def _checkpoint(self) -> None:
        while self.db.path is not None:
            await asyncio.sleep(CHECKPOINT_MS / 1000)
            try:
                await self.db.checkpoint()
            except DATABASE_ERRORS as error:
                log.warning("the WAL cannot be written back yet", extra={"error": str(error)})
