"""SQL that reads the ledger's rows for people: the log, newest first, and sums from the roll-up.

Pages are found by key, never by counting or skipping: page 1,000 costs what page 1 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, func, select, tuple_

from burncloud.database.connection import Conn
from burncloud.database.schema import attempts, channels, receipts, tokens, usage_hourly, users
from burncloud.domain.usage import KINDS

Position = tuple[int, int, int]
"""(time_ns, journal, x) of a row: where the next page begins."""
ATTEMPTS_AT_ONCE: Final = 500


class LogFilter(msgspec.Struct, frozen=True):
    """Which rows; 0, "" and None mean all."""

    user: int = 0
    token: int = 0
    model: str = ""
    since_ns: int = 0
    before: Position | None = None


class LogRow(msgspec.Struct, frozen=True):
    """One exchange with the names of what it names; money in nano-dollars."""

    journal: int
    x: int
    time_ns: int
    request: str
    client_request: str
    user_id: int
    user: str | None
    token_id: int
    token: str | None
    channel_id: int
    channel: str | None
    model: str
    upstream_model: str
    endpoint: str
    group: str
    stream: bool
    state: str
    status: int
    estimated: bool
    late: bool
    reserve: int
    charge: int
    price_revision: int
    model_ratio_ppm: int
    group_ratio_ppm: int
    duration_us: int
    first_byte_us: int
    bytes_up: int
    bytes_down: int
    client: str
    upstream_request: str
    lossy: str
    """What a translation dropped or approximated: names, comma between."""
    requested: str
    """The model that was asked for, where another one answered; "" = the same."""
    usage: dict[str, int]
    attempts: list[AttemptRow]


class AttemptRow(msgspec.Struct, frozen=True):
    """One send of an exchange to an upstream."""

    n: int
    channel_id: int
    key: int
    reason: str
    sent: int
    """1 received · 0 never left · 2 unknown."""
    status: int
    charge: int
    duration_us: int
    cost: int
    """Of a hedge's loser: what it presumably cost the house; nobody is charged for it."""


class UsageRow(msgspec.Struct, frozen=True):
    """Sums of one user's token on one model; money in nano-dollars."""

    user_id: int
    user: str | None
    token_id: int
    token: str | None
    model: str
    requests: int
    charge: int
    usage: dict[str, int]


_NAMES = {
    "user": users.c.name.label("user_name"),
    "token": func.coalesce(func.nullif(tokens.c.name, ""), tokens.c.hint).label("token_name"),
    "channel": channels.c.name.label("channel_name"),
}
_IDS = {"user_id": receipts.c.user, "token_id": receipts.c.token, "channel_id": receipts.c.channel}


def _log_columns() -> list[Any]:
    columns: list[Any] = []
    for field in LogRow.__struct_fields__[:-2]:
        if field in _NAMES:
            columns.append(_NAMES[field])
        else:
            columns.append(_IDS.get(field, receipts.c.get(field)))
    return columns + [receipts.c[kind] for kind in KINDS]


async def list_log(conn: Conn, wanted: LogFilter, limit: int) -> list[LogRow]:
    """The newest `limit` rows before `wanted.before`, newest first."""
    position = tuple_(receipts.c.time_ns, receipts.c.journal, receipts.c.x)
    query = select(*_log_columns()).select_from(
        receipts.outerjoin(users, users.c.id == receipts.c.user)
        .outerjoin(tokens, tokens.c.id == receipts.c.token)
        .outerjoin(channels, channels.c.id == receipts.c.channel)
    )
    if wanted.user:
        query = query.where(receipts.c.user == wanted.user)
    if wanted.token:
        query = query.where(receipts.c.token == wanted.token)
    if wanted.model:
        query = query.where(receipts.c.model == wanted.model)
    if wanted.since_ns:
        query = query.where(receipts.c.time_ns >= wanted.since_ns)
    if wanted.before is not None:
        query = query.where(receipts.c.time_ns <= wanted.before[0], position < tuple_(*wanted.before))
    query = query.order_by(receipts.c.time_ns.desc(), receipts.c.journal.desc(), receipts.c.x.desc()).limit(limit)
    rows = (await conn.execute(query)).all()
    sends = await _attempts_of(conn, [(row[0], row[1]) for row in rows])
    return [_log_row(row, sends.get((row[0], row[1]), [])) for row in rows]


def _log_row(row: Row[Any], sends: list[AttemptRow]) -> LogRow:
    plain = len(LogRow.__struct_fields__) - 2
    values: list[Any] = [*row[:plain], _usage_of(row[plain:]), sends]
    return LogRow(*values)


def _usage_of(counts: Sequence[int]) -> dict[str, int]:
    return {kind: int(count) for kind, count in zip(KINDS, counts, strict=True) if count}


async def _attempts_of(conn: Conn, exchanges: list[tuple[int, int]]) -> dict[tuple[int, int], list[AttemptRow]]:
    key = tuple_(attempts.c.journal, attempts.c.x)
    columns = [attempts.c.get("channel" if name == "channel_id" else name) for name in AttemptRow.__struct_fields__]
    found: dict[tuple[int, int], list[AttemptRow]] = {}
    for start in range(0, len(exchanges), ATTEMPTS_AT_ONCE):
        some = exchanges[start : start + ATTEMPTS_AT_ONCE]
        query = select(attempts.c.journal, attempts.c.x, *columns).where(key.in_(some)).order_by(attempts.c.n)
        for row in await conn.execute(query):
            values: list[Any] = list(row)
            found.setdefault((row[0], row[1]), []).append(AttemptRow(*values[2:]))
    return found


async def sum_usage(
    conn: Conn, user: int = 0, token: int = 0, model: str = "", since: int = 0, limit: int = 1000
) -> list[UsageRow]:
    """Sums by user, token and model over the hours from `since` (unix seconds), the dearest first."""
    sums = [func.sum(usage_hourly.c[name]).label(name) for name in ("requests", "charge", *KINDS)]
    grouping = [usage_hourly.c.user, usage_hourly.c.token, usage_hourly.c.model]
    query = select(*grouping, *sums).where(usage_hourly.c.hour >= since).group_by(*grouping)
    if user:
        query = query.where(usage_hourly.c.user == user)
    if token:
        query = query.where(usage_hourly.c.token == token)
    if model:
        query = query.where(usage_hourly.c.model == model)
    total = query.order_by(func.sum(usage_hourly.c.charge).desc(), *grouping).limit(limit).subquery()
    named = select(total, _NAMES["user"], _NAMES["token"]).select_from(
        total.outerjoin(users, users.c.id == total.c.user).outerjoin(tokens, tokens.c.id == total.c.token)
    )
    rows = await conn.execute(named.order_by(total.c.charge.desc(), total.c.user, total.c.token, total.c.model))
    return [_usage_row(row) for row in rows]


def _usage_row(row: Row[Any]) -> UsageRow:
    found = row._mapping
    return UsageRow(
        user_id=found["user"],
        user=found["user_name"],
        token_id=found["token"],
        token=found["token_name"],
        model=found["model"],
        requests=int(found["requests"]),
        charge=int(found["charge"]),
        usage=_usage_of([found[kind] for kind in KINDS]),
    )
