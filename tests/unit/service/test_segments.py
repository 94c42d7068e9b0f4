"""Walking through segment files: living, dead, cut, broken, rewritten, foreign."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from burncloud.domain.journal import FRAME, Again, JournalRecord, Kept, Progress, Return, encode_payload, frame
from burncloud.domain.usage import Usage
from burncloud.service import segments
from burncloud.service.segments import Foreign, Gap, Poison, Reader, Slice
from tests.books import Writer, end, intent

LEDGER = "0" * 32


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A journal with a header and nothing else."""
    return Writer(tmp_path, LEDGER)


def amount(n: int) -> Return:
    """A small record that is told apart by its amount."""
    return Return("user", 1, n)


def read_all(reader: Reader, dead: bool = True) -> list[tuple[int, JournalRecord | Poison]]:
    """(number, record) of all that can be read."""
    found: list[tuple[int, JournalRecord | Poison]] = []
    while (part := reader.read(dead)).records:
        found += enumerate(part.records, part.first)
    return found


def reader_of(writer: Writer, acked: int = 0) -> Reader:
    """Standing after record `acked`."""
    reader = Reader(writer.folder, LEDGER)
    reader.seek(acked)
    return reader


def amounts(records: list[tuple[int, JournalRecord | Poison]]) -> list[tuple[int, int]]:
    """(number, amount) of returns."""
    return [(seq, record.amount) for seq, record in records if isinstance(record, Return)]


def test_a_tail_gets_what_is_new(writer: Writer) -> None:
    reader = reader_of(writer)
    assert reader.read(False) == Slice(1, [])
    writer.put(amount(1), amount(2))
    assert reader.read(False) == Slice(1, [amount(1), amount(2)])
    assert reader.read(False) == Slice(3, [])
    writer.put(amount(3))
    assert reader.read(False) == Slice(3, [amount(3)])
    assert reader.seq == 3


def test_the_unwritten_rest_of_a_segment_is_no_record(writer: Writer) -> None:
    writer.put(amount(1))
    with writer.path.open("ab") as file:
        file.write(bytes(1 << 20))
    (writer.folder / "00000002.seg").write_bytes(bytes(1 << 16))  # the spare
    reader = reader_of(writer)
    assert amounts(read_all(reader)) == [(1, 1)]
    assert reader.broken == {}


@pytest.mark.parametrize("acked", range(8))
def test_it_begins_after_the_watermark(writer: Writer, acked: int) -> None:
    writer.put(*map(amount, range(1, 4)))
    writer.roll()
    writer.put(*map(amount, range(4, 6)))
    writer.roll()
    writer.put(*map(amount, range(6, 8)))
    assert amounts(read_all(reader_of(writer, acked))) == [(n, n) for n in range(acked + 1, 8)]


def test_it_goes_on_in_the_next_segment(writer: Writer) -> None:
    reader = reader_of(writer)
    writer.put(amount(1))
    assert amounts(read_all(reader, dead=False)) == [(1, 1)]
    writer.put(amount(2))
    writer.roll()
    writer.put(amount(3))
    assert amounts(read_all(reader, dead=False)) == [(2, 2), (3, 3)]


def test_a_segment_taken_away_is_no_trouble(writer: Writer) -> None:
    reader = reader_of(writer)
    writer.put(amount(1))
    first = writer.path
    read_all(reader)
    writer.roll()
    writer.put(amount(2))
    first.unlink()
    assert amounts(read_all(reader)) == [(2, 2)]
    assert amounts(read_all(reader_of(writer, 1))) == [(2, 2)]


def test_a_number_may_be_missing(writer: Writer) -> None:
    """The worker has given up a file whose header could not be written, and lives on in the next one."""
    reader = reader_of(writer)
    writer.put(amount(1))
    assert amounts(read_all(reader, dead=False)) == [(1, 1)]
    writer.segment += 1
    writer.roll()
    writer.put(amount(2))
    assert writer.path.name == "00000003.seg"
    assert amounts(read_all(reader, dead=False)) == [(2, 2)]


def test_records_in_no_file_are_a_gap(writer: Writer) -> None:
    writer.put(amount(1))
    writer.roll(first_seq=5)
    writer.put(amount(5))
    reader = reader_of(writer)
    assert reader.read(True) == Slice(1, [amount(1)])
    assert reader.read(True) == Slice(5, [amount(5)], Gap(2, 4))
    reader = reader_of(writer)
    writer.path.with_stem("00000001").unlink()
    reader.seek(0)
    assert reader.read(True) == Slice(5, [amount(5)], Gap(1, 4))


