"""SQL of the table `limits`, and of what was spent, which budgets are measured by."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Text, cast, delete, func, literal, or_, select, update

from burncloud.database.connection import Conn, put_row
from burncloud.database.schema import limits, spend, tokens, users

KIND = "limit"
"""Of its rows in changes."""


class LimitRow(msgspec.Struct, frozen=True):
    """The limits of one thing; −1 = none, budgets in nano-dollars."""

    name: str
    """"kind:id": token:12, user:3, group:default, channel:7, model:gpt-4."""
    requests: int = -1
    """In any 60 seconds, as are the tokens."""
    tokens: int = -1
    concurrency: int = -1
    budget_daily: int = -1
    budget_monthly: int = -1


_COLUMNS = [limits.c[name] for name in LimitRow.__struct_fields__]


async def list_limits(conn: Conn, kind: str = "", names: Sequence[str] = ()) -> list[LimitRow]:
    """All that are limited, by name; of one kind, or these (at most 32,767), if given."""
    query = select(*_COLUMNS).order_by(limits.c.name)
    if names:
        query = query.where(limits.c.name.in_(names))
    if kind:
        query = query.where(limits.c.name.startswith(f"{kind}:", autoescape=True))
    return [LimitRow(*row) for row in await conn.execute(query)]


async def get_limits(conn: Conn, name: str) -> LimitRow:
    """The limits of one thing, which has none where it is not in the table."""
    row = (await conn.execute(select(*_COLUMNS).where(limits.c.name == name))).first()
    return LimitRow(*row) if row else LimitRow(name)


async def budgeted(conn: Conn, kind: str, first: int, last: int, ids: Sequence[int] = ()) -> set[int]:
    """Those users or tokens that have a budget, by id: of these, or of all from `first` to `last`."""
    table = {"user": users, "token": tokens}[kind]
    named = limits.c.name == literal(f"{kind}:") + cast(table.c.id, Text)
    query = select(table.c.id).join(limits, named).where(or_(limits.c.budget_daily >= 0, limits.c.budget_monthly >= 0))
    query = query.where(table.c.id.in_(ids) if ids else table.c.id.between(first, last))
    return set(await conn.scalars(query))


async def update_limits(conn: Conn, row: LimitRow) -> None:
    """Set them, in a new row where it is missing."""
    await put_row(conn, limits, **msgspec.structs.asdict(row))


async def delete_limits(conn: Conn, name: str) -> None:
    """Forget them."""
    await conn.execute(delete(limits).where(limits.c.name == name))


async def touch(conn: Conn, kind: str, account: int) -> None:
    """Have workers told of a user or token anew: whether it is limited depends on its budgets, too."""
    table = {"user": users, "token": tokens}[kind]
    await conn.execute(update(table).where(table.c.id == account).values(enabled=table.c.enabled))


async def spent(conn: Conn, kind: str, account: int, first_day: int) -> int:
    """What a user or token was charged since the beginning of that day, in nano-dollars."""
    query = select(func.coalesce(func.sum(spend.c.amount), 0)).where(
        spend.c.kind == kind, spend.c.id == account, spend.c.day >= first_day
    )
    return int((await conn.execute(query)).scalar_one())
