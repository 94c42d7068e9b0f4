"""The books as the control process uses them."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text

from burncloud.database import journals as rows
from burncloud.database.engine import Database
from burncloud.domain.journal import Return
from burncloud.domain.link import Ask, Grant, Recall
from burncloud.service import bookkeeper, journals
from burncloud.service.journals import BOOK_SOON, Books, JournalRefused
from tests.books import NODE, Account, Writer, add_accounts, balance, count, intent, ledger_of, make_books, until


@pytest_asyncio.fixture
async def books(db: Database, tmp_path: Path) -> AsyncIterator[Books]:
    """Started, reading every 5 ms; at the end everything must add up."""
    made = await make_books(db, tmp_path)
    yield made
    await made.stop(1_000)
    assert (await made.verify()).faults == []


def writer_of(books: Books, root: Path) -> Writer:
    """A worker's journal."""
    return Writer(root, books.ledger)


async def test_a_worker_from_its_first_to_its_last_record(db: Database, books: Books, tmp_path: Path) -> None:
    await add_accounts(db, 1_000, 1_000)
    acks: list[tuple[str, int]] = []
    books.on_ack = lambda uuid, seq: acks.append((uuid, seq))
    writer = writer_of(books, tmp_path)
    assert await books.open_journal(writer.uuid) == 0
    assert await books.ask(writer.uuid, Ask(1, 1, 50, 100, 1, 50, 100)) == Grant(1, "ok", 100, 100)
    writer.exchange(30, hold=50)
    await until(lambda: acks == [(writer.uuid, 2)])
    status = await books.status()
    assert (status.epoch, status.leases, status.leased, status.alarms) == (1, 2, 140, {})
    assert [(j.uuid, j.state, j.acked, j.lag) for j in status.journals] == [(writer.uuid, "live", 2, 0)]
    writer.put(Return("user", 1, 70), Return("token", 1, 70))
    writer.stop()
    books.journal_lost(writer.uuid)
    await until(lambda: not writer.folder.exists())
    assert await balance(db, "user") == await balance(db, "token") == Account(30, 0)
    assert (await books.status()).journals == []
    report = await books.verify()
    assert (report.ok, report.receipts, report.open_journals) == (True, 1, [])


async def test_dead_journals_are_closed_while_we_serve(db: Database, tmp_path: Path) -> None:
    """Those of a control process that broke off in the midst of whatever it did to the database.

    Its successor uses the same connections here, so it finds out, too, if one of them was left inside a transaction.
    """
    ledger = await ledger_of(db)
    dead = [Writer(tmp_path, ledger) for _ in range(3)]
    first = await make_books(db, tmp_path)
    for writer in dead:
        await first.open_journal(writer.uuid)
        writer.exchange(10)
        writer.put(intent(lost=1))
    for task in (desk.task for desk in first._desks.values()):  # it dies without a word
        assert task is not None
        task.cancel()
    for writer in dead:
        writer.kill()
    books = await make_books(db, tmp_path)
    fresh = writer_of(books, tmp_path)
    assert await books.open_journal(fresh.uuid) == 0
    await until(lambda: not any(writer.folder.exists() for writer in dead))
    assert (await balance(db, "user")).used == 33
    assert await count(db, "receipts") == 6
    fresh.kill()
    await books.stop()
    await first.stop(0)


async def test_a_worker_that_outlived_its_control_process_goes_on(db: Database, tmp_path: Path) -> None:
    first = await make_books(db, tmp_path)
    writer = writer_of(first, tmp_path)
    await first.open_journal(writer.uuid)
    writer.exchange(10)
    await until(lambda: first._desks[writer.uuid].keeper.acked == 2)
    await first.stop()
    writer.exchange(20)
    second = await make_books(db, tmp_path)
    await until(lambda: second._desks[writer.uuid].keeper.acked == 4)
    assert (await second.status()).journals[0].state == "alone"
    assert (await second.ask(writer.uuid, Ask(1, 1, 1, 1, 0, 0, 0))).outcome == "unavailable", "not connected yet"
    assert await second.open_journal(writer.uuid) == 4
    writer.exchange(30)
    writer.kill()
    second.journal_lost(writer.uuid)
    await until(lambda: not writer.folder.exists())
    assert (await balance(db, "user")).used == 60
    await second.stop()