def test_records_rewritten_in_a_new_segment_count_once(writer: Writer) -> None:
    """After a failed sync: the new segment begins at a number that the old one has, too."""
    writer.put(*map(amount, range(1, 6)))
    reader = reader_of(writer)
    assert [seq for seq, _ in read_all(reader)] == [1, 2, 3, 4, 5]
    writer.roll(first_seq=3)
    writer.put(*map(amount, range(3, 9)))
    assert amounts(read_all(reader)) == [(6, 6), (7, 7), (8, 8)]
    assert amounts(read_all(reader_of(writer, 0))) == [(n, n) for n in range(1, 9)]
    assert amounts(read_all(reader_of(writer, 2))) == [(n, n) for n in range(3, 9)]


def test_slices_are_bounded(writer: Writer) -> None:
    for _ in range(4):
        writer.put(*(end(n, 1) for n in range(400)))
    reader = reader_of(writer)
    sizes = []
    while (part := reader.read(True)).records:
        sizes.append(len(part.records))
    assert sum(sizes) == 1_600
    assert max(sizes) <= 500


def test_a_record_longer_than_a_chunk(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "CHUNK_BYTES", 64)
    long = end(1, 1, client="x" * 10_000)
    writer.put(amount(1), long, amount(3))
    assert [record for _, record in read_all(reader_of(writer))] == [amount(1), long, amount(3)]


def test_cut_at_every_byte_of_the_last_records(writer: Writer) -> None:
    """What is whole is read, what is cut is not, whatever the byte."""
    writer.put(amount(1))
    whole = writer.path.read_bytes()
    ends = [len(whole)]
    for n in (2, 3, 4):
        writer.put(amount(n))
        ends.append(writer.path.stat().st_size)
    data = writer.path.read_bytes()
    for cut in range(len(whole), len(data) + 1):
        writer.path.write_bytes(data[:cut])
        expected = sum(end_ <= cut for end_ in ends)
        for dead in (True, False):
            assert [seq for seq, _ in read_all(reader_of(writer), dead)] == list(range(1, expected + 1)), cut
        reader = reader_of(writer)
        read_all(reader)
        assert bool(reader.broken) == (cut not in ends)


def test_a_flipped_bit_costs_its_own_record_only(writer: Writer) -> None:
    """Wherever the bit is; but for the length of the last frame, behind which nothing can be found."""
    writer.put(*map(amount, (1, 2, 3)))
    data = writer.path.read_bytes()
    size = len(frame(amount(1)))
    for place in range((len(data) - 2 * size) * 8, (len(data) - size) * 8):
        broken = bytearray(data)
        broken[place // 8] ^= 1 << place % 8
        writer.path.write_bytes(broken)
        reader = reader_of(writer)
        found = read_all(reader)
        assert found[0] == (1, amount(1))
        if place // 8 < len(data) - 2 * size + 4:
            assert found[1:] == [], "a wrong length leads nowhere"
            assert reader.broken
        else:
            assert found[1][0] == 2
            assert isinstance(found[1][1], Poison)
            assert found[2:] == [(3, amount(3))]


def test_behind_something_broken_the_next_segment_counts(writer: Writer) -> None:
    writer.put(amount(1), amount(2))
    bad = writer.path
    data = bytearray(bad.read_bytes())
    data[-1] ^= 1
    bad.write_bytes(data)
    writer.roll()
    writer.put(amount(3))
    reader = reader_of(writer)
    first, second = reader.read(True), reader.read(True)
    assert first.records == [amount(1)]
    assert (second.first, second.records, second.gap) == (3, [amount(3)], Gap(2, 2))
    assert list(reader.broken) == [bad]


def test_an_intact_frame_that_is_no_record_is_poison(writer: Writer) -> None:
    import zlib

    for payload in (b"\x93\xa1Q\x01\x02", b"\xc1", encode_payload(amount(1)).replace(b"user", b"us\xffr")):
        with writer.path.open("ab") as file:
            file.write(FRAME.pack(len(payload), zlib.crc32(payload)) + payload)
    writer.seq += 3
    writer.put(amount(4))
    found = read_all(reader_of(writer))
    assert [seq for seq, record in found if isinstance(record, Poison)] == [1, 2, 3]
    assert found[3] == (4, amount(4))


def test_while_it_is_being_written_nothing_is_broken(writer: Writer) -> None:
    data = frame(amount(1)) + frame(amount(2))
    reader = reader_of(writer)
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole + data[:-3])
    assert reader.read(False).records == [amount(1)]
    for _ in range(3):
        assert reader.read(False).records == []
    writer.path.write_bytes(whole + data)
    assert reader.read(False).records == [amount(2)]
    assert reader.broken == {}


