"""Leases in the database: what a grant must know, and what it writes.

The rule (who gets how much) is service/leases.py; here it is read under lock and written back.  Lock order:
epoch, journals, leases, balances, each by its key.  One read for a whole batch of questions: on SQLite each
statement costs more than a grant's arithmetic.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from burncloud.database.driver import Row, Tx
from burncloud.database.journals import Guard, check_epoch
from burncloud.database.schema import balances, journals, leases
from burncloud.domain.budgets import DAILY, MONTHLY, first_day

Account = tuple[str, int]
"""(kind, id): ("user", 7) or ("token", 3)."""


class Standing(NamedTuple):
    """The accounts and journals of a batch of questions, locked until the transaction ends."""

    open_journals: int
    states: dict[int, str]
    """Journal → its state."""
    limits: dict[Account, int]
    """−1 = unlimited; an account that is missing does not exist or was deleted."""
    balances: dict[Account, tuple[int, int]]
    """(used, leased)."""
    granted: dict[tuple[int, str, int], int]
    """(journal, kind, account) → cumulative."""
    budgets: dict[Account, dict[str, int]]
    """What is not charged yet of the accounts' budgets, daily and monthly; those that have one."""
    now_s: int
    """When it was read: the time that the budgets' periods are told by."""


class Holding(NamedTuple):
    """What one journal still holds of one account."""

    journal: int
    uuid: str
    granted: int
    """Cumulative."""
    outstanding: int
    """granted − drawn − returned, as far as booked."""


_READ: Final = """
SELECT 'open', '', 0, count(*), 0 FROM journals WHERE state = 'open'
UNION ALL SELECT 'journal', state, id, 0, 0 FROM journals WHERE id IN {journals}
UNION ALL SELECT 'limit', 'user', id, quota_limit, 0 FROM users WHERE id IN {users} AND deleted_at IS NULL
UNION ALL SELECT 'limit', 'token', id, quota_limit, 0 FROM tokens WHERE id IN {tokens} AND deleted_at IS NULL
UNION ALL SELECT 'balance', kind, id, used, leased FROM balances WHERE kind = 'user' AND id IN {users}
UNION ALL SELECT 'balance', kind, id, used, leased FROM balances WHERE kind = 'token' AND id IN {tokens}
UNION ALL SELECT 'lease', kind, account, journal, granted FROM leases
  WHERE journal IN {journals} AND kind = 'user' AND account IN {users}
UNION ALL SELECT 'lease', kind, account, journal, granted FROM leases
  WHERE journal IN {journals} AND kind = 'token' AND account IN {tokens}
"""
_BUDGET: Final = """
UNION ALL SELECT '{period}', '{kind}', asked.account, limits.budget_{period},
    (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM spend
     WHERE spend.kind = '{kind}' AND spend.id = asked.account AND spend.day >= {first})
  FROM {accounts} AS asked JOIN limits ON limits.name = '{kind}:' || asked.account
  WHERE limits.budget_{period} >= 0
"""


def _statement(place: str, day: str) -> str:
    """`place`, `day`: how the engine spells a list and a number among the values."""
    lists = {name: place.format(number) for number, name in enumerate(_NAMES, 1)}
    budgets = (
        _BUDGET.format(period=period, kind=kind, first=day.format(number), accounts=lists[f"{kind}s"])
        for kind in ("user", "token")
        for number, period in enumerate((DAILY, MONTHLY), len(_NAMES) + 1)
    )
    return _READ.format(**lists) + "".join(budgets)


_NAMES: Final = ("journals", "users", "tokens")
_READ_SQLITE: Final = _statement("(SELECT value AS account FROM json_each(${}))", "${}")
_READ_POSTGRES: Final = _statement("(SELECT unnest(${}::bigint[]) AS account)", "${}::bigint")
_LOCK_JOURNALS: Final = "SELECT id FROM journals WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE"
_LOCK_BALANCES: Final = """
SELECT kind, id FROM balances WHERE (kind, id) IN (SELECT * FROM unnest($1::text[], $2::bigint[]))
ORDER BY kind, id FOR UPDATE
"""


def _lock(tx: Tx, ids: list[int], accounts: list[Account]) -> None:
    """PostgreSQL: lock the rows in the one order; a missing balance is made, so that there is a row to lock.

    The leases need no lock of their own: whoever touches one holds its journal's.
    """
    tx.fetch(_LOCK_JOURNALS, ids)
    found = tx.fetch(_LOCK_BALANCES, [kind for kind, _ in accounts], [id_ for _, id_ in accounts])
    missing = set(accounts) - set(found)
    tx.add_rows(balances, ("kind", "id"), ("used",), [(*account, 0) for account in sorted(missing)])


def read_standing(tx: Tx, guard: Guard, ids: Collection[int], accounts: Collection[Account], now_s: int) -> Standing:
    """What the questions of these journals about these accounts depend on.  Raises StaleEpoch."""
    check_epoch(tx, guard)
    users = sorted(account for kind, account in accounts if kind == "user")
    tokens = sorted(account for kind, account in accounts if kind == "token")
    lists = (sorted(ids), users, tokens)
    days = (first_day(DAILY, now_s), first_day(MONTHLY, now_s))
    if tx.postgres:
        _lock(tx, lists[0], sorted(accounts))
        rows = tx.fetch(_READ_POSTGRES, *lists, *days)
    else:
        rows = tx.fetch(_READ_SQLITE, *map(json.dumps, lists), *days)
    standing = Standing(0, {}, {}, {}, {}, {}, now_s)
    opened = 0
    for what, word, id_, first, second in rows:
        if what == "open":
            opened = first
        elif what == "journal":
            standing.states[id_] = word
        elif what == "limit":
            standing.limits[word, id_] = first
        elif what == "balance":
            standing.balances[word, id_] = (first, second)
        elif what in (DAILY, MONTHLY):
            standing.budgets.setdefault((word, id_), {})[what] = first - int(second)
        else:
            standing.granted[first, word, id_] = second
    return standing._replace(open_journals=opened)


def add_grants(tx: Tx, grants: dict[tuple[int, str, int], int]) -> None:
    """Write what was granted: (journal, kind, account) → amount, on the leases and on the balances."""
    rows: list[Row] = [(*key, grants[key]) for key in sorted(grants)]
    tx.add_rows(leases, ("journal", "kind", "account"), ("granted",), rows)
    sums: dict[Account, int] = {}
    for _, kind, account, amount in rows:
        sums[kind, account] = sums.get((kind, account), 0) + amount
    tx.add_rows(balances, ("kind", "id"), ("leased",), [(*key, sums[key]) for key in sorted(sums)])


async def holdings(connection: AsyncConnection, account: Account) -> list[Holding]:
    """Journals that hold something of the account."""
    left = leases.c.granted - leases.c.drawn - leases.c.returned
    query = (
        select(leases.c.journal, journals.c.uuid, leases.c.granted, left)
        .join(journals, journals.c.id == leases.c.journal)
        .where(leases.c.kind == account[0], leases.c.account == account[1], left > 0)
        .order_by(leases.c.journal)
    )
    return [Holding(*row) for row in await connection.execute(query)]


async def count_outstanding(connection: AsyncConnection) -> tuple[int, int]:
    """How many leases hold something, and how much in all (nano-dollars)."""
    left = leases.c.granted - leases.c.drawn - leases.c.returned
    query = select(func.count(), func.coalesce(func.sum(left), 0)).where(left != 0)
    count, amount = (await connection.execute(query)).one()
    return int(count), int(amount)
