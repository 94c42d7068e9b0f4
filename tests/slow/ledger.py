"""The ledger as a stranger reads it: plain SQL on either engine, none of the product's own code."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

Rows = Sequence[tuple[Any, ...]]


class Attempt(NamedTuple):
    """One send."""

    n: int
    reason: str
    sent: int
    charge: int


class Receipt(NamedTuple):
    """One row of the ledger with its attempts."""

    id: str
    """The client's own request id."""
    journal: int
    x: int
    state: str
    charge: int
    reserve: int
    user: int
    token: int
    estimated: bool
    late: bool
    attempts: tuple[Attempt, ...]


class Lease(NamedTuple):
    """What one journal has of one account."""

    journal: int
    kind: str
    account: int
    granted: int
    drawn: int
    returned: int


class Books(NamedTuple):
    """All of the ledger but its rows."""

    receipts: int
    charged: int
    balances: dict[tuple[str, int], tuple[int, int]]
    """(kind, id) → (used, leased)."""
    used: dict[tuple[str, int], int]
    """(kind, id) → Σ charges of its rows."""
    leases: list[Lease]
    open_journals: int
    quarantined: int


class Ledger:
    """The tables of one database."""

    def __init__(self, url: str) -> None:
        """`url` as in DATABASE_URL."""
        self.url = url

    async def fetch(self, *queries: str) -> list[Rows]:
        """The rows of each query, all from one moment."""
        if self.url.startswith("sqlite:"):
            return await asyncio.to_thread(self._fetch_sqlite, queries)
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return [[tuple(row) for row in await connection.fetch(query)] for query in queries]
        finally:
            await connection.close()

    async def execute(self, statement: str) -> None:
        """One statement, committed."""
        if self.url.startswith("sqlite:"):
            await asyncio.to_thread(self._execute_sqlite, statement)
            return
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def receipts(self, prefix: str) -> list[Receipt]:
        """Rows whose client request id begins with `prefix`."""
        where = f"client_request LIKE '{prefix}%'"
        rows, sends = await self.fetch(
            'SELECT client_request, journal, x, state, charge, reserve, "user", token, estimated, late'
            f" FROM receipts WHERE {where}",
            "SELECT a.journal, a.x, a.n, a.reason, a.sent, a.charge FROM attempts a JOIN receipts r"
            f" ON r.journal = a.journal AND r.x = a.x WHERE {where} ORDER BY a.n",
        )
        attempts: dict[tuple[Any, ...], list[Attempt]] = {}
        for journal, x, *rest in sends:
            attempts.setdefault((journal, x), []).append(Attempt(*rest))
        return [
            Receipt._make((*row[:8], bool(row[8]), bool(row[9]), tuple(attempts.get(row[1:3], ())))) for row in rows
        ]

    async def open_journals(self) -> int:
        """How many journals are not yet closed."""
        found = await self.fetch("SELECT count(*) FROM journals WHERE state = 'open'")
        return int(found[0][0][0])

    async def books(self) -> Books:
        """Sums, balances, leases."""
        totals, balances, users, tokens, channels, leases, opened, aside = await self.fetch(
            "SELECT count(*), coalesce(sum(charge), 0) FROM receipts",
            "SELECT kind, id, used, leased FROM balances",
            'SELECT \'user\', "user", sum(charge) FROM receipts GROUP BY "user"',
            "SELECT 'token', token, sum(charge) FROM receipts GROUP BY token",
            "SELECT 'channel', channel, sum(charge) FROM attempts GROUP BY channel",
            "SELECT journal, kind, account, granted, drawn, returned FROM leases",
            "SELECT count(*) FROM journals WHERE state = 'open'",
            "SELECT count(*) FROM quarantine",
        )
        used = {(row[0], row[1]): int(row[2]) for row in (*users, *tokens, *channels) if row[1]}
        return Books(
            int(totals[0][0]),
            int(totals[0][1]),
            {(row[0], row[1]): (row[2], row[3]) for row in balances},
            used,
            [Lease(*row) for row in leases],
            int(opened[0][0]),
            int(aside[0][0]),
        )

    def _connect(self) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(sqlite3.connect(self.url.removeprefix("sqlite:"), timeout=10, isolation_level=None))

    def _fetch_sqlite(self, queries: Sequence[str]) -> list[Rows]:
        with self._connect() as connection:
            connection.execute("BEGIN")
            found: list[Rows] = [connection.execute(query).fetchall() for query in queries]
            connection.execute("COMMIT")
            return found

    def _execute_sqlite(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement)
