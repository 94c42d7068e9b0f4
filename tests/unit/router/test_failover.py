"""The budget of attempts and time, and the second asking of a channel that failed."""

from __future__ import annotations

from unittest import mock

import pytest
from msgspec.structs import replace

from burncloud.domain.link import Drop
from burncloud.router import gateway, translate
from burncloud.wire.pool import FULL
from tests.dialogue import MODEL, Dialogue, channels
from tests.speech import answer, chat, completion, post, problem


def test_the_same_channel_once_more_after_a_pause() -> None:
    """Nobody else is left: after the pause it is asked again, once."""
    with Dialogue(retry_same_ms="500") as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        assert d.silent
        d.later(0.6)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        [end] = d.receipts()
        assert [attempt.status for attempt in end.attempts] == [500, 200]
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        d.later(0.6)
        d.upstream() << problem(500)
        assert client.answer().status == 503
        d.later(2)
        assert d.silent


def test_it_is_waited_for_as_long_as_it_says() -> None:
    """Retry-After is honoured where it is short; a long one is told to the client."""
    with Dialogue(retry_same_ms="500") as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(429, "slow down", "retry-after: 2")
        d.later(1)
        assert d.silent
        d.later(1.5)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(429, "slow down", "retry-after: 60")
        assert (client.answer().status, client.answers()[-1].field("retry-after")) == (429, "60")
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(429, "slow down", "retry-after: Fri, 31 Dec 9999 23:59:59 GMT")
        assert (client.answer().status, client.answers()[-1].field("retry-after")) == (429, "600")


def test_a_refused_key_is_not_asked_again() -> None:
    with Dialogue(retry_same_ms="500") as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(401)
        assert client.answer().status == 503


def test_a_client_that_leaves_in_the_pause() -> None:
    with Dialogue(retry_same_ms="500") as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        client.hang_up()
        d.later(2)
        assert d.silent
        assert [end.state for end in d.receipts()] == ["gone"]


@pytest.mark.parametrize("most", [1, 2, 4])
def test_attempts_are_bounded(most: int) -> None:
    """Never more than ATTEMPTS_MAX, each on another channel."""
    with Dialogue(channels(6), attempts_max=str(most)) as d:
        client = d.client()
        client >> post(chat())
        origins = []
        for _ in range(most):
            up = d.upstream()
            origins.append(up.origin)
            up << problem(500)
        assert client.answer().status == 503
        assert len(set(origins)) == most


def test_the_second_time_counts_too() -> None:
    """Two channels, three attempts: both, and one of them once more."""
    with Dialogue(channels(2), attempts_max="3", retry_same_ms="100") as d:
        client = d.client()
        client >> post(chat())
        for _ in range(3):
            d.upstream() << problem(503)
            d.later(0.3)
        assert d.silent
        assert client.answer().status == 503
        assert len(d.receipts()[0].attempts) == 3


def test_time_is_bounded() -> None:
    with Dialogue(channels(3), attempts_timeout_ms="1000") as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        d.later(2)
        up << problem(500)
        assert client.answer().status == 503


def test_a_full_pool_is_nobodys_fault() -> None:
    """Another channel is asked; where there is none, the client shall try again; nobody rests for it."""
    for count, status in ((2, 200), (1, 503)):
        with Dialogue(channels(count), dialling="wait") as d:
            client = d.client()
            client >> post(chat())
            d.dials[0].refuse(FULL)
            if count == 2:
                d.dials[1].accept()
                d.upstream() << answer(completion())
            heard = client.answer()
            assert heard.status == status
            if status == 503:
                assert heard.field("retry-after") == "1"
            assert not d.gateway.health.resting


STRICT = "x-burncloud-strict: true"


def test_a_dialect_in_which_something_is_lost_is_tried_once() -> None:
    """Whatever the number of its channels; another dialect, or none, may do."""
    foreign = channels(400, vendor="anthropic")
    request = post(chat(seed=1), "/v1/chat/completions", STRICT)
    with mock.patch.object(gateway, "translate", wraps=translate.translate) as written, Dialogue(foreign) as d:
        client = d.client()
        client >> request
        heard = client.answer()
        assert (heard.status, heard.json["error"]["code"]) == (400, "invalid_request_error")
        assert written.call_count == 1
        [own] = channels(1, priority=-1)
        d.put("channel", replace(own, id=401))
        client >> request
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert written.call_count == 2


@pytest.mark.parametrize("how", ["deleted", "disabled", "edited"])
def test_a_channel_that_changes_in_the_pause(how: str) -> None:
    """It is asked as it is then, or not at all."""
    with Dialogue(retry_same_ms="500") as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        [own] = channels(1)
        if how == "deleted":
            d.gateway.world.drop(Drop("channel", [1]))
        else:
            d.put("channel", replace(own, enabled=how == "edited", keys=((11, "sk-new"),)))
        d.later(1)
        if how == "edited":
            up = d.upstream()
            assert b"sk-new" in up.received
            up << answer(completion())
        assert client.answer().status == (200 if how == "edited" else 503)


