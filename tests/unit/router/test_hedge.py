"""A second request where the first is slow to begin: who wins, who pays, what the row says."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from burncloud.domain.journal import Again
from burncloud.domain.money import RATIO_ONE
from burncloud.domain.snapshot import Group, Limit, Setting
from burncloud.wire.pool import FULL
from burncloud.wire.windows import TOKENS
from tests.dialogue import MODEL, Client, Dialogue, UpstreamEnd, channels
from tests.speech import DONE, LAST, answer, chat, chunk, completion, delta, post, problem, stream_head, usage_chunk
from tests.unit.router.test_limits import flying

STOP = delta("", finish="stop")
AFTER = "1000"


def raced(
    d: Dialogue, stream: bool = False, path: str = "/v1/chat/completions"
) -> tuple[Client, UpstreamEnd, UpstreamEnd]:
    """A request that two channels have."""
    client = d.client()
    client >> post(chat(stream=stream), path)
    first = d.upstream()
    d.later(0.6)
    assert d.silent
    d.later(0.8)
    second = d.upstream()
    assert second.origin is not first.origin
    assert second.request.body == first.request.body
    return client, first, second


def sends(d: Dialogue) -> list[tuple[int, int, str, int]]:
    [end] = d.receipts()
    return [(a.n, a.channel, a.reason, a.sent) for a in end.attempts]


def test_the_second_wins() -> None:
    """Its answer is the client's; the first is cut off, and costs the house something, the client nothing."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client, first, second = raced(d)
        second << answer(completion("second"))
        heard = client.answer()
        assert heard.body == completion("second")
        assert heard.field("x-burncloud-channel") == "ch_2"
        assert first.wire.aborted
        assert sends(d) == [(1, 1, "first", 1), (2, 2, "hedge", 1)]
        [end] = d.receipts()
        assert (end.channel, end.charge) == (2, 1_500_000)
        assert [a.charge for a in end.attempts] == [0, end.charge]
        assert end.attempts[0].cost > 0 == end.attempts[1].cost
        assert [(r.n, r.reason) for r in d.written() if isinstance(r, Again)] == [(2, "hedge")]
        assert not d.gateway.health.resting


def test_a_loser_costs_what_its_channel_takes() -> None:
    """Not what a client of this group would have paid for it."""
    costs: list[int] = []
    for options, ratio in (({}, RATIO_ONE), ({"cost": {"gpt-*": "0.5"}}, 3 * RATIO_ONE)):
        with Dialogue(channels(2, options=options), hedge_after_ms=AFTER) as d:
            d.put("group", Group("default", ratio))
            client, _, second = raced(d)
            second << answer(completion("second"))
            client.answer()
            costs.append(d.receipts()[0].attempts[0].cost)
    assert costs[0] == 2 * costs[1] > 0


def test_the_first_wins_after_all() -> None:
    """The other is the loser, then."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client, first, second = raced(d)
        first << answer(completion("first"))
        assert client.answer().body == completion("first")
        assert second.wire.aborted
        assert sends(d) == [(1, 1, "first", 1), (2, 2, "hedge", 1)]
        [end] = d.receipts()
        assert (end.channel, [a.charge > 0 for a in end.attempts]) == (1, [True, False])
        assert end.attempts[1].cost > 0
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200


@pytest.mark.parametrize("winner", [0, 1])
def test_a_stream_is_won_by_its_first_content(winner: int) -> None:
    """A head and signs of life win nothing; the loser's bytes never show."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client, *ends = raced(d, stream=True)
        for one in ends:
            one << stream_head() + chunk(b": ping\n\n" + delta("", role="assistant"))
        assert client.received == b""
        ends[winner] << chunk(delta(f"from {winner}"))
        assert ends[1 - winner].wire.aborted
        ends[winner] << chunk(delta("!") + STOP + usage_chunk() + DONE) + LAST
        body = client.answer().body
        assert body.count(b": ping") == 1
        assert f"from {winner}".encode() in body
        [end] = d.receipts()
        assert (end.state, end.channel, end.usage.output) == ("done", winner + 1, 20)


