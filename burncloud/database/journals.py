"""Journals as the database knows them: their watermark, and the epoch of the process that may write.

A journal's `acked` moves only by compare-and-set inside the transaction that books what it covers; the
row is never deleted, so a journal copied back after its close is known.  Every transaction of the ledger
begins with `check_epoch`: of two control processes of one node, the one that started first loses
(shared MONEY.md §2, §3).
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from burncloud.database.connection import Conn, put_row
from burncloud.database.driver import Tx
from burncloud.database.schema import journals, meta, quarantine


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


_ROW: Final = (journals.c.id, journals.c.uuid, journals.c.node, journals.c.state, journals.c.acked)
_MADE: Final = "ON CONFLICT DO NOTHING"
_BEAT: Final = "alive:"


def epoch_key(node: str) -> str:
    """The key of a node's epoch in `meta`."""
    return f"epoch:{node}"


# Writing


def bump_epoch(tx: Tx, node: str) -> Guard:
    """Take over the node's books: whoever held them is refused from now on."""
    key = epoch_key(node)
    tx.execute(f"INSERT INTO meta (key, value) VALUES ($1, '0') {_MADE}", key)
    # One at a time: the row stays locked from the read to the commit.
    lock = " FOR UPDATE" if tx.postgres else ""
    epoch = int(tx.fetch(f"SELECT value FROM meta WHERE key = $1{lock}", key)[0][0]) + 1
    tx.execute("UPDATE meta SET value = $1 WHERE key = $2", str(epoch), key)
    return Guard(node, epoch)


def check_epoch(tx: Tx, guard: Guard) -> None:
    """The first statement of every transaction of the ledger.  Raises StaleEpoch.

    The shared lock makes a successor's `bump_epoch` wait until this transaction has ended.
    """
    lock = " FOR SHARE" if tx.postgres else ""
    rows = tx.fetch(f"SELECT value FROM meta WHERE key = $1{lock}", epoch_key(guard.node))
    if not rows or rows[0][0] != str(guard.epoch):
        raise StaleEpoch(f"epoch {guard.epoch} of node {guard.node} was taken over by {rows}")


def ensure_journal(tx: Tx, guard: Guard, uuid: str, now_s: int) -> JournalRow:
    """The journal's row, made if there is none.  Raises StaleEpoch."""
    check_epoch(tx, guard)
    values = (uuid, guard.node, guard.epoch, now_s)
    tx.execute(f"INSERT INTO journals (uuid, node, epoch, created_at) VALUES ($1, $2, $3, $4) {_MADE}", *values)
    return JournalRow(*tx.fetch("SELECT id, uuid, node, state, acked FROM journals WHERE uuid = $1", uuid)[0])


def move_watermark(tx: Tx, journal: int, state: str, before: int, after: int) -> bool:
    """Compare-and-set of `acked`, which also locks the journal; False if it (or the state) is another by now."""
    move = "UPDATE journals SET acked = $1 WHERE id = $2 AND acked = $3 AND state = $4"
    return tx.execute(move, after, journal, before, state) == 1


def lock_open(tx: Tx, node: str) -> list[int]:
    """The node's open journals, locked, in order."""
    lock = " FOR UPDATE" if tx.postgres else ""
    rows = tx.fetch(f"SELECT id FROM journals WHERE node = $1 AND state = 'open' ORDER BY id{lock}", node)
    return [journal for (journal,) in rows]


def mark_closed(tx: Tx, journal: int, now_s: int) -> None:
    """Set the state; for `ledger.close`, which has locked the row."""
    tx.execute("UPDATE journals SET state = 'closed', closed_at = $1 WHERE id = $2", now_s, journal)


def booked(tx: Tx, journal: int, xs: list[int]) -> set[int]:
    """Those of the exchanges that have a receipt."""
    if tx.postgres:
        rows = tx.fetch("SELECT x FROM receipts WHERE journal = $1 AND x = ANY($2::bigint[])", journal, xs)
    else:
        listed = "SELECT value FROM json_each($2)"
        rows = tx.fetch(f"SELECT x FROM receipts WHERE journal = $1 AND x IN ({listed})", journal, json.dumps(xs))
    return {x for (x,) in rows}


def put_aside(tx: Tx, journal: int, seq: int, x: int, payload: bytes, reason: str, now_s: int) -> None:
    """Keep a record that cannot be booked (once)."""
    columns = 'journal, seq, x, payload, reason, "at"'
    values = (journal, seq, x, payload, reason, now_s)
    tx.execute(f"INSERT INTO quarantine ({columns}) VALUES ($1, $2, $3, $4, $5, $6) {_MADE}", *values)


async def beat(conn: Conn, node: str, now_s: int) -> None:
    """The node lives: what stands there is another value than before."""
    await put_row(conn, meta, key=f"{_BEAT}{node}", value=str(now_s))


# Reading


async def beats(connection: AsyncConnection) -> dict[str, str]:
    """The last heartbeat of each node that ever had one."""
    rows = await connection.execute(select(meta.c.key, meta.c.value).where(meta.c.key.startswith(_BEAT)))
    return {key.removeprefix(_BEAT): value for key, value in rows}


async def read_ledger(connection: AsyncConnection) -> str:
    """The uuid of this database's money, as it stands in each journal's header."""
    return str((await connection.execute(select(meta.c.value).where(meta.c.key == "ledger"))).scalar_one())


async def read_epoch(connection: AsyncConnection, node: str) -> int:
    """The number of the control process that may write this node's books; 0 = there was none yet."""
    found = (await connection.execute(select(meta.c.value).where(meta.c.key == epoch_key(node)))).scalar()
    return int(found or 0)


async def find_journal(connection: AsyncConnection, uuid: str) -> JournalRow | None:
    """The journal's row, if it has one."""
    row = (await connection.execute(select(*_ROW).where(journals.c.uuid == uuid))).first()
    return JournalRow(*row) if row else None


async def open_journals(connection: AsyncConnection, node: str | None = None) -> list[JournalRow]:
    """Rows in state open, of one node or of all."""
    query = select(*_ROW).where(journals.c.state == "open").order_by(journals.c.id)
    if node is not None:
        query = query.where(journals.c.node == node)
    return [JournalRow(*row) for row in await connection.execute(query)]


async def all_journals(connection: AsyncConnection) -> list[JournalRow]:
    """Every journal there ever was, oldest first."""
    return [JournalRow(*row) for row in await connection.execute(select(*_ROW).order_by(journals.c.id))]


async def put_aside_xs(connection: AsyncConnection, journal: int) -> set[int]:
    """Exchanges of which a record was put aside."""
    return set((await connection.execute(select(quarantine.c.x).where(quarantine.c.journal == journal))).scalars())


async def count_put_aside(connection: AsyncConnection) -> int:
    """How many records wait for a person to look at them."""
    return int((await connection.execute(select(func.count()).select_from(quarantine))).scalar_one())