def test_a_torn_page_is_looked_at_twice(writer: Writer) -> None:
    """A reader may see the second page of a write before the first: that is not yet a broken record."""
    writer.put(amount(1), amount(2))
    data = writer.path.read_bytes()
    torn = bytearray(data)
    torn[-len(frame(amount(2))) - 1] ^= 0xFF
    writer.path.write_bytes(torn)
    reader = reader_of(writer)
    assert reader.read(False).records == []
    writer.path.write_bytes(data)
    assert reader.read(False).records == [amount(1), amount(2)]


@pytest.mark.parametrize(
    "settings", [{"ledger": "f" * 32}, {"ledger": LEDGER, "version": 2}, {"ledger": LEDGER, "name": "b" * 32}]
)
def test_a_journal_that_is_not_ours_is_never_read(tmp_path: Path, settings: dict[str, Any]) -> None:
    writer = Writer(tmp_path, **settings)
    writer.put(amount(1))
    folder = writer.folder
    if "name" in settings:  # ours, but under another journal's name
        folder = writer.copy(tmp_path / "journal" / ("c" * 32))
    reader = Reader(folder, LEDGER)
    with pytest.raises(Foreign):
        reader.seek(0)
    with pytest.raises(Foreign):
        reader.open_exchanges()


def test_a_failed_sync_is_never_tried_again(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []

    def sync(fd: int) -> None:
        syncs.append(fd)
        if len(syncs) == 1:
            raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(segments, "_sync_file", sync)
    reader = reader_of(writer)
    writer.put(amount(1))
    for _ in range(2):
        reader.seek(0)
        assert reader.read(False).records == [amount(1)]
        with pytest.raises(OSError, match=r"disk|earlier"):
            reader.sync()
    assert len(syncs) == 1
    writer.roll(first_seq=1)
    writer.put(amount(1))
    reader.seek(0)
    assert reader.read(False).records == [amount(1)]
    reader.sync()
    assert len(syncs) == 2
    reader.sync()
    assert len(syncs) == 2, "nothing new, nothing to sync"


def test_the_folder_is_synced_with_a_new_segment(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(segments, "_sync_folder", folders.append)
    reader = reader_of(writer)
    for n in range(2):
        writer.put(amount(n))
        reader.read(False)
        reader.sync()
        reader.sync()
        writer.roll()
    assert folders == [writer.folder, writer.folder.parent] * 2


def test_open_exchanges() -> None:
    """Told in the order of the records; see the cases."""
    I, P = intent(), Progress(1, Usage(5), 7)  # noqa: E741 - the record's own letter
    A = Again(1, 2, 3, 4, "failover")
    cases: list[tuple[list[JournalRecord], list[Kept]]] = [
        ([I], [Kept(1, I)]),
        ([I, end(1)], []),
        ([I, A, P], [Kept(1, I, (A,), P)]),
        ([I, I, end(1)], [Kept(2, I)]),
        ([I, Kept(1, I, (A,))], [Kept(1, I, (A,))]),
        ([Kept(77, I), Kept(78, I), end(77)], [Kept(78, I)]),
        ([I, end(1), Kept(1, I)], []),  # a copy behind the end, by whatever mishap
        ([Progress(9, Usage(), 1), Again(9, 2, 1, 1, "x"), end(8)], []),
    ]
    for records, expected in cases:
        open_: dict[int, Kept] = {}
        ended: set[int] = set()
        for seq, record in enumerate(records, 1):
            segments._follow(open_, ended, seq, record)
        assert list(open_.values()) == expected


def test_open_exchanges_are_sought_in_all_kept_segments(writer: Writer) -> None:
    old = writer.put(intent(token=1))
    done = writer.put(intent(token=2))
    writer.roll()
    writer.put(end(done))
    copied = writer.put(Kept(old, intent(token=1)))
    kept = reader_of(writer, acked=copied).open_exchanges()
    assert [k.x for k in kept] == [old]
    assert [k.x for k in reader_of(writer).open_exchanges(unbooked={done})] == [old, done]


def test_the_files_are_let_go(writer: Writer) -> None:
    reader = reader_of(writer)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    reader.open_exchanges()
    reader.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before - 1