async def test_of_two_control_processes_the_newer_counts(db: Database, tmp_path: Path) -> None:
    old = await make_books(db, tmp_path)
    failed: list[BaseException] = []
    old.on_fatal = failed.append
    writer = writer_of(old, tmp_path)
    await old.open_journal(writer.uuid)
    new = await make_books(db, tmp_path)
    await new.open_journal(writer.uuid)
    writer.exchange(10)
    await until(lambda: len(failed) == 1)
    assert isinstance(failed[0], rows.StaleEpoch)
    await until(lambda: new._desks[writer.uuid].keeper.acked == 2)
    assert (await balance(db, "user")).used == 10
    writer.kill()
    await old.stop(0)
    await new.stop()


async def test_stop_closes_what_the_workers_left(db: Database, books: Books, tmp_path: Path) -> None:
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    writer.exchange(10)
    writer.stop()
    await books.stop()
    assert not writer.folder.exists()
    assert (await balance(db, "user")).used == 10


async def test_stop_does_not_wait_for_a_worker_that_goes_on(books: Books, tmp_path: Path) -> None:
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    start = time.monotonic()
    await books.stop()
    assert time.monotonic() - start < 2
    assert writer.folder.exists()
    writer.kill()


async def test_who_comes_after_the_stop_may_ask_the_next_one(books: Books, tmp_path: Path) -> None:
    """A worker that opens its journal meanwhile: nobody would look after it here, and its journal is none to refuse."""
    await books.stop()
    writer = writer_of(books, tmp_path)
    with pytest.raises(OSError, match="being closed"):
        await books.open_journal(writer.uuid)
    assert (await books.ask(writer.uuid, Ask(1, 1, 1, 1, 0, 0, 0))).outcome == "unavailable"
    writer.kill()


async def test_what_cannot_be_opened(db: Database, books: Books, tmp_path: Path) -> None:
    foreign = Writer(tmp_path, "f" * 32)
    closed = writer_of(books, tmp_path)
    await books.open_journal(closed.uuid)
    copy = closed.copy(tmp_path / "copy")
    closed.kill()
    books.journal_lost(closed.uuid)
    await until(lambda: not closed.folder.exists())
    lock = Writer(tmp_path, books.ledger, closed.uuid)
    shutil.copy(copy / "00000001.seg", closed.folder)
    for uuid in ("0" * 32, "../../etc", "", foreign.uuid, closed.uuid):
        with pytest.raises(JournalRefused):
            await books.open_journal(uuid)
    assert (await books.ask(foreign.uuid, Ask(1, 1, 1, 1, 0, 0, 0))).outcome == "unavailable"
    for writer in (foreign, lock):
        writer.kill()


async def test_a_foreign_journal_raises_an_alarm_and_stays(db: Database, tmp_path: Path) -> None:
    foreign = Writer(tmp_path, "f" * 32)
    foreign.exchange(10)
    foreign.kill()
    data = foreign.path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bookkeeper, "GRACE_MS", 0)
        books = await make_books(db, tmp_path)
        await until(lambda: bool(books._alarms))
    status = await books.status()
    assert list(status.alarms) == [f"foreign {foreign.uuid}"]
    assert status.journals[0].state == "foreign"
    await books.stop()
    assert foreign.path.read_bytes() == data
    assert await count(db, "receipts") == 0


