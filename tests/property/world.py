"""A small world for the ledger: workers, a control process, a database, and everything that can befall them.

Every step is one operation with a few small numbers, so that hypothesis can make schedules and shrink them, and
plain `random` can make thousands.  The world remembers what really happened (`seen` by an upstream, `delivered`
to a client, what a loss of power may have taken); `check` compares the ledger with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from burncloud.database import journals
from burncloud.database.driver import Tx
from burncloud.database.engine import Database
from burncloud.database.journals import Guard, JournalRow
from burncloud.database.leases import Account, add_grants, read_standing
from burncloud.domain.journal import Again, End, Intent, Kept, Progress, scan
from burncloud.domain.leases import Lease
from burncloud.domain.link import Ask, Grant
from burncloud.domain.usage import Usage
from burncloud.service.billing import verify
from burncloud.service.bookkeeper import Keeper
from burncloud.service.leases import Question, decide
from tests.books import Writer, add_accounts, balance, end, intent, ledger_of, receipts

WORKERS_MAX: Final = 3
FAULTS: Final = ("none", "before_commit", "after_commit")


class Killed(BaseException):
    """The control process dies here."""


class Step(NamedTuple):
    """One operation; what `a` and `b` mean is the operation's."""

    do: str
    a: int = 0
    b: int = 0


OPERATIONS: Final[dict[str, int]] = {
    "admit": 30, "settle": 25, "give_back": 5, "send_again": 3, "progress": 4, "roll": 7, "ack": 9, "book": 14,
    "kill": 3, "replay": 6, "copy_back": 2, "spawn": 8, "lose_reply": 2, "die_before_send": 2, "power": 1,
    "die_in_write": 1,
}  # fmt: skip
"""Name → how often, for random schedules."""


class Worker:
    """A worker's side: its journal, its leases, its open exchanges."""

    def __init__(self, writer: Writer, row: JournalRow) -> None:
        self.writer = writer
        self.row = row
        self.leases = {kind: Lease(kind, 1) for kind in ("user", "token")}
        self.open: dict[int, Kept] = {}
        self.acked = 0
        self.last_seqs: dict[Path, int] = {}

    def free(self) -> int:
        return min(lease.free for lease in self.leases.values())


