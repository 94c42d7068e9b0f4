"""Limits at the door and at the choice, and the lines in which requests wait."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from burncloud.domain import link
from burncloud.domain.snapshot import Limit, Token
from burncloud.router import limits as module
from burncloud.router.permits import Permits
from burncloud.wire import windows
from burncloud.wire.permits import SharedWindows
from burncloud.wire.windows import Account
from tests.dialogue import MODEL, Client, Dialogue, channels
from tests.speech import answer, chat, chunk, completion, delta, post, problem, stream_head
from tests.unit.router.test_permits import Far, given

WINDOW_S = 60.25
OTHER_KEY = "sk-other"
OTHER = Token(2, hashlib.sha256(OTHER_KEY.encode()).digest(), 1)


def ask(d: Dialogue, key: str = "", **fields: Any) -> Client:
    """A request on a connection of its own."""
    client = d.client()
    request = post(chat(**fields))
    client >> (request.replace(b"sk-test", key.encode()) if key else request)
    return client


def served(d: Dialogue, client: Client, output: int = 20) -> bool:
    """Whether it gets an answer from an upstream (True), else a 429."""
    if not d.silent:
        d.upstream() << answer(completion(output=output))
    status = client.answer().status
    assert status in (200, 429)
    return status == 200


def flying(d: Dialogue, name: str, what: int = windows.FLYING) -> int:
    """Concurrent requests (or `what`) that are counted for this."""
    limits = d.gateway.limits
    return limits.windows.words[limits._accounts[name].slot + what]


def test_each_kind_of_thing_has_its_limit() -> None:
    for name in ("token:1", "user:1", "group:default", f"model:{MODEL}"):
        with Dialogue() as d:
            d.put("limit", Limit(name, 2), Limit("token:7", 0), Limit("model:other", 0))
            assert [served(d, ask(d)) for _ in range(3)] == [True, True, False]
            d.later(WINDOW_S)
            assert served(d, ask(d))


def test_what_a_refused_client_is_told() -> None:
    with Dialogue() as d:
        d.put("limit", Limit("token:1", 1, 100_000), Limit("user:1", 50))
        first, second = ask(d), None
        assert served(d, first)
        told = first.answers()[0]
        assert told.field("x-ratelimit-limit-requests") == "1"
        assert told.field("x-ratelimit-remaining-requests") == "0"
        assert told.field("x-ratelimit-reset-requests") == "60s"
        assert told.field("x-ratelimit-limit-tokens") == "100000"
        assert 90_000 < int(told.field("x-ratelimit-remaining-tokens")) < 100_000
        d.later(20)
        second = ask(d)
        refused = second.answer()
        assert refused.status == 429
        assert b'"code":"rate_limit_exceeded"' in refused.body
        assert 39 <= int(refused.field("retry-after")) <= 41
        assert refused.field("x-ratelimit-remaining-requests") == "0"
        d.later(int(refused.field("retry-after")))
        assert served(d, ask(d))


def test_tokens_count_as_reserved_and_then_as_used() -> None:
    with Dialogue() as d:
        d.put("limit", Limit("token:1", tokens=2_000))
        first = ask(d, max_tokens=1_500)
        assert ask(d, max_tokens=1_500).answer().status == 429  # while the first is under way
        d.upstream() << answer(completion(prompt=10, output=40))
        assert first.answer().status == 200
        assert served(d, ask(d, max_tokens=1_500))
        alone = ask(d, max_tokens=2_100).answer()
        assert (alone.status, alone.field("retry-after")) == (429, "")
        assert b"alone" in alone.body


def test_a_failed_request_used_no_tokens() -> None:
    with Dialogue() as d:
        d.put("limit", Limit("token:1", tokens=2_000))
        client = ask(d, max_tokens=1_500)
        d.upstream() << problem(500)
        assert client.answer().status == 503
        d.later(5)
        assert served(d, ask(d, max_tokens=1_500))


def test_concurrent_requests_end_in_every_way() -> None:
    with Dialogue() as d:
        d.put("limit", Limit("user:1", concurrency=1))
        client = ask(d)
        assert ask(d).answer().status == 429
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        client = ask(d)
        d.upstream()
        client.hang_up()
        client = ask(d)
        d.upstream() << problem(400)
        assert client.answer().status == 400
        assert served(d, ask(d))


def test_limits_change_at_once() -> None:
    with Dialogue() as d:
        d.put("limit", Limit("token:1", 1))
        assert [served(d, ask(d)) for _ in range(2)] == [True, False]
        d.put("limit", Limit("token:1", 2))
        assert [served(d, ask(d)) for _ in range(2)] == [True, False]
        d.gateway.world.drop(link.Drop("limit", ["token:1"]))
        assert served(d, ask(d))


def test_a_full_channel_is_not_chosen() -> None:
    with Dialogue(channels(2)) as d:
        d.put("limit", Limit("channel:1", 1))
        for _ in range(5):
            assert served(d, ask(d))
        assert [end.channel for end in d.receipts()].count(1) == 1
        d.later(WINDOW_S + 0.5)
        for _ in range(4):
            assert served(d, ask(d))
        assert [end.channel for end in d.receipts()].count(1) == 2


def test_all_channels_full_for_longer_than_anybody_waits() -> None:
    with Dialogue(channels(2)) as d:
        d.put("limit", Limit("channel:1", 1), Limit("channel:2", 1))
        assert [served(d, ask(d)) for _ in range(2)] == [True, True]
        refused = ask(d).answer()
        assert (refused.status, refused.field("retry-after")) == (429, "61")


@pytest.mark.parametrize("nothing", [Limit("channel:1", 0), Limit("channel:1", concurrency=0)])
def test_for_a_channel_that_takes_nothing_nobody_waits(nothing: Limit) -> None:
    with Dialogue() as d:
        d.put("limit", nothing)
        assert ask(d).answer().status == 429
        assert not d.gateway.limits.waiting


def test_requests_wait_for_a_place_and_tokens_take_turns() -> None:
    with Dialogue() as d:
        d.put("token", OTHER)
        d.put("limit", Limit("channel:1", concurrency=1))
        first = ask(d)
        up = d.upstream()
        greedy = [ask(d) for _ in range(3)]
        modest = [ask(d, OTHER_KEY)]
        assert d.gateway.limits.waiting == 4
        order = []
        up << answer(completion())
        assert first.answer().status == 200
        for _ in range(4):
            d.upstream() << answer(completion())
            done = [c for c in greedy + modest if c not in order and c.answers()]
            order += done
            assert len(done) == 1
        assert order.index(modest[0]) == 1
        assert d.gateway.limits.waiting == 0


def test_a_wait_ends() -> None:
    with Dialogue(queue_wait_ms="2000") as d:
        d.put("limit", Limit("channel:1", concurrency=1))
        first, waiting, gone = ask(d), ask(d), ask(d)
        up = d.upstream()
        gone.hang_up()
        d.later(1.5)
        assert waiting.quiet
        d.later(1)
        assert waiting.answer().status == 429
        assert d.gateway.limits.waiting == 0
        up << answer(completion())
        assert first.answer().status == 200


def test_lines_are_bounded_and_the_longest_gives_way() -> None:
    with Dialogue(queue_max="3") as d:
        d.put("token", OTHER)
        d.put("limit", Limit("channel:1", concurrency=1))
        first = ask(d)
        up = d.upstream()
        greedy = [ask(d) for _ in range(5)]
        assert [len(c.answers()) for c in greedy] == [0, 0, 0, 1, 1]
        modest = ask(d, OTHER_KEY)
        assert [len(c.answers()) for c in greedy] == [0, 0, 1, 1, 1]
        assert modest.quiet
        up << answer(completion())
        assert first.answer().status == 200
        for _ in range(3):
            d.upstream() << answer(completion())
        assert modest.answer().status == 200


def test_a_request_without_limits_pays_for_none() -> None:
    with Dialogue() as d:
        assert served(d, ask(d))
        assert d.gateway.limits._windows is None
        d.put("limit", Limit("token:7", 1))
        assert served(d, ask(d))
        assert not d.gateway.limits.windows.words[windows.USED]


def test_what_was_worked_out_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "RESOLVED_MAX", 2)
    with Dialogue() as d:
        d.put("limit", Limit("token:1", 100))
        d.put("token", OTHER)
        for key in ("", OTHER_KEY, "", OTHER_KEY):
            assert served(d, ask(d, key))
        assert len(d.gateway.limits._resolved) <= 2


def shared(d: Dialogue) -> Far:
    """The limits are those of two nodes, and this is their server."""
    far, windows = Far(), SharedWindows(alone=True)
    limits = d.gateway.limits
    limits._permits = permits = Permits(d.loop, far, windows, b"p", "n")  # type: ignore[arg-type]  # enough of a loop
    limits._windows, permits.on_news, limits._seen = windows, limits._news, -1
    return far


def test_a_server_is_greeted_with_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it refuses of that it would refuse of requests: it is away then."""
    made: list[Any] = []

    class Server(Far):
        def __init__(self, *_: Any) -> None:
            super().__init__()
            made.append(self)

        def start(self) -> None:
            pass

    monkeypatch.setattr(module, "Redis", Server)
    with Dialogue(redis_url="redis://cache") as d:
        d.gateway.limits.join("ledger", "here")
        [server] = made
        keys, argument = server.hello()
        assert keys == [b"burncloud:{ledger}:nodes"]
        assert msgspec.msgpack.decode(argument) == ["here", 1, []]


