"""The running house as the REST side sees it (server/house.py): health, status, who is calling.

The database is asked at most once in FRESH_MS for health, whoever asks how often.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from burncloud import clock
from burncloud.app.links import Links
from burncloud.database.engine import Database, transient
from burncloud.domain.money import format_usd
from burncloud.errors import SERVICE_UNAVAILABLE, Refusal
from burncloud.server.house import Health, Principal
from burncloud.service.journals import Books, Status
from burncloud.service.snapshots import Snapshots
from burncloud.service.tokens import find_holder

FRESH_MS: Final = 2_000
DATABASE_S_MAX: Final = 2.0
"""A database that answers later than this counts as away."""
BOOKING_MS_MAX: Final = 15_000
"""A journal that has grown and of which nothing was booked this long makes the house not ready."""


class RunningHouse:
    """The `House` of server/app.py."""

    def __init__(self, version: str, db: Database, books: Books, snapshots: Snapshots, links: Links) -> None:
        self.version = version
        self._db = db
        self._books = books
        self._snapshots = snapshots
        self._links = links
        self._started_ms = clock.monotonic_ms()
        self._asked_ms = -FRESH_MS
        self._status: Status | None = None
        self._booked: dict[str, tuple[int, int]] = {}
        """Journal → (acked, since when it stands there)."""

    async def health(self) -> Health:
        """Ready while the database answers, a worker serves and the books follow the journals."""
        status = await self._fresh_status()
        late = self._late(status) if status is not None else False
        checks = {
            "schema": True,  # this process ends rather than serve on another one
            "database": status is not None,
            "workers": self._links.ready > 0,
            "journal": not late,
            "books": not self._books.lost,
        }
        reasons = {
            "database": "the database does not answer",
            "workers": "no worker is ready",
            "journal": "the books do not follow the journals",
            "books": "another control process has taken over this node",
        }
        why = tuple(reasons[name] for name, fine in checks.items() if not fine)
        return Health(not why, why, checks)

    async def status(self) -> dict[str, object]:
        """Everything that is going on, for administrators."""
        books = await self._fresh_status(0)
        found: dict[str, Any] = {
            "version": self.version,
            "node": self._books.guard.node,
            "ledger": self._books.ledger,
            "uptime_s": (clock.monotonic_ms() - self._started_ms) // 1000,
            "database": {"dialect": self._db.dialect, "answers": books is not None},
            "snapshot": {"seq": self._snapshots.seq, "channels_left_out": self._snapshots.left_out},
            "workers": self._links.as_json(),
        }
        if books is not None:
            found |= {
                "epoch": books.epoch,
                "journals": [journal._asdict() for journal in books.journals],
                "leases": {
                    "count": books.leases,
                    "amount": format_usd(books.leased),
                    "amount_nano": str(books.leased),
                },
                "alarms": books.alarms,
            }
        return found

    async def states(self) -> list[dict[str, object]]:
        """How the parts of channels stand, by what the workers of this node say."""
        return self._links.states.as_json()

    async def principal(self, key: str, peer: str) -> Principal:
        """Who holds this token."""
        try:
            holder = await find_holder(self._db, key, peer)
        except Exception as error:
            if isinstance(error, Refusal) or not transient(error):
                raise
            raise Refusal(SERVICE_UNAVAILABLE, retry_after_s=1) from None
        return Principal(holder.user, holder.name, holder.role)

    async def _fresh_status(self, fresh_ms: int = FRESH_MS) -> Status | None:
        """How the books stand; None if the database does not say so in time."""
        now_ms = clock.monotonic_ms()
        if now_ms - self._asked_ms < fresh_ms:
            return self._status
        self._asked_ms = now_ms
        try:
            async with asyncio.timeout(DATABASE_S_MAX):
                self._status = await self._books.status()
        except Exception as error:
            if not transient(error):
                raise
            self._status = None
        return self._status

    def _late(self, status: Status) -> bool:
        """Whether a journal has waited too long for the books."""
        now_ms = clock.monotonic_ms()
        before, self._booked = self._booked, {}
        for journal in status.journals:
            acked, since_ms = before.get(journal.uuid, (-1, now_ms))
            moved = acked != journal.acked or journal.lag <= 0
            self._booked[journal.uuid] = (journal.acked, now_ms if moved else since_ms)
        return any(
            now_ms - self._booked[journal.uuid][1] > BOOKING_MS_MAX
            for journal in status.journals
            if journal.lag > 0 and journal.state != "foreign"
        )