def test_a_head_and_signs_of_life_are_no_beginning() -> None:
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client = d.client()
        client >> post(chat(stream=True))
        first = d.upstream()
        first << stream_head() + chunk(b": ping\n\n" + delta("", role="assistant"))
        d.later(0.6)
        assert d.silent
        d.later(0.8)
        d.upstream() << stream_head() + chunk(delta("Hi") + STOP + usage_chunk() + DONE) + LAST
        assert b"Hi" in client.answer().body
        assert first.wire.aborted
        assert sends(d) == [(1, 1, "first", 1), (2, 2, "hedge", 1)]
        assert [bool(a.cost) for a in d.receipts()[0].attempts] == [True, False]


@pytest.mark.parametrize("loser", [0, 1])
@pytest.mark.parametrize("how", ["reset", "503"])
def test_one_fails_and_the_other_goes_on(loser: int, how: str) -> None:
    """Without a third; who failed is blamed."""
    with Dialogue(channels(3), hedge_after_ms=AFTER) as d:
        client, *ends = raced(d)
        if how == "reset":
            ends[loser].reset()
        else:
            ends[loser] << problem(503)
        assert d.silent
        ends[1 - loser] << answer(completion())
        assert client.answer().status == 200
        assert len(sends(d)) == 2
        assert {outlet.id for outlet in d.gateway.health.resting} == {loser + 1}
        assert [a.cost for a in d.receipts()[0].attempts] == [0, 0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_fail(order: tuple[int, int]) -> None:
    """The third is asked, as ever; the body is still there."""
    with Dialogue(channels(3), hedge_after_ms=AFTER) as d:
        client, *ends = raced(d)
        for number in order:
            ends[number] << problem(500)
        third = d.upstream()
        assert third.request.body == ends[0].request.body
        third << answer(completion())
        assert client.answer().status == 200
        assert sends(d) == [(1, 1, "first", 1), (2, 2, "hedge", 1), (3, 3, "failover", 1)]


def test_the_second_does_not_take_the_request() -> None:
    """Its 400 may be its own: the first decides."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client, first, second = raced(d)
        second << problem(400)
        assert client.received == b""
        first << problem(400, "bad")
        assert client.answer().json["error"]["message"] == "bad"
        assert not d.gateway.health.resting


@pytest.mark.parametrize("dialled", [False, True])
def test_the_client_leaves(dialled: bool) -> None:
    """Both are cut off; the prompt is billed once."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client = d.client()
        client >> post(chat())
        first = d.upstream()
        d.dialling = "accept" if dialled else "wait"
        d.later(1.4)
        client.hang_up()
        assert first.wire.aborted
        [end] = d.receipts()
        assert (end.state, len(end.attempts)) == ("gone", 1 + dialled)
        assert end.attempts[0].charge == end.charge > 0
        if not dialled:
            late = d.dials[-1].accept()
            assert late.received == b""


def test_the_first_fails_while_the_second_is_being_reached() -> None:
    """An ordinary failover; nothing is sent twice."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client = d.client()
        client >> post(chat())
        first = d.upstream()
        d.dialling = "wait"
        d.later(1.4)
        d.dialling = "accept"
        first << problem(503)
        d.upstream() << answer(completion())
        d.dials[1].accept()
        assert client.answer().status == 200
        assert [(channel, reason) for _, channel, reason, _ in sends(d)] == [(1, "first"), (2, "failover")]


def test_when_there_is_none() -> None:
    """Off, no other channel, a channel that counts its requests, another model's delay."""
    cases: list[tuple[int, str, Any]] = [
        (2, "0", None), (1, AFTER, None), (2, AFTER, ("limit", Limit("channel:2", 100))),
        (2, AFTER, ("setting", Setting(f"hedge_after_ms:{MODEL}", "60000"))),
    ]  # fmt: skip
    for count, after, put in cases:
        with Dialogue(channels(count), hedge_after_ms=after) as d:
            if put is not None:
                d.put(*put)
                d.gateway.tune()
                d.later(0.5)
            client = d.client()
            client >> post(chat())
            first = d.upstream()
            d.later(3)
            assert d.silent
            first << answer(completion())
            assert client.answer().status == 200


def test_of_one_model() -> None:
    """Its own delay, where the house has none."""
    with Dialogue(channels(2)) as d:
        d.put("setting", Setting(f"hedge_after_ms:{MODEL}", AFTER))
        d.gateway.tune()
        client, _, second = raced(d)
        second << answer(completion())
        assert client.answer().status == 200


def test_a_winner_s_stream_that_breaks_goes_on() -> None:
    """A race and a rescue in one row."""
    with Dialogue(channels(3), hedge_after_ms=AFTER) as d:
        client, _, second = raced(d, stream=True)
        second << stream_head() + chunk(delta("", role="assistant") + delta("The quick"))
        second.reset()
        third = d.upstream()
        third << stream_head() + chunk(delta("The quick fox") + STOP + usage_chunk() + DONE) + LAST
        assert client.answer().body.endswith(DONE)
        assert [(n, channel, reason) for n, channel, reason, _ in sends(d)] == [
            (1, 1, "first"), (2, 2, "hedge"), (3, 3, "continue")]  # fmt: skip
        [end] = d.receipts()
        assert (end.state, sum(a.charge for a in end.attempts)) == ("done", end.charge)


def test_of_another_dialect() -> None:
    """The second may need the request written for it."""
    given = channels(2)
    with Dialogue(given, hedge_after_ms=AFTER) as d:
        client = d.client()
        client >> post(chat(), "/v1/messages", "anthropic-version: 2023-06-01")
        d.upstream()
        d.later(1.4)
        d.upstream() << answer(completion("Hi"))
        assert client.answer().json["content"][0]["text"] == "Hi"


def test_the_loser_s_place_is_free_at_once() -> None:
    """Not with the winner's last byte."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        d.put("limit", Limit("channel:1", tokens=100_000, concurrency=1))
        _, _, second = raced(d, stream=True)
        assert flying(d, "channel:1") == 1
        second << stream_head() + chunk(delta("", role="assistant") + delta("hi"))
        assert flying(d, "channel:1") == 0
        [x] = d.gateway.live
        assert flying(d, "channel:1", TOKENS) == x.prompt > 0  # which it read


@pytest.mark.parametrize("why", ["full", "lossy"])
def test_a_rival_that_cannot_go_there_goes_nowhere(why: str) -> None:
    """It takes no place at a third."""
    given = channels(3, priority=0)
    if why == "lossy":
        given[1] = replace(given[1], vendor="anthropic", priority=1)
        given[0] = replace(given[0], priority=2)
    with Dialogue(given, hedge_after_ms=AFTER) as d:
        d.put("limit", Limit("channel:3", concurrency=5))
        client = d.client()
        client >> post(chat(seed=1), "/v1/chat/completions", "x-burncloud-strict: true")
        first = d.upstream()
        d.dialling = "wait"
        d.later(1.4)
        if why == "full":
            d.dials[-1].refuse(FULL)
        assert [one.origin.key.host for one in d.dials] == ["up1.test", "up2.test"][: 1 + (why == "full")]
        first << answer(completion())
        assert client.answer().status == 200
        assert flying(d, "channel:3") == 0


def test_a_winner_that_breaks_is_gone_on_with_by_the_loser() -> None:
    """It was slow, and has not failed."""
    with Dialogue(channels(2), hedge_after_ms=AFTER) as d:
        client, first, second = raced(d, stream=True)
        second << stream_head() + chunk(delta("One "))
        second.hang_up()
        d.later(0.1)
        up = d.upstream()
        assert up.origin is first.origin
        up << stream_head() + chunk(delta("One two") + STOP + usage_chunk() + DONE) + LAST
        assert b"two" in client.answer().body
        assert [a.reason for a in d.receipts()[0].attempts] == ["first", "hedge", "continue"]
