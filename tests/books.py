"""Journals written by hand, and books to read them: what the ledger's tests are made of.

A `Writer` stands in for a worker: it holds the lock, appends records, keeps its side of the leases; `kill` drops
the lock as a dying process does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select, text

from burncloud.database import schema
from burncloud.database.engine import Database
from burncloud.domain.journal import (
    FORMAT_VERSION,
    Attempt,
    Close,
    End,
    Header,
    Intent,
    JournalRecord,
    Return,
    frame,
)
from burncloud.domain.usage import Usage
from burncloud.service.journals import FOLDER, Books
from burncloud.wire.journal import lock_file

NODE = "here"
DAY = 19_675
TIME_NS = 1_700_000_000_000_000_000


def intent(user: int = 1, token: int = 1, hold: int = 0, lost: int = 0, channel: int = 1) -> Intent:
    """An intent that holds the same on user and token."""
    return Intent(
        TIME_NS, DAY, "req_1", "mine", user, token, channel, 1, "m", "up-m", "/v1/chat/completions", "default",
        False, 1, 1_000_000, 1_000_000, hold, hold, hold, lost,
    )  # fmt: skip


def end(x: int, charge: int = 0, hold: int = 0, user: int = 1, token: int = 1, **changes: Any) -> End:
    """A receipt with one attempt that bears the whole charge; `changes` are fields of End."""
    draw = min(charge, hold)
    receipt = End(
        x=x, time_ns=TIME_NS, day=DAY, request="req_1", client_request="mine", user=user, token=token, channel=1,
        key=1, model="m", upstream_model="up-m", endpoint="/v1/chat/completions", group="default", stream=False,
        price_revision=1, model_ratio_ppm=1_000_000, group_ratio_ppm=1_000_000, reserve=hold, hold_user=hold,
        hold_token=hold, draw_user=draw, draw_token=draw, charge=charge, usage=Usage(input=100, output=200),
        estimated=False, state="done", status=200, duration_us=1_000, first_byte_us=500, bytes_up=10, bytes_down=20,
        client="127.0.0.1", upstream_request="chatcmpl-1", attempts=(Attempt(1, 1, 1, "first", 1, 200, charge, 900),),
    )  # fmt: skip
    return msgspec.structs.replace(receipt, **changes)


class Writer:
    """A worker's journal."""

    def __init__(self, root: Path, ledger: str, name: str = "", version: int = FORMAT_VERSION) -> None:
        self.uuid = name or uuid.uuid4().hex
        self.folder = root / FOLDER / self.uuid
        self.folder.mkdir(parents=True)
        self.ledger = ledger
        self.version = version
        self.seq = 0
        self.segment = 0
        self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        lock_file(self._lock)
        self.roll()

    @property
    def path(self) -> Path:
        """The current segment."""
        return self.folder / f"{self.segment:08d}.seg"

    def roll(self, first_seq: int = 0) -> None:
        """Begin a new segment (with numbers from `first_seq`, if given)."""
        self.segment += 1
        self.seq = first_seq - 1 if first_seq else self.seq
        self.path.write_bytes(frame(Header(self.version, self.ledger, NODE, self.uuid, self.seq + 1)))

    def put(self, *records: JournalRecord) -> int:
        """Append records; the number of the last."""
        with self.path.open("ab") as file:
            file.write(b"".join(map(frame, records)))
        self.seq += len(records)
        return self.seq

    def exchange(self, charge: int, hold: int = 0, user: int = 1, token: int = 1) -> int:
        """An intent and its end; x."""
        x = self.put(intent(user, token, hold))
        self.put(end(x, charge, hold, user, token))
        return x

    def give_back(self, kind: str, account: int, amount: int) -> None:
        """Return a part of a lease."""
        self.put(Return(kind, account, amount))

    def stop(self) -> None:
        """A clean end."""
        self.put(Close())
        self.kill()

    def kill(self) -> None:
        """Die: the lock is free."""
        os.close(self._lock)

    def copy(self, target: Path) -> Path:
        """The folder as it stands, elsewhere."""
        shutil.copytree(self.folder, target)
        return target


class Account(msgspec.Struct, frozen=True):
    """A balance as it stands."""

    used: int
    leased: int


async def balance(db: Database, kind: str, account: int = 1) -> Account:
    """The balance of an account."""
    b = schema.balances
    async with db.read() as connection:
        row = (
            await connection.execute(select(b.c.used, b.c.leased).where(b.c.kind == kind, b.c.id == account))
        ).first()
    return Account(*row) if row else Account(0, 0)


async def receipts(db: Database) -> list[Any]:
    """All receipts, by journal and exchange."""
    async with db.read() as connection:
        table = schema.receipts
        return list(await connection.execute(select(table).order_by(table.c.journal, table.c.x)))


async def count(db: Database, table: str) -> int:
    """Rows of a table."""
    async with db.read() as connection:
        return int((await connection.execute(text(f'SELECT count(*) FROM "{table}"'))).scalar_one())


async def add_accounts(db: Database, user_limit: int = -1, token_limit: int = -1, tokens: int = 1) -> None:
    """User 1 and his tokens 1, 2, …"""
    async with db.begin() as connection:
        await connection.execute(schema.users.insert(), [{"name": "u", "quota_limit": user_limit}])
        rows = [{"hash": n.to_bytes(32, "big"), "user_id": 1, "quota_limit": token_limit} for n in range(1, tokens + 1)]
        await connection.execute(schema.tokens.insert(), rows)


async def until(what: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(timeout_s):
        while not what():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def ledger_of(db: Database) -> str:
    """The ledger's uuid."""
    async with db.read() as connection:
        return str((await connection.execute(text("SELECT value FROM meta WHERE key = 'ledger'"))).scalar_one())


async def make_books(db: Database, root: Path) -> Books:
    """Books that have started and read every 5 ms."""
    books = Books(db, root, NODE, 5)
    await books.start()
    return books
