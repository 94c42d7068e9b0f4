"""Sliding windows: never more than the limit in any 60 s, and all of the limit; over time, workers and deaths."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud import clock
from burncloud.wire import windows
from burncloud.wire.windows import CELL_MS, WINDOW_MS, Account, Full, NoRoom, Windows
from tests.unit.wire.conftest import Clock

linux = pytest.mark.skipif(sys.platform != "linux", reason="memfd_create")


@contextlib.contextmanager
def shared_file() -> Iterator[int]:
    fd = os.memfd_create("load") if sys.platform == "linux" else -1
    try:
        yield fd
    finally:
        if fd >= 0:
            os.close(fd)


def test_all_of_the_limit_and_no_more(now: Clock) -> None:
    table, account = Windows(), Account("a", 1, requests=3)
    assert [table.admit([account], 0) is None for _ in range(4)] == [True, True, True, False]
    full = table.admit([account], 0)
    assert full == Full(account, "requests", WINDOW_MS + CELL_MS - now.now_ms % CELL_MS)
    now.now_ms += full.retry_ms - 1
    assert table.admit([account], 0) is not None
    now.now_ms += 1
    assert [table.admit([account], 0) is None for _ in range(4)] == [True, True, True, False]


def test_in_all_accounts_or_in_none() -> None:
    table, wide, narrow = Windows(), Account("w", 1, requests=10, concurrency=9), Account("n", 2, tokens=100)
    assert table.admit([wide, narrow], 80) is None
    full = table.admit([wide, narrow], 21)
    assert full is not None
    assert (full.account, full.what) == (narrow, "tokens")
    assert table.left(wide) == (9, -1, 8)
    assert table.left(narrow) == (-1, 20, -1)


def test_larger_than_the_limit_alone() -> None:
    full = Windows().admit([Account("a", 1, tokens=10)], 11)
    assert full is not None
    assert full.retry_ms == -1
    assert Windows().admit([Account("a", 1, requests=0)], 0) is not None


def test_concurrent_requests(now: Clock) -> None:
    table, account = Windows(), Account("a", 1, concurrency=2)
    assert table.admit([account], 0) is None
    assert table.admit([account], 0) is None
    now.now_ms += 10 * WINDOW_MS  # they last
    assert table.admit([account], 0) == Full(account, "concurrency", 1000)
    table.leave([account], table.cell, 0)
    assert table.admit([account], 0) is None


def test_what_was_really_used_is_put_right(now: Clock) -> None:
    table, account = Windows(), Account("a", 1, tokens=100)
    assert table.admit([account], 90) is None
    cell = table.cell
    now.now_ms += 30_000
    table.leave([account], cell, -70)
    assert table.left(account)[1] == 80
    table.leave([account], cell, 100)  # more than it had said
    assert table.left(account)[1] == 0
    now.now_ms += 30_000 + CELL_MS
    assert table.admit([account], 100) is None  # it counts with its admission, and is gone with it
    table.leave([account], cell, -120)  # too late to matter
    assert table.left(account)[1] == 0


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 1), st.sampled_from([0, 1, 249, 5_000, 59_999, 70_000]), st.integers(0, 9)
    ),
    max_size=60,
)


@linux
@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_schedule_over_workers(steps: list[tuple[int, int, int, int]]) -> None:
    """Against a list of all admissions: never over, and never refused where 60 s and a cell have room."""
    told = Clock()
    with shared_file() as fd, pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "monotonic_ms", told)
        workers = [Windows(fd, index) for index in range(3)]
        accounts = [[Account(name, key, requests=4, tokens=20) for name, key in (("a", 1), ("b", 2))] for _ in workers]
        admitted: list[list[tuple[int, int]]] = [[], []]
        for worker, which, wait_ms, tokens in steps:
            told.now_ms += wait_ms
            done = workers[worker].admit([accounts[worker][which]], tokens) is None
            past = admitted[which]
            surely = [entry for entry in past if entry[0] >= told.now_ms - WINDOW_MS]
            perhaps = [entry for entry in past if entry[0] >= told.now_ms - WINDOW_MS - CELL_MS]
            fits = len(surely) < 4 and sum(t for _, t in surely) + tokens <= 20
            assert not done or fits
            assert done or not (len(perhaps) < 4 and sum(t for _, t in perhaps) + tokens <= 20)
            if done:
                past.append((told.now_ms, tokens))


@linux
def test_workers_at_once() -> None:
    """Real processes in a race: exactly the limit, for one account and for two at once."""
    with shared_file() as fd:
        Windows(fd, 0)
        read, write = os.pipe()
        children = []
        for index in range(4):
            child = os.fork()
            if not child:
                table = Windows(fd, index)
                both = [Account("a", 7, requests=500, concurrency=900), Account("b", 8, tokens=5_000)]
                count = sum(table.admit(both, 10) is None for _ in range(1_000))
                os.write(write, count.to_bytes(4, "little"))
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        counts = os.read(read, 16)
        assert sum(int.from_bytes(counts[at : at + 4], "little") for at in range(0, 16, 4)) == 500
        os.close(read)
        os.close(write)


@linux
def test_a_dead_worker_s_requests_are_over_when_its_successor_starts() -> None:
    with shared_file() as fd:
        mine, account = Windows(fd, 0), Account("a", 7, concurrency=3)
        assert mine.admit([account], 0) is None
        child = os.fork()
        if not child:
            table = Windows(fd, 1)
            table.admit([account], 0)
            table.admit([account], 0)
            table._take()  # and in the middle of a change
            table._words[account.slot + windows.FLYING] += 7
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert mine.admit([account], 0) is not None
        Windows(fd, 1)
        assert mine.left(account)[2] == 2
        assert mine.admit([account], 0) is None


@linux
def test_a_dead_worker_without_a_successor_is_buried_by_another() -> None:
    with shared_file() as fd:
        mine, its, account = Windows(fd, 0), Windows(fd, 5), Account("a", 7, concurrency=2)
        for table in (mine, its):
            assert table.admit([account], 0) is None
        its.queue(account, True)
        mine.bury(5)
        assert mine.left(account)[2] == 1
        assert not mine.words[account.slot + windows.QUEUED]
        mine.bury(5)  # others have seen it, too
        assert mine.left(account)[2] == 1


def test_idle_accounts_make_room(now: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "SLOTS", 3)
    table = Windows()
    old, flying = Account("old", 1, requests=1), Account("flying", 2, concurrency=1)
    assert table.admit([old, flying], 0) is None
    now.now_ms += 2 * WINDOW_MS
    busy = [Account(str(key), key, requests=1) for key in (3, 4)]
    assert [table.admit([one], 0) for one in busy] == [None, None]
    with pytest.raises(NoRoom):
        table.admit([Account("new", 5, requests=1)], 0)
    table.leave([old], 1, 5)  # its place is another's now
    assert table.left(busy[0])[0] == table.left(busy[1])[0] == 0
    assert table.admit([flying], 0) is not None


@linux
def test_workers_take_turns_where_both_have_requests_that_wait(now: Clock) -> None:
    with shared_file() as fd:
        mine, other = Windows(fd, 0), Windows(fd, 1)
        here, there = (Account("channel:1", 7, concurrency=1) for _ in range(2))
        assert mine.admit([here], 0) is None
        mine.entered(here)
        assert other.admit([there], 0) is not None
        other.queue(there, True)
        mine.leave([here], mine.cell, 0)
        assert mine.others_first(here)  # it had the last one
        assert not other.others_first(there)
        now.now_ms += windows.YIELD_MS
        assert not mine.others_first(here)  # the other did not come
        assert other.admit([there], 0) is None
        other.entered(there)
        assert not mine.others_first(here)
        other.queue(there, False)
        mine.queue(here, True)
        assert other.others_first(there)
        Windows(fd, 0)  # the successor of a worker that died with requests in its line
        assert not other.others_first(there)


@linux
def test_another_version_s_table_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with shared_file() as fd:
        old = Windows(fd, 0)
        old.words[windows.READY] = 1
        new, account = Windows(fd, 1), Account("a", 7, requests=1)
        assert new.admit([account], 0) is None
        assert old.words[windows.USED] == 0
        assert "another version" in caplog.text


def test_nobody_stands_back_for_nobody(now: Clock) -> None:
    table, account = Windows(), Account("channel:1", 7, concurrency=1)
    assert not table.others_first(account)
    table.queue(account, True)
    assert table.admit([account], 0) is None
    table.entered(account)
    table.queue(account, True)
    assert not table.others_first(account)