def test_the_channels_as_they_are_when_one_fails() -> None:
    """The other one was edited meanwhile: it is there, and the one that failed is not asked again for it."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat())
        first = d.upstream()
        for one in channels(2):
            d.put("channel", replace(one, weight=7))
        first << problem(500)
        second = d.upstream()
        assert second.origin is not first.origin
        second << problem(500)
        assert client.answer().status == 503
        assert d.silent


def resting(d: Dialogue) -> None:
    """Channel 1 has said 429, and its time has come."""
    client = d.client()
    client >> post(chat())
    d.upstream() << problem(429, "busy", "Retry-After: 10")
    assert client.answer().status == 429
    d.later(10.5)


@pytest.mark.parametrize("count", [1, 2])
def test_who_cannot_go_there_spares_the_probe(count: int) -> None:
    """A request that cannot be written for the channel learns nothing of it: the next one may go and see."""
    given = channels(count)
    given[0] = replace(given[0], vendor="anthropic", priority=9)
    given[-1] = replace(given[-1], enabled=count == 1)
    with Dialogue(given, queue_wait_ms="1") as d:
        resting(d)
        d.put("channel", replace(given[-1], enabled=True))
        strict = d.client()
        strict >> post(chat(seed=1), "/v1/chat/completions", STRICT)
        if count == 2:
            d.upstream()
        else:
            assert strict.answer().status == 400
        client = d.client()
        client >> post(chat())
        assert d.upstream().origin.key.host == "up1.test"


def test_who_waits_in_line_frees_nobody_s_probe() -> None:
    """Nor does one that asked before the channel rested."""
    with Dialogue(queue_wait_ms="30000") as d:
        before, client, waiting = d.client(), d.client(), d.client()
        before >> post(chat())
        d.upstream()
        client >> post(chat())
        d.upstream() << problem(429, "busy", "Retry-After: 10")
        d.later(10.6)
        d.upstream()
        ability = d.gateway.world.outlets[1].abilities[MODEL]
        waiting >> post(chat())
        for one in (waiting, before):
            assert not ability.available
            one.hang_up()
        assert not ability.available
        client.hang_up()
        assert ability.available


def test_one_that_only_rests_before_one_that_failed() -> None:
    """The other one had a bad minute: before the client hears of it, it is asked all the same."""
    given = channels(2)
    with Dialogue([given[0], replace(given[1], priority=-1)]) as d:
        client = d.client()
        for _ in range(3):
            client >> post(chat())
            d.upstream() << problem(503)
            d.upstream() << problem(503)
            assert client.answer().status == 503
        d.later(1.5)  # the first is probed again, the other one is still to be left alone
        [resting] = [one for one in d.gateway.health.resting if one.id == 2]
        resting.abilities[MODEL].breaker.cool(d.loop.time(), "broken", 20)
        resting.look()
        client >> post(chat())
        first = d.upstream()
        assert "up1" in str(first.origin)
        first << problem(503)
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_another_key_may_have_the_model() -> None:
    """403 speaks of the key: of a channel with several the next is asked at once, and the model does not rest."""
    [own] = channels(1)
    with Dialogue([replace(own, keys=((11, "sk-one"), (12, "sk-two")))]) as d:
        client = d.client()
        for _ in range(30):
            client >> post(chat())
            up = d.upstream()
            if b"sk-one" in up.received:
                up << problem(403)
                up = d.upstream()
            assert b"sk-two" in up.received
            up << answer(completion())
            assert client.answer().status == 200
        client >> post(chat())
        for _ in range(2):
            d.upstream() << problem(403)
            if d.silent:
                break
        assert client.answer().status == 503


def test_a_channel_at_its_limits_is_no_last_resort() -> None:
    """Another one failed: it is asked once more, rather than that the client hears of limits."""
    with Dialogue(channels(2), retry_same_ms="100") as d:
        other = d.gateway.world.outlets[2]
        other.full = True
        other.look()
        client = d.client()
        client >> post(chat())
        first = d.upstream()
        first << problem(500)
        assert d.silent
        d.later(0.5)
        d.upstream() << answer(completion())
        assert client.answer().field("x-burncloud-channel") == "ch_1"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_who_says_when_to_come_back_is_left_alone_until_then(status: int) -> None:
    """With whatever status; the client hears when, too."""
    with Dialogue(retry_same_ms="100") as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(status, "later", "retry-after: 30")
        heard = client.answer()
        assert (heard.status, heard.field("retry-after")) == (429 if status == 429 else 503, "30")
        client >> post(chat())
        assert d.silent
        assert (client.answer().status, client.answers()[-1].field("retry-after")) == (429, "30")
        d.later(30.5)
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200


@pytest.mark.parametrize("queue", ["5000", "1000"])
def test_of_two_that_are_busy_the_sooner_counts(queue: str) -> None:
    """Whoever was asked last: it is waited for in line, or the client hears of it."""
    with Dialogue(channels(2), retry_same_ms="100", queue_wait_ms=queue) as d:
        client = d.client()
        client >> post(chat())
        for seconds in (3, 500):
            d.upstream() << problem(429, "busy", f"retry-after: {seconds}")
        if queue == "5000":
            d.later(3.5)
            d.upstream() << answer(completion())
            assert client.answer().status == 200
        else:
            assert (client.answer().status, client.answers()[-1].field("retry-after")) == (429, "3")
