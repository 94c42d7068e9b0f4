"""A journal cut anywhere, or with any bit flipped: what is whole is booked, nothing twice, everything adds up."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from burncloud.database.engine import open_database
from burncloud.domain.journal import JournalRecord, Return, frame
from burncloud.service.billing import verify
from tests.books import Writer, balance, count, end, intent, receipts
from tests.keepers import House, open_house
from tests.property.test_ledger import QUICK

HOLD = 50


async def _replay(house: House, writer: Writer) -> None:
    """The writer is dead: to the end."""
    keeper = await house.keeper(writer, live=False)
    await house.grant(keeper, 10 * HOLD)
    assert await keeper.round()
    keeper.let_go()


async def _cut_everywhere(url: str, root: Path) -> None:
    db = open_database(url)
    house = await open_house(db, root)
    used = rows = 0
    records: list[JournalRecord] = [
        intent(hold=HOLD, lost=7),
        end(1, 30, HOLD),
        intent(hold=HOLD, lost=7),
        end(3, 40, HOLD),
        Return("user", 1, 9),
    ]
    sizes = [len(frame(record)) for record in records]
    tail = sum(sizes[-3:])
    for cut in range(tail + 1):
        writer = Writer(root, house.ledger)
        writer.put(*records)
        data = writer.path.read_bytes()
        writer.path.write_bytes(data[: len(data) - tail + cut])
        writer.kill()
        await _replay(house, writer)
        whole = 2 + sum(cut >= sum(sizes[2 : 2 + n]) for n in (1, 2, 3))
        used += 30 + {2: 0, 3: 7, 4: 40, 5: 40}[whole]
        rows += 1 if whole == 2 else 2
        assert (await balance(db, "user")).used == used, f"cut at byte {cut} of the last three records"
    assert (await balance(db, "user")).leased == (await balance(db, "token")).leased == 0
    assert await count(db, "receipts") == rows
    assert (await verify(db)).ok
    await db.close()


def test_cut_at_every_byte_of_the_last_three_records(sqlite_url: str, tmp_path: Path) -> None:
    asyncio.run(_cut_everywhere(sqlite_url, tmp_path))


async def _flip(url: str, root: Path, place: int, bit: int) -> None:
    db = open_database(url)
    house = await open_house(db, root)
    writer = Writer(root, house.ledger)
    for _ in range(3):
        writer.exchange(30, HOLD)
        writer.roll()
    x = writer.put(intent(hold=HOLD, lost=7))
    paths = sorted(writer.folder.glob("*.seg"))
    victim = paths[place % 3]  # not the last one: its segment has a follower
    data = bytearray(victim.read_bytes())
    start = 8 if place % 7 else 0  # mostly not the frame of the header
    spot = start + place * 31 % (len(data) - start)
    data[spot] ^= 1 << bit
    victim.write_bytes(data)
    writer.kill()
    await _replay(house, writer)
    rows = {row.x: row for row in await receipts(db)}
    hurt = {1 + 2 * (place % 3)}
    for other in {1, 3, 5} - hurt:
        assert (rows[other].state, rows[other].charge) == ("done", 30)
    assert (rows[x].state, rows[x].charge) == ("interrupted", 7)
    assert rows.keys() <= {1, 3, 5, x}
    assert (await balance(db, "user")).leased == (await balance(db, "token")).leased == 0
    assert (await verify(db)).ok
    await db.close()


@QUICK
@given(place=st.integers(0, 5_000), bit=st.integers(0, 7))
def test_a_flipped_bit_hurts_its_own_segment_only(sqlite_template: Path, place: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(sqlite_template, Path(folder) / "test.db")
        asyncio.run(_flip(f"sqlite:{path}", Path(folder), place, bit))
