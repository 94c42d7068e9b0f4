"""A house for keepers: what they tell their books is written down here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from burncloud.database import journals, leases
from burncloud.database.engine import Database
from burncloud.database.journals import Guard
from burncloud.database.leases import Account
from burncloud.service.bookkeeper import Keeper
from tests.books import Writer, ledger_of


class House:
    """Listens to keepers."""

    def __init__(self, db: Database, guard: Guard, root: Path, ledger: str) -> None:
        self.db = db
        self.guard = guard
        self.root = root
        self.ledger = ledger
        self.acks: list[int] = []
        self.rewrites = 0
        self.freed_accounts: set[Account] = set()
        self.alarms: list[str] = []

    def booked(self, uuid: str, seq: int) -> None:
        self.acks.append(seq)

    def cannot_sync(self, uuid: str) -> None:
        self.rewrites += 1

    def freed(self, accounts: Iterable[Account]) -> None:
        self.freed_accounts |= set(accounts)

    def alarm(self, kind: str, uuid: str, why: str) -> None:
        self.alarms.append(kind)

    def writer(self, **settings: Any) -> Writer:
        """A worker's journal in this house."""
        return Writer(self.root, **({"ledger": self.ledger} | settings))

    async def keeper(self, writer: Writer | Path, live: bool = True) -> Keeper:
        """A keeper that knows its journal's row."""
        keeper = Keeper(writer.folder if isinstance(writer, Writer) else writer, self.ledger, self)
        await keeper.ensure_row()
        keeper.live = live
        return keeper

    async def grant(self, keeper: Keeper, amount: int) -> None:
        """As much to user 1 and token 1."""
        assert keeper.row is not None
        grants = {(keeper.row.id, kind, 1): amount for kind in ("user", "token")}
        await self.db.ledger(lambda tx: leases.add_grants(tx, grants))

    async def close(self, writer: Writer) -> None:
        """The worker dies, another keeper replays."""
        writer.kill()
        keeper = await self.keeper(writer, live=False)
        assert await keeper.round()
        keeper.let_go()


async def open_house(db: Database, root: Path) -> House:
    """A house of epoch 1."""
    guard = await db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    return House(db, guard, root, await ledger_of(db))
