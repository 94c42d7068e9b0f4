"""SQL of the table `probes`: tests of channels that were asked for, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Text, delete, func, insert, literal_column, select, update

from burncloud.database.connection import Conn
from burncloud.database.schema import probes

ASKED, RUNNING, DONE = "asked", "running", "done"
_ASKED: Final = literal_column(f"'{ASKED}'", Text)
"""As the index says it: an engine does not know that a parameter is this word."""
AT_ONCE: Final = 500
"""Rows in a statement: whoever writes waits for the one before."""


class ProbeRow(msgspec.Struct, frozen=True):
    """One test of one model (or of the list of models, `kind` "models") with one key of a channel."""

    id: int
    asked_at: int
    channel: int
    key: int
    model: str
    kind: str
    """chat · embeddings · … (service/probes.py)."""
    node: str = ""
    """Whose server runs it."""
    state: str = ASKED
    result: dict[str, Any] = {}


_COLUMNS = [probes.c[name] for name in ProbeRow.__struct_fields__]


async def ask_probes(conn: Conn, wanted: Sequence[ProbeRow]) -> list[int]:
    """Have these run by whichever server takes them; their ids.  AT_ONCE of them are a short transaction."""
    if not wanted:
        return []
    names = ("asked_at", "channel", "key", "model", "kind")
    values = [{name: getattr(row, name) for name in names} for row in wanted]
    return sorted(await conn.scalars(insert(probes).values(values).returning(probes.c.id)))


async def take_probes(conn: Conn, node: str, since: int) -> list[ProbeRow]:
    """The first AT_ONCE that are asked since then and run nowhere: they are this node's now."""
    asked = (probes.c.state == _ASKED) & (probes.c.asked_at >= since)
    some = select(probes.c.id).where(asked).order_by(probes.c.id).limit(AT_ONCE)
    mine = update(probes).where(asked & probes.c.id.in_(some))
    rows = await conn.execute(mine.values(state=RUNNING, node=node).returning(*_COLUMNS))
    return sorted((ProbeRow(*row) for row in rows), key=lambda row: row.id)


async def ask_again(conn: Conn, node: str, since: int, result: dict[str, Any]) -> None:
    """What this node ran is run by nobody now: asked again, or done with this result if it was asked before then."""
    mine = update(probes).where((probes.c.state == RUNNING) & (probes.c.node == node))
    await conn.execute(mine.where(probes.c.asked_at < since).values(state=DONE, result=result))
    await conn.execute(mine.values(state=ASKED, node=""))


async def end_lost(conn: Conn, live: Sequence[str], result: dict[str, Any]) -> None:
    """What runs at none of these nodes is done, with this result."""
    lost = (probes.c.state == RUNNING) & probes.c.node.not_in(live)
    await conn.execute(update(probes).where(lost).values(state=DONE, result=result))


async def any_open(conn: Conn, node: str, since: int) -> bool:
    """Whether this node runs any, or one is asked since then that nobody has taken."""
    running = (probes.c.state == RUNNING) & (probes.c.node == node)
    asked = (probes.c.state == _ASKED) & (probes.c.asked_at >= since)
    return (await conn.execute(select(probes.c.id).where(running | asked).limit(1))).first() is not None


async def end_probe(conn: Conn, probe: int, result: dict[str, Any]) -> None:
    """It is done."""
    await conn.execute(update(probes).where(probes.c.id == probe).values(state=DONE, result=result))


async def get_probes(conn: Conn, ids: Sequence[int]) -> list[ProbeRow]:
    """These, by id."""
    found: list[ProbeRow] = []
    for start in range(0, len(ids), AT_ONCE):  # a statement takes 32,767 values at most
        some = probes.c.id.in_(ids[start : start + AT_ONCE])
        found += [ProbeRow(*row) for row in await conn.execute(select(*_COLUMNS).where(some))]
    return sorted(found, key=lambda row: row.id)


async def newest_probes(conn: Conn, channel: int = 0) -> list[ProbeRow]:
    """The newest that is done, of each model and key of a channel, or of all channels."""
    newest = select(func.max(probes.c.id)).where(probes.c.state == DONE)
    newest = newest.where(probes.c.channel == channel) if channel else newest
    query = select(*_COLUMNS).where(probes.c.id.in_(newest.group_by(probes.c.channel, probes.c.key, probes.c.model)))
    return [
        ProbeRow(*row) for row in await conn.execute(query.order_by(probes.c.channel, probes.c.model, probes.c.key))
    ]


async def prune_probes(conn: Conn, before: int, most: int) -> None:
    """Forget what was asked before then, and what is done of all but the newest `most`."""
    newest = select(func.max(probes.c.id)).scalar_subquery()
    surplus = (probes.c.state == DONE) & (probes.c.id <= newest - most)
    await conn.execute(delete(probes).where((probes.c.asked_at < before) | surplus))
