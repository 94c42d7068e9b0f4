"""A node's permits: needed by every request, worthless after a while, and what is done without a server."""

from __future__ import annotations

from burncloud import clock
from burncloud.wire import permits
from burncloud.wire.permits import FRESH_MS, HURRY_MS, SETTLED_MS, VALID_MS, SharedWindows
from burncloud.wire.windows import CELL_MS, WINDOW_MS, Account, Full
from tests.unit.wire.conftest import Clock

KEEP_ALL = (1 << 40, 1 << 40, 1 << 40)


def account(nodes: int = 2, requests: int = 10, tokens: int = -1, places: int = -1) -> Account:
    made = Account("token:1", 7, requests, tokens, places)
    made.part = (requests // nodes, tokens // nodes if tokens >= 0 else -1, places // nodes if places >= 0 else -1)
    return made


def give(
    table: SharedWindows, one: Account, requests: int, tokens: int = 0, places: int = 0, room: int = 0, nodes: int = 2
) -> None:
    """The server's answer: so many in all."""
    if one.slot < 0:
        assert table.claim([one], 0) == [one]
    report = table.report(one, KEEP_ALL)
    assert report is not None
    table.receive(one, report.birth, (requests, tokens, places), (room, room), clock.monotonic_ms())


def test_each_request_takes_a_permit(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account(tokens=100, places=3)
    give(table, one, 2, 50, 3)
    assert table.claim([one], 30) is None
    assert table.claim([one], 30) == [one]  # too few tokens
    assert table.claim([one], 20) is None
    assert table.held(one) == (0, 0)
    assert table.used(one) == (2, 50)


def test_in_all_accounts_or_in_none(now: Clock) -> None:
    table, rich, poor = SharedWindows(alone=True), account(), Account("user:1", 8, requests=5)
    give(table, rich, 5)
    assert table.claim([rich, poor], 0) == [poor]
    assert table.held(rich) == (5, 0)


def test_a_place_is_free_again_when_its_request_ends(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account(requests=-1, places=4)
    give(table, one, 0, 0, 1)
    assert table.claim([one], 0) is None
    assert table.claim([one], 0) == [one]
    now.now_ms += 1_000
    give(table, one, 0, 0, 1)
    table.leave([one], table.cell, 0)
    assert table.claim([one], 0) is None


def test_permits_run_out(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account()
    give(table, one, 5)
    now.now_ms += VALID_MS
    assert table.claim([one], 0) == [one]
    report = table.report(one, KEEP_ALL)
    assert report is not None
    assert report.counts[:3] == [5, 0, 5]  # worthless: given back
    assert report.cells == []


def test_what_is_not_kept_is_given_back_once(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account(tokens=1000, places=9)
    give(table, one, 5, 500, 4)
    assert table.claim([one], 100) is None
    for _ in range(2):
        report = table.report(one, (1, 50, 0))
        assert report is not None
        assert report.counts == [5, 1, 3, 500, 100, 350, 4, 3, 1]
    assert table.held(one) == (1, 50)
    assert not table.resting(one)


def test_the_server_is_shown_our_window(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account(tokens=1000)
    give(table, one, 5, 500)
    assert table.claim([one], 100) is None
    now.now_ms += 4 * CELL_MS
    assert table.claim([one], 50) is None
    assert table.joins(one) == 0
    report = table.report(one, KEEP_ALL)
    assert report is not None
    assert report.cells is None
    table.forget(one, report.birth)
    again = table.report(one, KEEP_ALL)
    assert again is not None
    assert again.cells == [(0, 1, 50), (4, 1, 100)]
    table.joined(one, again.birth)
    table.joined(one, 12345)
    assert table.joins(one) == 1


def test_more_tokens_than_were_put_down(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account(tokens=1000)
    give(table, one, 5, 500)
    assert table.claim([one], 100) is None
    table.leave([one], table.cell, 30)
    assert table.used(one) == (1, 130)
    table.leave([one], table.cell, -30)
    assert table.used(one) == (1, 130)  # less is another matter: it is told by its age


def test_answers_for_another_slot_are_not_taken(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account()
    give(table, one, 1)
    table.receive(one, 12345, (9, 9, 9), (0, 0), now.now_ms)
    table.forget(one, 12345)
    assert table.held(one) == (1, 0)
    assert table.claim([one], 0) is None


def test_alone_a_node_has_its_part(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account()
    assert [table.alone([one], 0, True, 2) for _ in range(5)] == [None] * 5
    full = table.alone([one], 0, True, 2)
    assert full is not None
    assert (full.what, full.retry_ms // 1000) == ("requests", 60)
    whole = account(nodes=1)
    whole.key = 8
    assert [table.alone([whole], 0, True, 1) is None for _ in range(11)] == [True] * 10 + [False]


def test_alone_for_one_window_no_more_than_it_had(now: Clock) -> None:
    """It had 2 of 10 while the others had 8: it keeps to 2, and after a window has its part."""
    table, one = SharedWindows(alone=True), account()
    give(table, one, 2)
    assert table.claim([one], 0) is None
    assert table.alone([one], 0, True, 2) is None  # the permit that it still has
    assert table.alone([one], 0, True, 2) is not None
    now.now_ms += SETTLED_MS
    assert [table.alone([one], 0, True, 2) is None for _ in range(6)] == [True] * 5 + [False]


def test_alone_it_gets_its_part_of_what_was_free(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account()
    give(table, one, 1, room=6)
    assert [table.alone([one], 0, True, 2) is None for _ in range(5)] == [True] * 4 + [False]
    stale, other = account(), SharedWindows(alone=True)
    give(other, stale, 1)
    now.now_ms += FRESH_MS + VALID_MS
    assert [other.alone([stale], 0, True, 2) is None for _ in range(6)] == [True] * 5 + [False]


def test_while_the_server_is_only_late_permits_decide(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account()
    give(table, one, 1, room=6)
    assert table.alone([one], 0, False, 2) is None
    assert table.alone([one], 0, False, 2) == Full(one, "requests", HURRY_MS)
    assert table.alone([one], 0, False, 1) is None  # there is nobody to share with


def test_what_is_left_of_the_whole(now: Clock) -> None:
    table, one = SharedWindows(alone=True), account(tokens=1000)
    give(table, one, 2, 100, room=3)
    assert table.left(one) == (5, 103, -1)
    now.now_ms += VALID_MS
    assert table.left(one) == (5, 500, -1)  # alone it has its part
    assert table.alone([one], 50, True, 2) is None
    assert table.left(one) == (2, 51, -1)  # and of that, for a window, what it had and its part of what was free


def test_what_is_used_later_is_told_when_it_is_used(now: Clock) -> None:
    """What had been reserved for it is a refund."""
    table, one = SharedWindows(alone=True), account(tokens=1000)
    give(table, one, 2, 100)
    assert table.claim([one], 100) is None
    cell = table.cell
    now.now_ms += 1_000
    table.spend([one], cell, 100, 130)
    assert table.used(one) == (1, 230)
    report = table.report(one, KEEP_ALL)
    assert report is not None
    assert table._cells(one.slot, now.now_ms // 250) == [(0, 0, 130), (4, 1, 0)]


def test_a_limit_of_nothing_and_a_request_larger_than_all(now: Clock) -> None:
    table = SharedWindows(alone=True)
    none, small = Account("a", 1, requests=0), Account("b", 2, tokens=10)
    assert table.claim([none], 0) == Full(none, "requests", -1)
    assert table.claim([small], 11) == Full(small, "tokens", -1)
    assert table.claim([Account("c", 3, concurrency=0)], 0)[2] == -1  # type: ignore[index]  # it is full
    halved = account(requests=1)
    full = table.alone([halved], 0, True, 2)
    assert full is not None
    assert full.retry_ms == WINDOW_MS


def test_permits_are_worthless_here_before_they_are_there() -> None:
    assert permits.VALID_MS < 2_000  # GONE, in router/permit_script.py
