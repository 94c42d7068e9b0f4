"""SQL of the table `prices`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Text, cast, delete, insert, select, update

from burncloud.database.connection import Conn, insert_into
from burncloud.database.schema import meta, prices
from burncloud.domain.usage import KINDS

KIND = "price"
"""Of its rows in changes."""
REVISION_KEY: Final = "price_revision"
"""Row of `meta`: the last revision given to any price, so that none is ever given twice."""


class PriceRow(msgspec.Struct, frozen=True):
    """What was set for a model, before aliases and fallbacks; nano-dollars per 1M tokens, None = not set."""

    model: str
    kinds: dict[str, int]
    """Only those that are set, by the names of usage.KINDS."""
    request: int | None
    ratio_ppm: int
    alias: str | None
    output_tokens_max: int
    revision: int
    updated_at: int


_COLUMNS = (
    prices.c.model,
    *(prices.c[kind] for kind in KINDS),
    prices.c.request,
    prices.c.ratio_ppm,
    prices.c.alias,
    prices.c.output_tokens_max,
    prices.c.revision,
    prices.c.updated_at,
)


def _row(row: Any) -> PriceRow:
    kinds = {kind: value for kind, value in zip(KINDS, row[1:], strict=False) if value is not None}
    return PriceRow(row[0], kinds, *row[1 + len(KINDS) :])


async def list_prices(conn: Conn) -> list[PriceRow]:
    """All prices, by model."""
    return [_row(row) for row in await conn.execute(select(*_COLUMNS).order_by(prices.c.model))]


async def get_price(conn: Conn, model: str) -> PriceRow | None:
    """One price by the name of its model."""
    row = (await conn.execute(select(*_COLUMNS).where(prices.c.model == model))).first()
    return _row(row) if row else None


async def list_aliases_of(conn: Conn, model: str) -> list[str]:
    """The models that take their price from this one, directly."""
    rows = await conn.execute(select(prices.c.model).where(prices.c.alias == model).order_by(prices.c.model))
    return [str(row[0]) for row in rows]


async def next_revision(conn: Conn) -> int:
    """A revision that no price had before; until the transaction ends no other price can change."""
    last = cast(meta.c.value, BigInteger)
    query = insert_into(conn, meta).values(key=REVISION_KEY, value="1")
    query = query.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": cast(last + 1, Text)})
    return int((await conn.execute(query.returning(meta.c.value))).scalar_one())


async def create_price(conn: Conn, model: str, values: dict[str, Any]) -> None:
    """A new price."""
    await conn.execute(insert(prices).values(model=model, **values))


async def update_price(conn: Conn, model: str, values: dict[str, Any]) -> None:
    """Set these columns."""
    await conn.execute(update(prices).where(prices.c.model == model).values(values))


async def delete_price(conn: Conn, model: str) -> None:
    """Forget it."""
    await conn.execute(delete(prices).where(prices.c.model == model))
