"""A request body: in memory, in a file, and the line of those who wait for room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.wire.body import LARGE_BYTES, PARTS_MAX, PIECE_BYTES, SPOOL_FROM, Body, Budget, _closer

MIB = 1 << 20


def test_memory() -> None:
    """Below the bound it is held as it came."""
    body = Body()
    assert body.whole() == b""
    for piece in (b"ab", b"c", b"def"):
        body.add(piece)
    assert (body.size, body.spooled, body.whole()) == (6, False, b"abcdef")
    one = b"x" * 1000
    body = Body()
    body.add(one)
    assert body.whole() is one, "a body in one piece is not copied"
    body.replace(b"other")
    assert (body.size, body.whole()) == (5, b"other")
    body.close()
    assert body.whole() == b""


def test_crumbs_are_joined() -> None:
    """The number of pieces in memory is bounded."""
    body = Body()
    for n in range(10 * PARTS_MAX):
        body.add(bytes([n % 256]))
        assert len(body._parts) <= PARTS_MAX
    assert body.whole() == bytes(n % 256 for n in range(10 * PARTS_MAX))


@pytest.mark.parametrize("step", [1000, 65_536, SPOOL_FROM, SPOOL_FROM + 1, 3 * MIB])
def test_spool(step: int) -> None:
    """Above it, in an unlinked file: nothing in memory, nothing in the folder."""
    data = os.urandom(3 * MIB)
    body = Body()
    for at in range(0, len(data), step):
        body.add(data[at : at + step])
        assert body.spooled is (body.size > SPOOL_FROM)
    assert body._parts == []
    assert os.fstat(body._fd).st_nlink == 0
    assert b"".join(body.pieces()) == data
    assert max(map(len, body.pieces())) == PIECE_BYTES
    assert b"".join(body.pieces(5, 700_000)) == data[5:700_000]
    assert list(body.pieces(9, 9)) == []
    assert body.read(100, 50) == data[100:150]
    body.close()
    assert not body.spooled
    body.close()


def test_a_spool_that_ends_early() -> None:
    """Somebody cut the file: an error, not a short request."""
    body = Body()
    body.add(b"x" * (2 * MIB))
    os.ftruncate(body._fd, MIB)
    with pytest.raises(OSError, match="ends early"):
        list(body.pieces())
    body.close()


def test_nothing_is_left_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the body lives."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    body = Body()
    body.add(b"x" * (2 * MIB))
    assert list(tmp_path.iterdir()) == []
    body.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 300), st.binary(max_size=9)), max_size=5))
def test_spliced(edits: list[tuple[int, int, bytes]]) -> None:
    """Cuts replace exactly their spans, in any number, at either end."""
    data = bytes(range(256)) * 8192
    body = Body()
    body.add(data)
    cuts: list[tuple[int, int, bytes]] = []
    pos = 0
    for gap, width, new in edits:
        cuts.append((pos + gap, pos + gap + width, new))
        pos += gap + width
    expected = data
    for start, end, new in reversed(cuts):
        expected = expected[:start] + new + expected[end:]
    assert b"".join(body.spliced(cuts)) == expected
    body.close()


# Budgets


def test_first_come_first_served() -> None:
    """Who waits, waits in order; nobody slips past him."""
    budget = Budget(100)
    let_in: list[str] = []
    assert budget.take(60)
    budget.wait(50, lambda: let_in.append("large"))
    assert not budget.take(10)
    budget.wait(10, lambda: let_in.append("small"))
    budget.give(5)
    assert let_in == []
    budget.give(55)
    assert let_in == ["large", "small"]
    assert budget.free == 40
    assert budget.take(40)
    assert not budget.take(1)


def test_giving_up() -> None:
    """A place in the line that is given up is the next one's."""
    budget = Budget(100)
    let_in: list[str] = []
    assert budget.take(60)
    give_up = budget.wait(90, lambda: let_in.append("large"))
    budget.wait(40, lambda: let_in.append("small"))
    give_up()
    assert let_in == ["small"]
    give_up()
    assert (budget.free, len(budget.waiting)) == (0, 0)


def test_who_gives_back_at_once() -> None:
    """However many do, one after the other: no recursion, nothing lost."""
    budget = Budget(100)
    served = 0

    def ready() -> None:
        nonlocal served
        served += 1
        budget.give(100)

    assert budget.take(100)
    for _ in range(5000):
        budget.wait(100, ready)
    budget.give(100)
    assert (served, budget.free) == (5000, 100)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["want", "give", "leave"]), st.integers(0, 120)), max_size=80))
def test_the_budget_adds_up(steps: list[tuple[str, int]]) -> None:
    """What is taken and what is free is the total, in any order of events; nobody is kept waiting who would fit."""
    budget = Budget(100)
    held: list[int] = []
    waiting: list[tuple[int, object]] = []
    for step, value in steps:
        if step == "want":
            amount = value % 101
            if budget.take(amount):
                held.append(amount)
            else:
                entry: list[object] = []

                def ready(amount: int = amount, entry: list[object] = entry) -> None:
                    waiting[:] = [w for w in waiting if w[1] is not entry[0]]
                    held.append(amount)

                entry.append(budget.wait(amount, ready))
                waiting.append((amount, entry[0]))
        elif step == "give" and held:
            budget.give(held.pop(value % len(held)))
        elif step == "leave" and waiting:
            _, leave = waiting.pop(value % len(waiting))
            leave()  # type: ignore[operator]
        assert budget.free + sum(held) == 100
        assert len(budget.waiting) == len(waiting)
        assert not waiting or waiting[0][0] > budget.free


def test_a_large_file_is_closed_beside() -> None:
    """That takes the system milliseconds; it is closed all the same."""
    body = Body()
    body.add(bytes(LARGE_BYTES))
    fd = body._fd
    body.close()
    assert not body.spooled
    _closer.submit(int).result(10)  # behind the close: one thread does them in order
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