def test_permits_are_waited_for_at_the_door() -> None:
    with Dialogue() as d:
        far = shared(d)
        d.put("limit", Limit("token:1", 1, whole=(2, -1, -1), nodes=2))
        client = ask(d)
        assert d.silent
        far.answer(given(1, 0))
        d.loop.tick()
        assert served(d, client)
        assert client.answers()[0].field("x-ratelimit-limit-requests") == "2"
        refused = ask(d)
        far.answer(given(1, 0, later_ms=30_000))
        told = refused.answer()
        assert (told.status, told.field("retry-after")) == (429, "30")
        assert told.field("x-ratelimit-remaining-requests") == "0"


def test_other_nodes_hear_of_an_answer_longer_than_its_reserve() -> None:
    with Dialogue() as d:
        far = shared(d)
        d.put("limit", Limit("token:1", tokens=500, whole=(-1, 1_000, -1), nodes=2))
        client = ask(d)
        [(_, (_, _, [line]), _)] = far.calls
        far.answer(given(0, line[16]))
        d.loop.tick()
        limits = d.gateway.limits
        assert limits._permits is not None
        limits._permits._active.clear()  # as after a while in which nothing is asked
        assert served(d, client, output=10_000)
        limits._permits.tick()
        [told] = far.calls[-1][1][2]
        assert told[9] > 10_000


