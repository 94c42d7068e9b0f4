"""The rules of limits: what may be limited, by what, and how a thing is named."""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud import clock
from burncloud.database import limits as rows
from burncloud.database.connection import Conn, row_id
from burncloud.database.engine import Database
from burncloud.database.limits import LimitRow
from burncloud.domain.budgets import DAILY, MONTHLY, first_day
from burncloud.domain.money import AMOUNT_NANO_MAX
from burncloud.domain.names import STAR
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal
from burncloud.service import channels, groups, tokens, users
from burncloud.service.prices import check_model

KINDS: Final = ("token", "user", "group", "channel", "model")
BUDGETED: Final = ("token", "user")
BUDGETS: Final = ("budget_daily", "budget_monthly")
RATE_MAX: Final = 1 << 40


class Limits(msgspec.Struct, frozen=True):
    """The limits of one thing, and how far its budgets are used."""

    kind: str
    name: str
    """Its id, or the name of a group or model."""
    row: LimitRow
    spent_daily: int = 0
    spent_monthly: int = 0
    """Nano-dollars since the beginning of the day and the month, UTC."""


async def list_limits(db: Database, kind: str = "") -> list[Limits]:
    """All that are limited; of one kind, if given."""
    if kind:
        _check_kind(kind)
    async with db.read() as conn:
        return [await _view(conn, row) for row in await rows.list_limits(conn, kind)]


async def get_limits(db: Database, kind: str, which: str) -> Limits:
    """The limits of one thing."""
    async with db.read() as conn:
        return await _view(conn, await rows.get_limits(conn, await _name(conn, kind, which)))


async def update_limits(db: Database, kind: str, which: str, changes: dict[str, int]) -> Limits:
    """Set those that `changes` holds (−1 = none): requests, tokens, concurrency, budget_daily, budget_monthly."""
    check(kind, changes)

    async def work(conn: Conn) -> Limits:
        before = await _left(conn, kind, which) if all(value < 0 for value in changes.values()) else None
        before = before or await rows.get_limits(conn, await _name(conn, kind, which))
        after = msgspec.structs.replace(before, **changes)
        if after != before:
            if after == LimitRow(after.name):
                await rows.delete_limits(conn, after.name)
            else:
                await rows.update_limits(conn, after)
            if kind in BUDGETED:
                await rows.touch(conn, kind, int(after.name.partition(":")[2]))
        return await _view(conn, after)

    return await db.run(work)


def check(kind: str, changes: dict[str, int]) -> None:
    """Refuse limits that cannot be: to be called before anything is made that they belong to."""
    _check_kind(kind)
    if kind not in BUDGETED and any(changes.get(name, -1) >= 0 for name in BUDGETS):
        raise Refusal(INVALID_REQUEST, f"A {kind} has no budget; give one to a token or a user")
    for name, value in changes.items():
        most = AMOUNT_NANO_MAX if name in BUDGETS else RATE_MAX
        if not -1 <= value <= most:
            raise Refusal(INVALID_REQUEST, f"The limit {name} is between 0 and {most}, or none")


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise Refusal(INVALID_REQUEST, f"{kind!r} cannot be limited; name one of: {', '.join(KINDS)}")


async def _left(conn: Conn, kind: str, which: str) -> LimitRow | None:
    """The limits of something that may be gone: they can be taken away in any case."""
    id_ = row_id(which)
    row = await rows.get_limits(conn, f"{kind}:{which if id_ is None else id_}")
    return None if row == LimitRow(row.name) else row


async def _name(conn: Conn, kind: str, which: str) -> str:
    _check_kind(kind)
    if kind == "token":
        return f"token:{(await tokens.find(conn, which)).id}"
    if kind == "user":
        return f"user:{(await users.find(conn, which)).id}"
    if kind == "channel":
        return f"channel:{(await channels.find(conn, which)).id}"
    if kind == "group":
        return f"group:{(await groups.find(conn, which)).name}"
    check_model(which)
    if not which:
        raise Refusal(NOT_FOUND, "Name the model, like gpt-4")
    if STAR in which:
        raise Refusal(INVALID_REQUEST, "A limit is for one model: its whole name, without a star")
    return f"model:{which}"


async def _view(conn: Conn, row: LimitRow) -> Limits:
    kind, _, name = row.name.partition(":")
    found = Limits(kind, name, row)
    if kind not in BUDGETED or (row.budget_daily < 0 and row.budget_monthly < 0):
        return found
    now_s = clock.now_s()
    daily, monthly = [await rows.spent(conn, kind, int(name), first_day(period, now_s)) for period in (DAILY, MONTHLY)]
    return Limits(kind, name, row, daily, monthly)
