"""Booking: receipts into the database in one transaction with the watermark that covers them.

Statements come in one lock order everywhere: epoch, journal, leases, balances, roll-up, each sorted by
its key (shared MONEY.md §3).  What is to be written arrives counted up (service/billing.py): one row an
account and batch.  `verify` is the other direction: it adds up the rows and compares.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Column, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from burncloud.database.driver import Row, Tx
from burncloud.database.journals import Guard, check_epoch, mark_closed, move_watermark
from burncloud.database.schema import attempts, balances, leases, ledger_carry, receipts, spend, usage_hourly
from burncloud.domain.usage import KINDS

LEASE_KEYS: Final = ("journal", "kind", "account")
LEASE_SUMS: Final = ("granted", "drawn", "returned")
BALANCE_KEYS: Final = ("kind", "id")
BALANCE_SUMS: Final = ("used", "leased")
HOURLY_KEYS: Final = ("hour", "user", "token", "channel", "model")
HOURLY_SUMS: Final = ("requests", *KINDS, "charge")
SPEND_KEYS: Final = ("kind", "id", "day")
SPEND_SUMS: Final = ("amount",)
FAULTS_MAX: Final = 100
"""As many wrong rows are named by verify, per check."""


class Booking(NamedTuple):
    """What one batch adds; each list sorted by its key, each key once."""

    receipts: list[Row]
    """In the order of the table's columns, as are the attempts."""
    attempts: list[Row]
    leases: list[Row]
    """(journal, kind, account, granted, drawn, returned)."""
    balances: list[Row]
    """(kind, id, used, leased)."""
    hourly: list[Row]
    """(hour, user, token, channel, model, requests, kinds…, charge)."""
    spend: list[Row]
    """(kind, id, day, amount), of users and tokens."""


class Fault(NamedTuple):
    """One sum that does not add up."""

    what: str
    """used · leased · attempts."""
    kind: str
    """user · token · channel · receipt."""
    id: str
    stands: int
    """What the database says."""
    should: int
    """What its rows add up to."""


def book(tx: Tx, guard: Guard, journal: int, state: str, before: int, after: int, booking: Booking) -> bool:
    """Book a batch that covers the journal's records up to `after`.

    False, and nothing is written, if the watermark is not at `before` or the journal not in `state`: somebody
    (perhaps an earlier try whose COMMIT was unknown) was here.  Raises StaleEpoch, the driver's errors.
    """
    check_epoch(tx, guard)
    if not move_watermark(tx, journal, state, before, after):
        return False
    tx.insert_rows(receipts, booking.receipts)
    tx.insert_rows(attempts, booking.attempts)
    tx.add_rows(leases, LEASE_KEYS, LEASE_SUMS, booking.leases)
    tx.add_rows(balances, BALANCE_KEYS, BALANCE_SUMS, booking.balances)
    tx.add_rows(usage_hourly, HOURLY_KEYS, HOURLY_SUMS, booking.hourly)
    tx.add_rows(spend, SPEND_KEYS, SPEND_SUMS, booking.spend)
    return True


def close(tx: Tx, journal: int, now_s: int) -> list[tuple[str, int]]:
    """Give back all that is outstanding on the journal's leases and close it; its accounts.

    To be called where the same transaction has locked the journal, and with it its leases.  The
    lease rows go: what they granted is drawn (and stands in receipts) or returned by now.
    """
    left = "SELECT kind, account, granted - drawn - returned FROM leases WHERE journal = $1"
    found = sorted(tx.fetch(left, journal))
    tx.execute("DELETE FROM leases WHERE journal = $1", journal)
    rows: list[Row] = [(kind, account, 0, -amount) for kind, account, amount in found if amount]
    tx.add_rows(balances, BALANCE_KEYS, BALANCE_SUMS, rows)
    mark_closed(tx, journal, now_s)
    return [(kind, account) for kind, account, _ in found]


async def _sums(connection: AsyncConnection, key: Column[Any], amount: Any) -> dict[int, int]:
    rows = await connection.execute(select(key, func.sum(amount)).group_by(key))
    return {int(account): int(total) for account, total in rows}


async def _carried(connection: AsyncConnection) -> dict[tuple[str, int], int]:
    rows = await connection.execute(select(ledger_carry.c.kind, ledger_carry.c.id, ledger_carry.c.amount))
    return {(kind, account): amount for kind, account, amount in rows}


async def _leased(connection: AsyncConnection) -> dict[tuple[str, int], int]:
    left = func.sum(leases.c.granted - leases.c.drawn - leases.c.returned)
    rows = await connection.execute(
        select(leases.c.kind, leases.c.account, left).group_by(leases.c.kind, leases.c.account)
    )
    return {(kind, account): int(amount) for kind, account, amount in rows}


async def balance_faults(connection: AsyncConnection) -> tuple[int, list[Fault]]:
    """How many accounts there are, and those whose `used` is not carry + Σ rows or `leased` not Σ leases.

    Account 0 (no channel answered, no token) is nobody's and not counted.
    """
    stands = {
        (kind, account): (used, leased)
        for kind, account, used, leased in await connection.execute(
            select(balances.c.kind, balances.c.id, balances.c.used, balances.c.leased)
        )
    }
    used = await _carried(connection)
    for kind, column, amount in (
        ("user", receipts.c.user, receipts.c.charge),
        ("token", receipts.c.token, receipts.c.charge),
        ("channel", attempts.c.channel, attempts.c.charge),
    ):
        for account, total in (await _sums(connection, column, amount)).items():
            if account:
                used[kind, account] = used.get((kind, account), 0) + total
    leased = await _leased(connection)
    faults = []
    for key in sorted(stands.keys() | used.keys() | leased.keys()):
        pairs = zip(("used", "leased"), stands.get(key, (0, 0)), (used.get(key, 0), leased.get(key, 0)), strict=True)
        faults += [Fault(what, key[0], str(key[1]), is_, should) for what, is_, should in pairs if is_ != should]
    return len(stands), faults


async def attempt_faults(connection: AsyncConnection) -> tuple[int, list[Fault]]:
    """How many receipts there are, and those whose charge is not the sum of their attempts' (at most FAULTS_MAX)."""
    count = int((await connection.execute(select(func.count()).select_from(receipts))).scalar_one())
    total = func.sum(attempts.c.charge).label("total")
    sums = select(attempts.c.journal, attempts.c.x, total).group_by(attempts.c.journal, attempts.c.x).subquery()
    same = and_(receipts.c.journal == sums.c.journal, receipts.c.x == sums.c.x)
    should = func.coalesce(sums.c.total, 0)
    wrong = (
        select(receipts.c.journal, receipts.c.x, receipts.c.charge, should)
        .select_from(receipts.outerjoin(sums, same))
        .where(receipts.c.charge != should)
        .limit(FAULTS_MAX)
    )
    lone = (
        select(attempts.c.journal, attempts.c.x, attempts.c.charge)
        .select_from(
            attempts.outerjoin(receipts, and_(attempts.c.journal == receipts.c.journal, attempts.c.x == receipts.c.x))
        )
        .where(receipts.c.x.is_(None))
        .limit(FAULTS_MAX)
    )
    faults = [
        Fault("attempts", "receipt", f"{j}/{x}", is_, int(sum_)) for j, x, is_, sum_ in await connection.execute(wrong)
    ]
    faults += [Fault("attempts", "receipt", f"{j}/{x}", 0, charge) for j, x, charge in await connection.execute(lone)]
    return count, faults
