"""When the server is asked, for what, and what a request does that waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from burncloud import clock
from burncloud.router import permits
from burncloud.router.permit_script import GIVEN, JOIN, WAIT
from burncloud.router.permits import Permits
from burncloud.wire.permits import SharedWindows
from burncloud.wire.redis import RedisError
from burncloud.wire.windows import CELL_MS, Account, Full
from tests.stage import Loop

NEED, WANT, NEED_TOKENS, FEWEST, REFUNDS, CELLS_SHOWN = 14, 15, 16, 18, 21, 22
"""Places of an account's line."""


class Far:
    """A server that says what the test says."""

    def __init__(self) -> None:
        self.here = True
        self.late = False
        self.looks = 0
        self.calls: list[tuple[Sequence[bytes], list[Any], Callable[[Any], object]]] = []

    def look(self) -> None:
        self.looks += 1

    def run(self, keys: Sequence[bytes], argument: bytes, done: Callable[[Any], object]) -> bool:
        if not self.here:
            return False
        self.calls.append((keys, msgspec.msgpack.decode(argument), done))
        return True

    def answer(self, *rows: list[int]) -> list[Any]:
        """To the oldest call, whose lines are returned."""
        _, asked, done = self.calls.pop(0)
        done(msgspec.msgpack.encode(list(rows)))
        lines: list[Any] = asked[2]
        return lines


