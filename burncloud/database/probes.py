"""SQL of the table `probes`: tests of channels that were asked for, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select, update

from burncloud.database.connection import Conn
from burncloud.database.schema import probes

ASKED, RUNNING, DONE = "asked", "running", "done"


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
    """Have these run by whichever server takes them; their ids."""
    ids: list[int] = []
    for row in wanted:
        values = {
            "asked_at": row.asked_at,
            "channel": row.channel,
            "key": row.key,
            "model": row.model,
            "kind": row.kind,
        }
        done = await conn.execute(insert(probes).values(values).returning(probes.c.id))
        ids.append(int(done.scalar_one()))
    return ids


async def take_probes(conn: Conn, node: str, since: int) -> list[ProbeRow]:
    """All that are asked since then and run nowhere: they are this node's now."""
    mine = update(probes).where((probes.c.state == ASKED) & (probes.c.asked_at >= since))
    rows = await conn.execute(mine.values(state=RUNNING, node=node).returning(*_COLUMNS))
    return sorted((ProbeRow(*row) for row in rows), key=lambda row: row.id)


async def end_probe(conn: Conn, probe: int, result: dict[str, Any]) -> None:
    """It is done."""
    await conn.execute(update(probes).where(probes.c.id == probe).values(state=DONE, result=result))


async def get_probes(conn: Conn, ids: Sequence[int]) -> list[ProbeRow]:
    """These, by id."""
    return [
        ProbeRow(*row)
        for row in await conn.execute(select(*_COLUMNS).where(probes.c.id.in_(ids)).order_by(probes.c.id))
    ]


async def newest_probes(conn: Conn, channel: int = 0) -> list[ProbeRow]:
    """The newest that is done, of each model and key of a channel, or of all channels."""
    newest = select(func.max(probes.c.id)).where(probes.c.state == DONE)
    newest = newest.where(probes.c.channel == channel) if channel else newest
    query = select(*_COLUMNS).where(probes.c.id.in_(newest.group_by(probes.c.channel, probes.c.key, probes.c.model)))
    return [
        ProbeRow(*row) for row in await conn.execute(query.order_by(probes.c.channel, probes.c.model, probes.c.key))
    ]


async def prune_probes(conn: Conn, before: int, most: int) -> None:
    """Forget what was asked before then, and all but the newest `most`."""
    newest = select(func.max(probes.c.id)).scalar_subquery()
    await conn.execute(delete(probes).where((probes.c.asked_at < before) | (probes.c.id <= newest - most)))