def test_who_leaves_while_waiting_for_permits_takes_no_place() -> None:
    with Dialogue() as d:
        far = shared(d)
        d.put("limit", Limit("token:1", concurrency=2, whole=(-1, -1, 4), nodes=2))
        client = ask(d)
        client.hang_up()
        far.answer([0, 0, 0, 1, 0, 0, 0, 0, 0])
        d.loop.tick()
        assert d.silent
        account = d.gateway.limits._accounts["token:1"]
        assert d.gateway.limits.windows.left(account)[2] == 4


def test_without_an_answer_the_node_s_part_holds() -> None:
    with Dialogue() as d:
        far = shared(d)
        d.put("limit", Limit("token:1", 1, whole=(2, -1, -1), nodes=2))
        client = ask(d)
        d.later(0.005)
        assert served(d, client)
        far.late = True
        assert ask(d).answer().status == 429


def test_a_channel_waits_for_permits_too() -> None:
    with Dialogue() as d:
        far = shared(d)
        d.put("limit", Limit("channel:1", 5, whole=(10, -1, -1), nodes=2))
        client = ask(d)
        assert d.silent
        far.answer(given(1, 0))
        d.loop.tick()
        assert served(d, client)


def test_a_server_that_goes_comes_and_is_slow_is_told_once_each(monkeypatch: Any) -> None:
    with Dialogue() as d:
        shared(d)
        limits = d.gateway.limits
        told: list[tuple[int, int, int]] = []
        limits.on_change = lambda: told.append(
            tuple(limits.counters[name] for name in ("redis_away", "redis_slow", "redis_lost"))  # type: ignore[arg-type]
        )
        limits._server_changed("it is gone")
        limits._server_changed("")
        assert limits._permits is not None
        for slow in (True, True, False):
            monkeypatch.setattr(limits._permits, "slow", slow)
            monkeypatch.setattr(limits._permits, "tick", lambda: None)
            limits.tick(0.0)
        assert told == [(1, 0, 1), (0, 0, 1), (0, 1, 1), (0, 0, 1)]


def test_a_place_that_another_worker_freed_is_soon_seen() -> None:
    with Dialogue() as d:
        d.put("limit", Limit("channel:1", concurrency=1))
        limits = d.gateway.limits
        first = ask(d)
        up = d.upstream()
        waiting = ask(d)
        assert limits.waiting == 1
        account = limits.channels[1]
        limits.windows.leave((account,), limits.windows.cell, 0)  # as if it had been another worker's
        d.later(0.011)
        assert limits.waiting == 0
        d.upstream() << answer(completion())
        assert waiting.answer().status == 200
        up << answer(completion())
        assert first.answer().status == 200
        d.later(0.02)
        assert not limits._queued


