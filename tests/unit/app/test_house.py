"""The running house as the REST side sees it."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud import clock
from burncloud.app.house import BOOKING_MS_MAX, FRESH_MS, RunningHouse
from burncloud.database.engine import Database, open_database
from burncloud.database.journals import Guard
from burncloud.domain.link import Part
from burncloud.errors import INVALID_TOKEN, SERVICE_UNAVAILABLE, Refusal
from burncloud.server.house import Principal
from burncloud.service import tokens, users
from burncloud.service.journals import JournalStatus, Status
from burncloud.service.states import States


class FakeBooks:
    """Books that say what the test says."""

    ledger = "ab" * 16
    guard = Guard("here", 7)

    def __init__(self) -> None:
        self.lost = False
        self.asked = 0
        self.error: Exception | None = None
        self.journals: list[JournalStatus] = []

    async def status(self) -> Status:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Status(7, self.journals, 2, 15_000_000, {"stuck x": "why"})


class FakeLinks:
    """One worker, or none."""

    ready = 1

    def __init__(self) -> None:
        self.states = States()

    def as_json(self) -> list[dict[str, Any]]:
        return [{"index": 0}]


class FakeSnapshots:
    """A Snapshot without one of its channels."""

    seq = 12

    def __init__(self) -> None:
        self.left_out = {3: "main: it has no key"}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ms = 1_000_000
        monkeypatch.setattr(clock, "monotonic_ms", lambda: self.ms)


class Made:
    """A house and what it stands on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, db: Any = None) -> None:
        self.clock = Clock(monkeypatch)
        self.books = FakeBooks()
        self.links = FakeLinks()
        parts: list[Any] = [self.books, FakeSnapshots(), self.links]
        self.house = RunningHouse("1.2.3", db, *parts)


class FakeDatabase:
    """One that has a dialect and nothing else."""

    dialect = "sqlite"


async def test_ready_when_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    health = await made.house.health()
    assert health.ready
    assert set(health.checks) == {"schema", "database", "workers", "journal", "books"}


async def test_not_ready_without_a_database_and_the_reason_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    made.books.error = ConnectionRefusedError("at 10.0.0.7:5432")
    health = await made.house.health()
    assert not health.ready
    assert health.reasons == ("the database does not answer",)
    made.books.error = KeyError("a bug")
    made.clock.ms += FRESH_MS
    with pytest.raises(KeyError):
        await made.house.health()


async def test_not_ready_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    made.links.ready = 0
    assert (await made.house.health()).reasons == ("no worker is ready",)


async def test_the_database_is_not_asked_for_every_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    for _ in range(10):
        await made.house.health()
    assert made.books.asked == 1
    made.clock.ms += FRESH_MS
    await made.house.health()
    assert made.books.asked == 2


async def test_not_ready_while_the_books_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)

    async def ready_after(ms: int, acked: int, lag: int, state: str = "live") -> bool:
        made.clock.ms += ms
        made.books.journals = [JournalStatus("j", state, acked, lag)]
        return (await made.house.health()).ready

    assert await ready_after(0, 5, 3)
    assert await ready_after(BOOKING_MS_MAX, 5, 3)
    assert not await ready_after(FRESH_MS, 5, 9)
    assert await ready_after(FRESH_MS, 6, 9)  # it moved
    assert await ready_after(10 * BOOKING_MS_MAX, 6, 0)  # nothing to do is not late
    assert await ready_after(FRESH_MS, 6, 2)
    assert await ready_after(10 * BOOKING_MS_MAX, 6, 2, "foreign")  # nobody can book that here


async def test_the_status_says_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch, FakeDatabase())
    made.books.journals = [JournalStatus("j", "live", 5, 3)]
    made.clock.ms += 90_000
    status: Any = await made.house.status()
    assert (status["version"], status["node"], status["ledger"], status["epoch"]) == ("1.2.3", "here", "ab" * 16, 7)
    assert (status["uptime_s"], status["workers"]) == (90, [{"index": 0}])
    assert status["journals"] == [{"uuid": "j", "state": "live", "acked": 5, "lag": 3}]
    assert status["leases"] == {"count": 2, "amount": "0.015", "amount_nano": "15000000"}
    assert status["snapshot"] == {"seq": 12, "channels_left_out": {3: "main: it has no key"}}
    assert status["database"] == {"dialect": "sqlite", "answers": True}
    made.books.error = TimeoutError()
    status = await made.house.status()
    assert status["database"]["answers"] is False
    assert "journals" not in status
    assert status["workers"]


async def test_who_calls(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    db: Database = open_database(sqlite_url)
    house = Made(monkeypatch, db).house
    user = await users.create_user(db, "boss", role="admin")
    key = (await tokens.create_token(db, "boss")).key
    assert await house.principal(key, "") == Principal(user.id, "boss", "admin")
    with pytest.raises(Refusal) as caught:
        await house.principal("sk-wrong", "")
    assert caught.value.row is INVALID_TOKEN
    await db.close()


async def test_who_calls_is_not_known_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_database("postgresql://u@127.0.0.1:1/d")
    with pytest.raises(Refusal) as caught:
        await Made(monkeypatch, db).house.principal("sk-x", "")
    assert (caught.value.row, caught.value.retry_after_s) == (SERVICE_UNAVAILABLE, 1)
    await db.close()


async def test_how_channels_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause that is over waits for a probe; what is ready says what was wrong last."""
    made = Made(monkeypatch)
    made.links.states.learn([
        Part(1, 7, "", "off", "refused", 401, 60_000, 60_000), Part(1, 0, "m", "cooling", "broken", 500, 1_000, 2_000),
        Part(2, 0, "m", "cooling", "busy", 429, 90_000, 2_000), Part(2, 0, "m", "ready"),
    ])  # fmt: skip
    made.clock.ms += 2_000
    now = clock.now_s()
    found = [
        (row["channel"], row["key"], row["model"], row["state"], row["until"]) for row in await made.house.states()
    ]
    assert found == [(1, None, "m", "probing", None), (1, 7, None, "off", now + 58), (2, None, "m", "ready", None)]
    assert (await made.house.states())[2]["reason"] == "busy"