async def test_a_journal_whose_files_are_gone_gives_its_leases_back(db: Database, tmp_path: Path) -> None:
    await add_accounts(db, 1_000, 1_000)
    first = await make_books(db, tmp_path)
    writer = writer_of(first, tmp_path)
    await first.open_journal(writer.uuid)
    await first.ask(writer.uuid, Ask(1, 1, 50, 50, 1, 50, 50))
    await first.stop()
    writer.kill()
    shutil.rmtree(writer.folder)
    second = await make_books(db, tmp_path)
    await until(lambda: bool(second._alarms))
    assert list((await second.status()).alarms) == [f"missing {writer.uuid}"]
    async with asyncio.timeout(5):
        while (await balance(db, "user")).leased:  # noqa: ASYNC110 - a database has no event
            await asyncio.sleep(0.01)
    await second.stop()


async def test_files_that_vanish_under_us(db: Database, books: Books, tmp_path: Path) -> None:
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    await until(lambda: books._desks[writer.uuid].keeper.row is not None)
    writer.kill()
    shutil.rmtree(writer.folder)
    books.journal_lost(writer.uuid)
    await until(lambda: writer.uuid not in books._desks)
    async with asyncio.timeout(5):
        while (await books.verify()).open_journals:  # noqa: ASYNC110 - a database has no event
            await asyncio.sleep(0.01)


async def test_a_journal_copied_back_is_found_and_taken_away(
    db: Database, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "RESCAN_MS", 20)
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    writer.exchange(10)
    copy = writer.copy(tmp_path / "copy")
    writer.kill()
    books.journal_lost(writer.uuid)
    await until(lambda: not writer.folder.exists())
    fresh = await make_books(db, tmp_path)  # whose rescan is quick
    shutil.copytree(copy, writer.folder)
    await until(lambda: not writer.folder.exists())
    assert await count(db, "receipts") == 1
    await fresh.stop()


async def test_money_moves_from_worker_to_worker(db: Database, tmp_path: Path) -> None:
    """The whole way: question, recall, return in the journal, booked without waiting for the next round, granted."""
    await add_accounts(db, 100, -1)
    books = Books(db, tmp_path, NODE, 60_000)
    await books.start()
    rich, poor = writer_of(books, tmp_path), writer_of(books, tmp_path)

    def recall(uuid: str, message: Recall) -> None:
        assert (uuid, message) == (rich.uuid, Recall("user", 1, 100, 1))
        rich.give_back("user", 1, 100)
        asyncio.get_running_loop().call_later(0.05, books.bell, uuid, rich.seq, message.n)

    books.send_recall = recall
    for writer in (rich, poor):
        await books.open_journal(writer.uuid)
    assert (await books.ask(rich.uuid, Ask(1, 1, 100, 100, 0, 0, 0))).outcome == "ok"
    assert await books.ask(poor.uuid, Ask(2, 1, 60, 60, 0, 0, 0)) == Grant(2, "ok", 60)
    for writer in (rich, poor):
        writer.kill()
    await books.stop()


async def test_a_bell_from_before_the_recall_is_no_answer(db: Database, tmp_path: Path) -> None:
    """It was on its way already: what the worker returns upon the recall comes with the next one."""
    await add_accounts(db, 100, -1)
    books = Books(db, tmp_path, NODE, 60_000)
    await books.start()
    rich, poor = writer_of(books, tmp_path), writer_of(books, tmp_path)

    def recall(uuid: str, message: Recall) -> None:
        books.bell(uuid, rich.seq, message.n - 1)

        def answer() -> None:
            rich.give_back("user", 1, 100)
            books.bell(uuid, rich.seq, message.n)

        asyncio.get_running_loop().call_later(0.2, answer)

    books.send_recall = recall
    for writer in (rich, poor):
        await books.open_journal(writer.uuid)
    assert (await books.ask(rich.uuid, Ask(1, 1, 100, 100, 0, 0, 0))).outcome == "ok"
    assert await books.ask(poor.uuid, Ask(2, 1, 60, 60, 0, 0, 0)) == Grant(2, "ok", 60)
    for writer in (rich, poor):
        writer.kill()
    await books.stop()