class Worker:
    """Permits on a loop of the test's."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.loop = loop = Loop()
        self.far = Far()
        self.windows = SharedWindows(alone=True)
        self.permits = Permits(loop, self.far, self.windows, b"p", "n")  # type: ignore[arg-type]  # enough of one
        self.permits.nodes = 2
        self.news = 0
        self.permits.on_news = self._count
        self.decided: list[Full | None] = []
        self.one = Account("token:1", 7, 10, 1000)
        self.one.part = (5, 500, -1)
        patch.setattr(clock, "monotonic_ms", lambda: 1 + int(self.loop.now * 1000))

    def _count(self) -> None:
        self.news += 1

    def ask(self, tokens: int = 10, *accounts: Account) -> Full | bool:
        found = self.permits.admit(accounts or (self.one,), tokens, self.decided.append)
        self.loop.tick()
        return found


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


def given(requests: int, tokens: int = 100, later_ms: int = 0) -> list[int]:
    return [GIVEN, requests, tokens, 0, 0, 0, later_ms, 0, 0]


def test_the_first_waits_for_one_answer_the_next_for_none(worker: Worker) -> None:
    assert worker.ask() is False
    assert worker.far.calls[0][0] == [b"p:nodes", b"p:7"]
    line = worker.far.answer(given(3))[0]
    assert (line[NEED], line[NEED_TOKENS], line[FEWEST], line[CELLS_SHOWN]) == (1, 10, 10, [])
    assert worker.decided == [None]
    assert [worker.ask() for _ in range(2)] == [True, True]
    assert worker.ask() is False


def test_many_at_once_are_one_call(worker: Worker) -> None:
    for _ in range(5):
        worker.permits.admit((worker.one,), 10, worker.decided.append)
    worker.loop.tick()
    assert len(worker.far.calls) == 1
    line = worker.far.answer(given(3, later_ms=30_000))[0]
    assert (line[NEED], line[NEED_TOKENS]) == (5, 50)
    assert worker.decided == [None, None, None, *[Full(worker.one, "requests", 30_000)] * 2]
    full = worker.ask()
    assert full == Full(worker.one, "requests", 30_000)  # it is not asked again at once
    assert not worker.far.calls
    worker.loop.advance(0.11)
    assert worker.ask() is False


def test_nobody_waits_longer_than_four_milliseconds(worker: Worker) -> None:
    assert worker.ask() is False
    worker.loop.advance(0.0039)
    assert worker.decided == []
    worker.loop.advance(0.0002)
    assert worker.decided == [None]  # its part
    worker.far.late = True
    assert worker.ask() is True  # at once
    assert worker.far.looks
    worker.far.answer(given(2))
    assert worker.decided == [None]
    assert worker.windows.used(worker.one) == (2, 20)


def test_who_waited_and_who_did_not_is_counted(worker: Worker) -> None:
    assert worker.ask() is False
    worker.far.answer(given(2))
    assert worker.ask() is True  # on a permit
    assert worker.permits.counters == {"redis_waits": 1, "redis_alone": 0}
    assert worker.ask() is False
    worker.loop.advance(0.0041)
    worker.far.late = True
    worker.ask()
    assert worker.permits.counters == {"redis_waits": 2, "redis_alone": 2}


def test_a_server_that_is_late_again_and_again_is_slow(worker: Worker) -> None:
    said: list[bool] = []
    for quarter in range(70):
        worker.far.late = quarter % 3 == 0 and quarter < 40
        if worker.ask(0) is False:
            worker.far.answer(given(1))
        worker.permits.tick()
        said.append(worker.permits.slow)
        worker.far.calls.clear()
        worker.loop.advance(0.25)
    first = said.index(True)
    assert 10 < first < 40  # not for one that is late now and then
    assert said[first:40] == [True] * (40 - first)
    assert not said[-1]


def test_a_server_that_is_away_is_not_called_slow(worker: Worker) -> None:
    worker.far.here, worker.far.late = False, True
    for _ in range(60):
        worker.ask(0)
        worker.permits.tick()
        assert not worker.permits.slow
        worker.loop.advance(0.25)


def test_away_the_part_holds(worker: Worker) -> None:
    worker.far.here, worker.far.late = False, True
    assert [worker.ask() is True for _ in range(7)] == [True] * 5 + [False] * 2
    worker.far.here, worker.far.late = True, False
    worker.permits.back()
    worker.permits.tick()
    line = worker.far.answer(given(5))[0]
    assert line[CELLS_SHOWN] == [[0, 5, 50]]  # the server hears what was used meanwhile


def test_a_connection_that_ends_decides(worker: Worker) -> None:
    assert worker.ask() is False
    worker.far.calls.pop(0)[2](RedisError("lost"))
    assert worker.decided == [None]


def test_others_come_first(worker: Worker) -> None:
    assert worker.ask() is False
    worker.far.answer([WAIT, 0, 0, 0, 5, 0, 0, 0, 1])
    assert worker.decided == [None]
    assert [worker.ask() is True for _ in range(5)] == [True] * 4 + [False]  # its part, without a question
    assert not worker.far.calls


def test_a_server_that_does_not_know_us_is_told_at_once(worker: Worker) -> None:
    assert worker.ask() is False
    worker.far.answer(given(1))
    assert worker.ask() is False
    first = worker.far.answer([JOIN, 0, 0, 0, 0, 0, 0, 0, 0])[0]
    assert first[4] == 0
    second = worker.far.answer(given(3, 200))[0]
    assert (second[4], second[NEED], second[CELLS_SHOWN]) == (1, 1, [[0, 1, 10]])
    assert worker.decided == [None, None]


def test_used_and_not_needed_is_told_every_quarter(worker: Worker) -> None:
    assert worker.ask() is False
    worker.far.answer(given(8, 1000))
    worker.loop.advance(0.25)
    worker.permits.tick()
    line = worker.far.answer(given(8, 1000))[0]
    assert line[5:8] == [8, 1, 3]  # used 1, which is 4 in a second: they are kept
    worker.permits.refund((worker.one,), worker.windows.cell, 7)
    worker.loop.advance(0.25)
    worker.permits.tick()
    line = worker.far.answer(given(8, 1000))[0]
    assert line[5:8] == [8, 1, 7]
    assert line[REFUNDS] == [[2, 7]]
    worker.permits.tick()
    keys, asked, _ = worker.far.calls.pop()
    assert (keys, asked) == ([b"p:nodes"], ["n", 2, []])  # a sign of life, no more


def test_what_an_answer_used_beyond_its_reserve_is_told_soon(worker: Worker) -> None:
    """Also where nothing else is asked here any more: the other nodes have that much less."""
    assert worker.ask() is False
    worker.far.answer(given(1, 10))
    worker.permits.tick()
    worker.far.answer(given(1, 10))
    assert not worker.permits._active
    worker.windows.leave((worker.one,), worker.windows.cell, 700)
    worker.permits.refund((worker.one,), worker.windows.cell, -700)
    worker.permits.tick()
    [line] = worker.far.calls[-1][1][2]
    assert line[9] == 710
    assert not line[REFUNDS]


def test_permits_are_fetched_before_they_are_used_up(worker: Worker) -> None:
    assert worker.ask() is False
    worker.far.answer(given(8, 1000))
    for _ in range(3):
        assert worker.ask() is True
        assert not worker.far.calls
    assert worker.ask() is True
    line = worker.far.calls[0][1][2][0]
    assert line[NEED] == 0
    assert line[WANT] > 0


def test_accounts_that_nobody_uses_are_forgotten(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.ask() is False
    worker.far.answer(given(1))
    for _ in range(4):
        worker.permits.tick()
        worker.far.answer(*[given(1)] * len(worker.far.calls[0][1][2]))
    for _ in range(3):
        worker.loop.advance(61)
        worker.permits.tick()
        worker.far.calls.clear()
    assert not worker.permits._standings


def test_a_call_is_short(worker: Worker) -> None:
    many = [Account(str(key), key, 10) for key in range(1, 40)]
    assert worker.ask(10, *many) is False
    sizes = [len(asked[2]) for _, asked, _ in worker.far.calls]
    assert sizes == [permits.AT_ONCE, permits.AT_ONCE, 39 - 2 * permits.AT_ONCE]
    for size in sizes[:-1]:
        worker.far.answer(*[given(1)] * size)
    assert worker.decided == []
    worker.far.answer(*[given(1)] * sizes[-1])
    assert worker.decided == [None]


def test_what_was_not_used_is_forgotten_with_its_window(worker: Worker) -> None:
    """However long nobody can be told."""
    worker.far.here, worker.far.late = False, True
    for _ in range(300):
        worker.permits.refund((worker.one,), worker.windows.cell, 7)
        worker.windows.cell = clock.monotonic_ms() // CELL_MS
        worker.loop.advance(1)
        worker.permits.tick()
    [standing] = worker.permits._standings.values()
    assert len(standing.refunds) <= 2 * 61