class World:
    """Everything; made by `create`, told what to do by `step`."""

    def __init__(self, db: Database, root: Path, limit: int) -> None:
        self.db = db
        self.root = root
        self.limit = limit
        self.ledger = ""
        self.guard = Guard("here", 0)
        self.workers: list[Worker] = []
        self.dead: list[Writer] = []
        self.keepers: dict[str, Keeper] = {}
        self.copies: list[tuple[str, Path]] = []
        self.seen: set[tuple[str, int]] = set()
        self.delivered: dict[tuple[str, int], int] = {}
        self.lost: set[tuple[str, int]] = set()
        self.synced: dict[int, int] = {}
        self.fault = "none"

    @classmethod
    async def create(cls, db: Database, root: Path, limit: int) -> World:
        """Two workers and a user and token with this limit."""
        world = cls(db, root, limit)
        await add_accounts(db, limit, limit)
        world.ledger = await ledger_of(db)
        await world._take_over()
        for _ in range(2):
            await world.spawn(0, 0)
        return world

    async def step(self, step: Step) -> None:
        """One operation."""
        await getattr(self, step.do)(step.a, step.b)

    # What the keepers hear

    def booked(self, uuid: str, seq: int) -> None:
        for worker in self.workers:
            if worker.writer.uuid == uuid:
                worker.acked = max(worker.acked, seq)

    def cannot_sync(self, uuid: str) -> None:
        raise AssertionError("no disk fails here")

    def freed(self, accounts: Iterable[Account]) -> None:
        pass

    def alarm(self, kind: str, uuid: str, why: str) -> None:
        assert kind in ("gap", "broken"), (kind, why)
        assert self.lost or kind == "broken", "records are missing though no power was lost"

    def note_sync(self, fd: int) -> None:
        """In place of the sync of a file: what it holds now survives a loss of power."""
        status = os.fstat(fd)
        self.synced[status.st_ino] = status.st_size

    # Workers

    def _pick(self, a: int) -> Worker | None:
        return self.workers[a % len(self.workers)] if self.workers else None

    async def spawn(self, a: int, b: int) -> None:
        """A worker starts."""
        if len(self.workers) < WORKERS_MAX:
            writer = Writer(self.root, self.ledger)
            row = await self.db.ledger(lambda tx: journals.ensure_journal(tx, self.guard, writer.uuid, 1))
            self.workers.append(Worker(writer, row))

    async def _grant(self, worker: Worker, need: int, told: bool = True) -> None:
        question = Question(worker.row.id, Ask(1, 1, need, need * 3, 1, need, need * 3))

        def work(tx: Tx) -> Grant:
            accounts = {("user", 1), ("token", 1)}
            standing = read_standing(tx, self.guard, {worker.row.id}, accounts, 0)
            (grant,), rows = decide(standing, [question])
            add_grants(tx, rows)
            return grant

        grant = await self.db.ledger(work)
        if told:
            for kind, total in (("user", grant.user_granted), ("token", grant.token_granted)):
                worker.leases[kind].granted = max(total, worker.leases[kind].granted)

    async def lose_reply(self, a: int, b: int) -> None:
        """A grant is committed and nobody hears of it."""
        if worker := self._pick(a):
            await self._grant(worker, b % 20 + 1, told=False)

    async def admit(self, a: int, b: int, sends: bool = True) -> None:
        """A request comes in: reserve, intent, send."""
        worker = self._pick(a)
        if worker is None:
            return
        need = (1, 5, 20)[b % 3]
        if worker.free() < need:
            await self._grant(worker, max(0, need - worker.free()))
        if worker.free() < need:
            return
        for lease in worker.leases.values():
            assert lease.hold(need)
        record = intent(hold=need, lost=need // 2)
        x = worker.writer.put(record)
        worker.open[x] = Kept(x, record)
        if sends:
            self.seen.add((worker.writer.uuid, x))

    async def die_before_send(self, a: int, b: int) -> None:
        """Killed between intent and send."""
        if worker := self._pick(a):
            await self.admit(a, b, sends=False)
            self._die(worker)

    async def die_in_write(self, a: int, b: int) -> None:
        """Killed while a record is half in the file: its exchange never reached anybody."""
        if worker := self._pick(a):
            data = worker.writer.path.read_bytes()
            await self.admit(a, b, sends=False)
            grown = worker.writer.path.read_bytes()
            worker.writer.path.write_bytes(grown[: max(len(data), len(grown) - b % 40)])
            self._die(worker)

    async def settle(self, a: int, b: int) -> None:
        """An exchange ends: receipt, then the last bytes go down."""
        worker = self._pick(a)
        if worker is None or not worker.open:
            return
        x = sorted(worker.open)[b % len(worker.open)]
        hold = worker.open.pop(x).intent.hold_user
        charge = max(0, hold - b % 4)
        draws = {kind: lease.settle(hold, charge) for kind, lease in worker.leases.items()}
        worker.writer.put(end(x, charge, hold, draw_user=draws["user"], draw_token=draws["token"]))
        self.delivered[worker.writer.uuid, x] = charge

    async def send_again(self, a: int, b: int) -> None:
        """A further attempt."""
        worker = self._pick(a)
        if worker is not None and worker.open:
            x = sorted(worker.open)[b % len(worker.open)]
            kept = worker.open[x]
            again = Again(x, len(kept.agains) + 2, 2, 2, "failover")
            worker.writer.put(again)
            kept.agains = (*kept.agains, again)

    async def progress(self, a: int, b: int) -> None:
        """So much was used so far."""
        worker = self._pick(a)
        if worker is not None and worker.open:
            x = sorted(worker.open)[b % len(worker.open)]
            kept = worker.open[x]
            kept.progress = Progress(x, Usage(b), min(b, kept.intent.hold_user))
            worker.writer.put(kept.progress)

    async def give_back(self, a: int, b: int) -> None:
        """An idle lease goes back."""
        if worker := self._pick(a):
            for kind, lease in worker.leases.items():
                if amount := lease.give_back():
                    worker.writer.give_back(kind, 1, amount)

    async def roll(self, a: int, b: int) -> None:
        """A new segment, open exchanges copied forward."""
        if worker := self._pick(a):
            worker.last_seqs[worker.writer.path] = worker.writer.seq
            worker.writer.roll()
            worker.writer.put(*(worker.open[x] for x in sorted(worker.open)))
            worker.last_seqs[worker.writer.path] = worker.writer.seq  # of the copies: what older segments wait for

    async def ack(self, a: int, b: int) -> None:
        """Old segments go: all their records are acked, and so are the copies in the one behind."""
        if worker := self._pick(a):
            paths = sorted(worker.writer.folder.glob("*.seg"))
            for old, new in pairwise(paths):
                if worker.acked < worker.last_seqs[new]:
                    break
                old.unlink()

    # Deaths

    def _die(self, worker: Worker) -> None:
        self.workers.remove(worker)
        worker.writer.kill()
        self.dead.append(worker.writer)

    async def kill(self, a: int, b: int) -> None:
        """kill -9 of a worker."""
        if worker := self._pick(a):
            self._die(worker)

    async def power(self, a: int, b: int) -> None:
        """The machine goes dark: journals keep what was synced and any part of the rest."""
        for worker in list(self.workers):
            self._die(worker)
        for number, writer in enumerate(self.dead):
            for path in writer.folder.glob("*.seg"):
                status = path.stat()
                least = self.synced.get(status.st_ino, 0)
                cut = least + (b + number) * 7 % (status.st_size - least + 1)
                self._cut(writer.uuid, path, cut)
        await self._take_over()

    def _cut(self, uuid: str, path: Path, cut: int) -> None:
        before = _exchanges(path)
        os.truncate(path, cut)
        self.lost |= {(uuid, x) for x, _ in before - _exchanges(path)}

    # Control

    async def _take_over(self) -> None:
        for keeper in self.keepers.values():
            keeper.let_go()
        self.keepers = {}
        self.guard = await self.db.ledger(lambda tx: journals.bump_epoch(tx, "here"))

    async def _round(self, folder: Path, fault: str, live: bool, hurry: bool = True) -> bool:
        """A round of a journal's keeper, dying at the first commit if so told."""
        keeper = self.keepers.get(folder.name)
        if keeper is None:
            keeper = self.keepers[folder.name] = Keeper(folder, self.ledger, self)
            await keeper.ensure_row()
        keeper.live = live
        keeper.lock_poll_ms = 0
        keeper.hurry_until_ms = 1 << 62 if hurry else 0
        self.fault = fault
        try:
            done = await keeper.round()
        except Killed:
            await self._take_over()
            return False
        finally:
            self.fault = "none"
        if done:
            keeper.let_go()
            del self.keepers[folder.name]
        return done

    async def book(self, a: int, b: int) -> None:
        """The control process reads what is new, and may die of it."""
        if worker := self._pick(a):
            await self._round(worker.writer.folder, FAULTS[b % 3 if b % 5 == 0 else 0], live=True, hurry=b % 4 > 0)

    async def replay(self, a: int, b: int) -> None:
        """It replays a dead journal, and may die of it."""
        if self.dead:
            writer = self.dead[a % len(self.dead)]
            copy = self.root / "copies" / str(len(self.copies))
            writer.copy(copy)
            self.copies.append((writer.uuid, copy))
            if await self._round(writer.folder, FAULTS[b % 3], live=False):
                self.dead.remove(writer)

    async def copy_back(self, a: int, b: int) -> None:
        """Somebody restores a closed journal from his backup."""
        if self.copies:
            uuid, copy = self.copies[a % len(self.copies)]
            folder = self.root / "journal" / uuid
            if not folder.exists():
                shutil.copytree(copy, folder)
                await self._round(folder, "none", live=False)

    # The end

    async def finish(self) -> None:
        """Everybody dies, everything is replayed, and once more."""
        for worker in list(self.workers):
            self._die(worker)
        while self.dead:
            await self.replay(0, 0)
        for number in range(len(self.copies)):
            await self.copy_back(number, 0)

    async def check(self) -> list[str]:
        """What is wrong."""
        report = await verify(self.db)
        wrong = [f"fault {fault}" for fault in report.faults]
        async with self.db.read() as connection:
            uuids = {row.id: row.uuid for row in await journals.all_journals(connection)}
        rows = {(uuids[row.journal], row.x): row for row in await receipts(self.db)}
        wrong += [f"{key} was seen by an upstream and has no row" for key in self.seen - rows.keys() - self.lost]
        for key, charge in self.delivered.items():
            if key not in self.lost and key in rows and (rows[key].state, rows[key].charge) != ("done", charge):
                wrong.append(f"{key} was delivered at {charge} and is {rows[key].state} at {rows[key].charge}")
        for kind in ("user", "token"):
            account = await balance(self.db, kind)
            if account.leased:
                wrong.append(f"{account.leased} of the {kind} stays leased")
            if account.used > self.limit:
                wrong.append(f"{kind} used {account.used} of {self.limit}")
        if report.put_aside and not self.lost:  # a backup of what power took brings it back, too late
            wrong.append(f"{report.put_aside} records were put aside")
        return wrong


def _exchanges(path: Path) -> set[tuple[int, bool]]:
    """Exchanges that have an intent (False) or an end (True) in a segment."""
    data = path.read_bytes()
    records = scan(data).records
    first = getattr(records[0], "first_seq", 1) if records else 1
    return {
        (seq, False) if isinstance(record, Intent) else (record.x, True)
        for seq, record in enumerate(records[1:], first)
        if isinstance(record, (Intent, End))
    }


def faulty_ledger(world: World) -> Any:
    """In place of Database.ledger_once: the control process dies before or after a commit, when the world says so."""
    real = Database.ledger_once

    async def ledger_once(self: Database, work: Any) -> Any:
        fault, world.fault = world.fault, "none"

        def dying(tx: Tx) -> Any:
            result = work(tx)
            if fault == "before_commit":
                raise Killed
            return result

        result = await real(self, dying)
        if fault == "after_commit":
            raise Killed
        return result

    return ledger_once


def run(world_of: Any) -> list[str]:
    """Run a coroutine on a loop of its own."""
    result: list[str] = asyncio.run(world_of)
    return result
