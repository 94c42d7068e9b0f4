"""Journals as the database knows them: their watermark, and the epoch of the process that may write.

A journal's `acked` moves only by compare-and-set inside the transaction that books what it covers; the
row is never deleted, so a journal copied back after its close is known.  Every transaction of the ledger
begins with `check_epoch`: of two control processes of one node, the one that started first loses
(shared MONEY.md §2, §3).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from burncloud.database.connection import insert_into
from burncloud.database.driver import execute, fetch, is_postgres
from burncloud.database.schema import journals, meta, quarantine, receipts


class StaleEpoch(Exception):
    """Another control process has taken over this node's books: stop at once, write nothing."""


class Guard(NamedTuple):
    """Who writes: a node, and which of its control processes."""

    node: str
    epoch: int


class JournalRow(NamedTuple):
    """One journal's row."""

    id: int
    uuid: str
    node: str
    state: str
    """open · closed."""
    acked: int


_ROW = (journals.c.id, journals.c.uuid, journals.c.node, journals.c.state, journals.c.acked)


_EPOCH: Final = "SELECT value FROM meta WHERE key = $1"
_MOVE: Final = "UPDATE journals SET acked = $1 WHERE id = $2 AND acked = $3 AND state = $4"


def epoch_key(node: str) -> str:
    """The key of a node's epoch in `meta`."""
    return f"epoch:{node}"


async def read_ledger(connection: AsyncConnection) -> str:
    """The uuid of this database's money, as it stands in each journal's header."""
    return str((await connection.execute(select(meta.c.value).where(meta.c.key == "ledger"))).scalar_one())


async def bump_epoch(connection: AsyncConnection, node: str) -> Guard:
    """Take over the node's books: whoever held them is refused from now on."""
    key = epoch_key(node)
    await connection.execute(insert_into(connection, meta).values(key=key, value="0").on_conflict_do_nothing())
    mine = select(meta.c.value).where(meta.c.key == key).with_for_update()
    epoch = int((await connection.execute(mine)).scalar_one()) + 1
    await connection.execute(update(meta).where(meta.c.key == key).values(value=str(epoch)))
    return Guard(node, epoch)


async def check_epoch(connection: AsyncConnection, guard: Guard) -> None:
    """The first statement of every transaction of the ledger.  Raises StaleEpoch.

    The shared lock makes a successor's `bump_epoch` wait until this transaction has ended.
    """
    if is_postgres(connection):  # through SQLAlchemy, which begins the transaction at its first statement
        found = (await connection.exec_driver_sql(f"{_EPOCH} FOR SHARE", (epoch_key(guard.node),))).all()
        compare_epoch(guard, found[0][0] if found else None)
    else:
        rows = await fetch(connection, _EPOCH, epoch_key(guard.node))
        compare_epoch(guard, rows[0][0] if rows else None)


def compare_epoch(guard: Guard, value: str | None) -> None:
    """Raises StaleEpoch unless the epoch in the database is the guard's."""
    if value != str(guard.epoch):
        raise StaleEpoch(f"epoch {guard.epoch} of node {guard.node} was taken over by {value}")


async def find_journal(connection: AsyncConnection, uuid: str) -> JournalRow | None:
    """The journal's row, if it has one."""
    row = (await connection.execute(select(*_ROW).where(journals.c.uuid == uuid))).first()
    return JournalRow(*row) if row else None


async def ensure_journal(connection: AsyncConnection, guard: Guard, uuid: str, now_s: int) -> JournalRow:
    """The journal's row, made if there is none.  Raises StaleEpoch."""
    await check_epoch(connection, guard)
    found = await find_journal(connection, uuid)
    if found is None:
        values = {"uuid": uuid, "node": guard.node, "epoch": guard.epoch, "created_at": now_s}
        await connection.execute(insert_into(connection, journals).values(values).on_conflict_do_nothing())
        found = await find_journal(connection, uuid)
    assert found is not None
    return found


async def open_journals(connection: AsyncConnection, node: str | None = None) -> list[JournalRow]:
    """Rows in state open, of one node or of all."""
    query = select(*_ROW).where(journals.c.state == "open").order_by(journals.c.id)
    if node is not None:
        query = query.where(journals.c.node == node)
    return [JournalRow(*row) for row in await connection.execute(query)]


async def all_journals(connection: AsyncConnection) -> list[JournalRow]:
    """Every journal there ever was, oldest first."""
    return [JournalRow(*row) for row in await connection.execute(select(*_ROW).order_by(journals.c.id))]


async def move_watermark(connection: AsyncConnection, journal: int, state: str, before: int, after: int) -> bool:
    """Compare-and-set of `acked`, which also locks the journal; False if it (or the state) is another by now."""
    return await execute(connection, _MOVE, after, journal, before, state) == 1


async def mark_closed(connection: AsyncConnection, journal: int, now_s: int) -> None:
    """Set the state; for `ledger.close`, which has locked the row."""
    await connection.execute(update(journals).where(journals.c.id == journal).values(state="closed", closed_at=now_s))


async def booked(connection: AsyncConnection, journal: int, xs: list[int]) -> set[int]:
    """Those of the exchanges that have a receipt."""
    if not xs:
        return set()
    query = select(receipts.c.x).where(receipts.c.journal == journal, receipts.c.x.in_(xs))
    return set((await connection.execute(query)).scalars())


async def put_aside(
    connection: AsyncConnection, journal: int, seq: int, x: int, payload: bytes, reason: str, now_s: int
) -> None:
    """Keep a record that cannot be booked (once)."""
    values = {"journal": journal, "seq": seq, "x": x, "payload": payload, "reason": reason, "at": now_s}
    await connection.execute(insert_into(connection, quarantine).values(values).on_conflict_do_nothing())


async def put_aside_xs(connection: AsyncConnection, journal: int) -> set[int]:
    """Exchanges of which a record was put aside."""
    return set((await connection.execute(select(quarantine.c.x).where(quarantine.c.journal == journal))).scalars())


async def count_put_aside(connection: AsyncConnection) -> int:
    """How many records wait for a person to look at them."""
    return int((await connection.execute(select(func.count()).select_from(quarantine))).scalar_one())
