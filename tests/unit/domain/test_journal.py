"""Frames of the journal: intact ones are read, anything else stops the reader without an exception."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from burncloud.domain.journal import Again, Close, JournalRecord, Progress, Return, frame, scan
from burncloud.domain.usage import Usage

RECORDS: list[JournalRecord] = [
    Again(1, 2, 3, 4, "failover"),
    Progress(1, Usage(5, 6), 7),
    Return("user", 1, 9),
    Close(),
]
WHOLE = b"".join(frame(record) for record in RECORDS)


def test_there_and_back() -> None:
    """Every record, and the unwritten rest of the segment is no error."""
    found = scan(WHOLE + bytes(64))
    assert (found.records, found.offset, found.broken) == (RECORDS, len(WHOLE), False)
    assert scan(WHOLE, limit=2).records == RECORDS[:2]


def test_cut_at_every_byte() -> None:
    """What is whole before the cut is read, the rest is not."""
    for size in range(len(WHOLE)):
        found = scan(WHOLE[:size])
        assert found.records == RECORDS[: len(found.records)]
        assert found.offset <= size


@given(st.integers(0, len(WHOLE) * 8 - 1))
def test_a_flipped_bit(bit: int) -> None:
    """It is seen: no record after it is read, and none is read wrong."""
    data = bytearray(WHOLE)
    data[bit // 8] ^= 1 << bit % 8
    found = scan(bytes(data))
    assert found.records == RECORDS[: len(found.records)]
    assert len(found.records) < len(RECORDS)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Never an exception."""
    assert scan(data).offset <= len(data)