def test_what_dead_workers_had_under_way_is_over_before_anybody_asks(tmp_path: Path) -> None:
    with (tmp_path / "shared").open("w+b") as file, Dialogue() as d:
        limits, account = d.gateway.limits, Account("user:1", 1, concurrency=9)
        mine, other = windows.Windows(file.fileno(), 0), windows.Windows(file.fileno(), 3)
        for table in (mine, other):  # a predecessor of ours, and one that has no successor
            assert table.admit([account], 0) is None
        limits.share(file.fileno(), 0)
        d.put("limit", Limit("user:1", concurrency=9))
        limits.tick(0.0)
        assert other.left(account)[2] == 8
        limits.bury({3})
        assert other.left(account)[2] == 9


def busy(after_s: int = 1) -> bytes:
    """A channel's own 429."""
    return problem(429).replace(b"\r\n", b"\r\nRetry-After: %d\r\n" % after_s, 1)


def test_channels_that_all_rest_for_a_moment_are_waited_for() -> None:
    """Each has said 429: who comes now waits in line, and nobody asks them before."""
    with Dialogue(channels(2), retry_same_ms="500") as d:
        first = ask(d)
        d.upstream() << busy()
        d.upstream() << busy()
        second = ask(d)
        assert second.quiet
        assert d.gateway.limits.waiting == 1
        d.later(0.5)
        assert d.silent
        d.later(1)
        for _ in range(2):
            d.upstream() << answer(completion())
        assert (first.answer().status, second.answer().status) == (200, 200)
        assert d.gateway.limits.waiting == 0


def test_channels_that_rest_for_long_are_not() -> None:
    with Dialogue(channels(1), queue_wait_ms="2000") as d:
        first = ask(d)
        d.upstream() << busy(30)
        assert first.answer().status == 429
        told = ask(d).answer()
        assert told.status == 429
        assert 25 <= int(told.field("retry-after")) <= 30


@pytest.mark.parametrize("most", [1, 5])
def test_who_waits_for_a_channel_that_rests_has_no_place_there(most: int) -> None:
    """Else it would wait for its own, or leave one behind."""
    with Dialogue(queue_wait_ms="20000") as d:
        d.put("limit", Limit("channel:1", concurrency=most))
        client = ask(d)
        d.upstream() << busy(6)
        assert flying(d, "channel:1") == 0
        d.later(9)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert flying(d, "channel:1") == 0


def test_who_left_stands_in_no_line() -> None:
    """Nor does he count for its length."""
    with Dialogue(queue_max="5") as d:
        d.put("limit", Limit("channel:1", concurrency=1))
        ask(d)
        first = ask(d)
        for _ in range(4):
            ask(d).hang_up()
        assert d.gateway.limits.waiting == 1
        newcomers = [ask(d) for _ in range(5)]
        assert [bool(one.received) for one in (first, *newcomers)] == [False] * 5 + [True]


def test_where_no_account_has_room_a_channel_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of limits more are in use than the table holds: others are asked, or it is waited for; the lines go on."""
    monkeypatch.setattr(windows, "SLOTS", 1)
    with Dialogue(channels(2), queue_wait_ms="2000") as d:
        d.put("limit", Limit("token:1", 100), Limit("channel:1", concurrency=5))
        for _ in range(3):
            assert served(d, ask(d))
        d.put("limit", Limit("channel:2", concurrency=5))
        waiting = ask(d)
        assert waiting.quiet
        d.later(3)
        assert waiting.answer().status == 429
        waiting = ask(d)
        d.gateway.world.drop(link.Drop("limit", ["channel:2"]))
        d.later(0.5)
        assert served(d, waiting)


def test_a_channel_that_is_changed_serves_those_who_waited_for_it() -> None:
    with Dialogue() as d:
        d.put("limit", Limit("channel:1", concurrency=1))
        first = ask(d)
        up = d.upstream()
        waiting = ask(d)
        d.put("channel", *channels(1, weight=7))
        up << answer(completion())
        assert first.answer().status == 200
        d.later(0.5)
        assert served(d, waiting)


def test_a_channel_whose_stream_broke_has_read_the_prompt() -> None:
    """Another goes on; what is counted at the first is no reserve any more."""
    with Dialogue(channels(2)) as d:
        d.put("limit", Limit("channel:1", tokens=100_000))
        ask(d, stream=True)
        up = d.upstream()
        [x] = d.gateway.live
        assert flying(d, "channel:1", windows.TOKENS) > x.prompt
        up << stream_head() + chunk(delta("", role="assistant") + delta("Hi"))
        up.reset()
        d.upstream()
        assert flying(d, "channel:1", windows.TOKENS) == x.prompt > 0
