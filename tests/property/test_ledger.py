"""Any schedule of grants, holds, settlements, crashes, replays and restores comes to an exact ledger.

And the test can fail: with one rule of the protocol taken out, random schedules find a violation.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burncloud.database import ledger
from burncloud.database.engine import Database, open_database
from burncloud.service import billing, bookkeeper, segments
from burncloud.service.bookkeeper import Keeper
from burncloud.service.segments import Reader
from tests.postgres import Databases
from tests.property.world import OPERATIONS, Step, World, faulty_ledger, run

STEPS = st.lists(
    st.builds(Step, st.sampled_from(sorted(OPERATIONS)), st.integers(0, 5), st.integers(0, 40)), max_size=60
)
LIMITS = st.sampled_from([0, 50, 200, 1_000])
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip


async def play(url: str, root: Path, limit: int, steps: list[Step]) -> list[str]:
    """Play a schedule; what is wrong in the end, or in between."""
    db = open_database(url)
    with pytest.MonkeyPatch.context() as patch:
        try:
            world = await World.create(db, root, limit)
            patch.setattr(Database, "ledger_once", faulty_ledger(world))
            patch.setattr(segments, "_sync_file", world.note_sync)
            patch.setattr(segments, "_sync_folder", lambda folder: None)
            patch.setattr(bookkeeper, "CLOSE_BATCH", 2)
            patch.setattr(bookkeeper, "WATERMARK_LAG", 4)
            patch.setattr(bookkeeper, "BOOK_EVERY_MS", 1 << 62)  # but when the world is in a hurry
            for step in steps:
                await world.step(step)
            await world.finish()
            return await world.check()
        finally:
            await db.close()


@contextmanager
def sqlite_world(template: Path) -> Iterator[tuple[str, Path]]:
    """A folder with a database of its own, for one schedule."""
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(template, Path(folder) / "test.db")
        yield f"sqlite:{path}", Path(folder)


@QUICK
@given(limit=LIMITS, steps=STEPS)
def test_any_schedule_on_sqlite(sqlite_template: Path, limit: int, steps: list[Step]) -> None:
    with sqlite_world(sqlite_template) as (url, root):
        assert run(play(url, root, limit, steps)) == []


@settings(QUICK, max_examples=15)
@given(limit=LIMITS, steps=STEPS)
def test_any_schedule_on_postgres(postgres: Databases, limit: int, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert run(play(postgres.emptied(), Path(folder), limit, steps)) == []


def schedule(seed: int, length: int = 120) -> tuple[int, list[Step]]:
    """A limit and a random schedule in which everything happens about as often as it should."""
    chance = random.Random(seed)
    names = chance.choices(list(OPERATIONS), list(OPERATIONS.values()), k=length)
    return chance.choice([50, 200, 1_000]), [Step(name, chance.randrange(6), chance.randrange(41)) for name in names]


@pytest.mark.parametrize("seed", range(15))
def test_long_schedules(sqlite_template: Path, seed: int) -> None:
    with sqlite_world(sqlite_template) as (url, root):
        assert run(play(url, root, *schedule(seed))) == []


# With one rule taken out


def from_the_watermark(patch: pytest.MonkeyPatch) -> None:
    """The open set of a dead journal is sought from the watermark on, not in all kept segments."""
    real = Keeper._close

    async def close(self: Keeper) -> None:
        acked = self.acked

        def read(reader: Reader, unbooked: Any = ()) -> Any:
            start = Reader(reader.folder, reader._ledger)
            start.seek(acked)
            open_: dict[int, Any] = {}
            while (part := start.read(True)).records:
                for seq, record in enumerate(part.records, part.first):
                    segments._follow(open_, set(), seq, record)
            start.close()
            return list(open_.values())

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Reader, "open_exchanges", read)
            await real(self)

    patch.setattr(Keeper, "_close", close)


def no_watermark(patch: pytest.MonkeyPatch) -> None:
    """The watermark is not compared, and nobody looks whether an exchange has a receipt."""

    def move(*_: Any) -> bool:
        return True

    patch.setattr(ledger, "move_watermark", move)


def half_a_draw(patch: pytest.MonkeyPatch) -> None:
    """A receipt is drawn on the lease, but the balance keeps it as leased."""
    real = billing._Sums.charge

    def charge(self: Any, kind: str, accounts: dict[int, list[int]], account: int, amount: int, draw: int) -> None:
        real(self, kind, accounts, account, amount, draw)
        accounts[account][1] += draw

    patch.setattr(billing._Sums, "charge", charge)


def commits_not_durable(patch: pytest.MonkeyPatch) -> None:
    """An ack is given for a commit that a loss of power takes back."""
    real_step, real_power = World.step, World.power
    durable = sqlite3.connect(":memory:")
    count = itertools.count()

    async def step(self: World, step: Step) -> None:
        if next(count) % 15 == 0:
            with closing(sqlite3.connect(str(self.db.path))) as now:
                now.backup(durable)
        await real_step(self, step)

    async def power(self: World, a: int, b: int) -> None:
        with closing(sqlite3.connect(str(self.db.path))) as now:
            durable.backup(now)
        await real_power(self, a, b)

    async def no_backup(*_: Any) -> None:
        pass

    patch.setattr(World, "step", step)
    patch.setattr(World, "power", power)
    patch.setattr(World, "copy_back", no_backup)  # which would bring back what was lost


def replay_the_living(patch: pytest.MonkeyPatch) -> None:
    """Replay does not wait for the lock."""
    patch.setattr(bookkeeper, "lock_file", lambda fd: None)
    real = Keeper.round

    async def round_(self: Keeper) -> bool:
        self.live = False
        return await real(self)

    patch.setattr(Keeper, "round", round_)


def forget_the_rest(patch: pytest.MonkeyPatch) -> None:
    """Closing gives nothing back."""

    def close(*_: Any) -> list[Any]:
        return []

    patch.setattr(ledger, "close", close)


MUTATIONS = [from_the_watermark, no_watermark, half_a_draw, commits_not_durable, replay_the_living, forget_the_rest]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_without_one_rule_it_is_found(sqlite_template: Path, mutation: Any) -> None:
    for seed in range(60):
        with sqlite_world(sqlite_template) as (url, root), pytest.MonkeyPatch.context() as patch:
            mutation(patch)
            try:
                if run(play(url, root, *schedule(seed))):
                    return
            except (AssertionError, FileNotFoundError):
                return  # an alarm that must not be, or files gone from under the living
    pytest.fail(f"60 schedules did not notice: {mutation.__doc__}")