async def test_what_the_asker_gave_back_counts(db: Database, tmp_path: Path) -> None:
    """Its return lies in its journal, not yet booked, when it asks for more: no 402 for that."""
    await add_accounts(db, 100, -1)
    books = Books(db, tmp_path, NODE, 60_000)
    await books.start()
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    assert (await books.ask(writer.uuid, Ask(1, 1, 60, 60, 0, 0, 0))).outcome == "ok"
    writer.give_back("user", 1, 60)
    books.bell(writer.uuid, writer.seq)
    assert await books.ask(writer.uuid, Ask(2, 1, 60, 60, 0, 0, 0)) == Grant(2, "ok", 120)
    assert (await books.ask(writer.uuid, Ask(3, 1, 60, 60, 0, 0, 0))).outcome == "denied"
    writer.kill()
    await books.stop()


async def test_the_lease_of_a_killed_worker_comes_back(db: Database, books: Books, tmp_path: Path) -> None:
    """It held all there is: no 402 meanwhile."""
    await add_accounts(db, 100, -1)
    rich, poor = writer_of(books, tmp_path), writer_of(books, tmp_path)
    for writer in (rich, poor):
        await books.open_journal(writer.uuid)
    assert (await books.ask(rich.uuid, Ask(1, 1, 100, 100, 0, 0, 0))).outcome == "ok"
    rich.put(intent(hold=40, lost=10))
    rich.kill()
    books.journal_lost(rich.uuid)
    assert await books.ask(poor.uuid, Ask(2, 1, 60, 60, 0, 0, 0)) == Grant(2, "ok", 60)
    poor.kill()


async def test_a_doorbell_far_behind_is_answered_at_once(db: Database, tmp_path: Path) -> None:
    books = Books(db, tmp_path, NODE, 60_000)
    await books.start()
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    await until(lambda: not books._desks[writer.uuid].wake.is_set())
    await asyncio.sleep(0.05)
    for _ in range(BOOK_SOON // 2):
        writer.exchange(1)
    books.bell(writer.uuid, 10)
    await asyncio.sleep(0.05)
    assert books._desks[writer.uuid].keeper.acked == 0, "it can wait for the next round"
    books.bell(writer.uuid, writer.seq)
    await until(lambda: books._desks[writer.uuid].keeper.acked == BOOK_SOON)
    books.bell("nobody", 5)
    books.journal_lost("nobody")
    writer.kill()
    await books.stop()


async def test_a_locked_database_delays_and_denies_nothing(sqlite_url: str, tmp_path: Path) -> None:
    from burncloud.database.engine import open_database

    db = open_database(sqlite_url)
    await add_accounts(db, 100, -1)
    books = await make_books(db, tmp_path)
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    other = sqlite3.connect(str(db.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer.exchange(10)
    asking = asyncio.create_task(books.ask(writer.uuid, Ask(1, 1, 60, 60, 0, 0, 0)))
    await asyncio.sleep(1.5)
    assert not asking.done()
    other.execute("COMMIT")
    assert (await asking).outcome == "ok"
    await until(lambda: books._desks[writer.uuid].keeper.acked == 2)
    assert (await books.status()).alarms == {}
    other.close()
    writer.kill()
    await books.stop()
    await db.close()


async def test_a_restart_of_the_database_is_survived(postgres_url: str, tmp_path: Path) -> None:
    from burncloud.database.engine import open_database
    from burncloud.database.migrate import ensure_schema

    db = open_database(postgres_url)
    await ensure_schema(db)
    books = await make_books(db, tmp_path)
    writer = writer_of(books, tmp_path)
    await books.open_journal(writer.uuid)
    for charge in range(5):
        writer.exchange(charge)
        async with db.begin() as connection:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            await connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        await asyncio.sleep(0.02)
    await until(lambda: books._desks[writer.uuid].keeper.acked == 10)
    assert (await balance(db, "user")).used == 10
    writer.kill()
    await books.stop()
    await db.close()
