"""The budget of attempts and time, and the second asking of a channel that failed."""

from __future__ import annotations

import pytest

from burncloud.wire.pool import FULL
from tests.dialogue import Dialogue, channels
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
