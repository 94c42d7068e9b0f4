"""Where conversations were: found again by every worker, for their time, in a table that never grows."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from burncloud.wire import places
from burncloud.wire.places import BYTES, ENTRIES, Places


def test_found_again_by_another_worker(tmp_path: Path) -> None:
    path = str(tmp_path / "places")
    one, other = Places(path), Places(path)
    one.put(77, 3, 30, 1_000)
    assert other.get(77, 999) == (3, 30, 1_000)
    assert other.get(78, 999) is None
    assert other.get(77, 1_000) is None
    other.put(77, 4, 40, 2_000)
    assert one.get(77, 1_500) == (4, 40, 2_000)
    assert os.path.getsize(path) == BYTES
    if os.name == "posix":
        assert os.stat(path).st_mode & 0o777 == 0o600
    one.close()
    late = Places(path)  # a worker that took another's place
    assert late.get(77, 1_500) == (4, 40, 2_000)


def test_it_never_grows_and_the_newest_stay() -> None:
    """Twice as many as fit: of the last quarter nearly all are there."""
    table = Places()
    chance = Random(1)
    prints = [chance.getrandbits(64) for _ in range(ENTRIES * 2)]
    for n, fingerprint in enumerate(prints):
        table.put(fingerprint, n & 0xFFFF, n, 1_000 + n)
    newest = list(enumerate(prints))[-ENTRIES // 4 :]
    kept = sum(table.get(fingerprint, 0) == (n & 0xFFFF, n, 1_000 + n) for n, fingerprint in newest)
    assert kept > 0.95 * len(newest)


@given(
    st.lists(st.tuples(st.integers(1, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=30)
)
def test_never_another_s_place(entries: list[tuple[int, int, int]]) -> None:
    table = Places()
    known: dict[int, tuple[int, int, int]] = {}
    for fingerprint, channel, key in entries:
        table.put(fingerprint, channel, key, 4_000_000_000)
        known[fingerprint] = (channel, key, 4_000_000_000)
        assert table.get(fingerprint, 5) == known[fingerprint]
    for fingerprint, place in known.items():
        assert table.get(fingerprint, 5) in (place, None)


def test_a_torn_entry_is_none() -> None:
    table = Places()
    table.put(77, 3, 30, 1_000)
    at = 77 % (ENTRIES // places._WAYS) * places._WAYS * places._ENTRY.size
    table._table[at + 8] ^= 1  # its channel, half written
    assert table.get(77, 0) is None
