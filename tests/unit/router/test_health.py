"""Faults and what follows them: who is blamed, who rests, who goes to see."""

from __future__ import annotations

import msgspec
import pytest

from burncloud.domain.link import Part
from burncloud.domain.parts import COOLING, OFF, PROBING, READY
from burncloud.domain.snapshot import Channel
from burncloud.router.health import reset_in_s
from tests.dialogue import MODEL, Dialogue, channels
from tests.speech import LAST, answer, chat, chunk, completion, delta, post, problem, stream_head

TWO_KEYS = Channel(1, "ch_1", "openai", "http://one.test", ((1, "a"), (2, "b")), {MODEL: MODEL})


def ask(d: Dialogue, said: bytes) -> None:
    """One request, and what the upstream says to it."""
    d.client() >> post(chat())
    d.upstream() << said


@pytest.mark.parametrize(("status", "part", "state"), [
    (401, "key", OFF), (402, "key", OFF), (403, "model", READY), (500, "model", READY), (429, "model", COOLING),
])  # fmt: skip
def test_who_is_blamed(status: int, part: str, state: str) -> None:
    with Dialogue() as d:
        ask(d, problem(status))
        outlet = d.gateway.world.outlets[1]
        parts = {"key": outlet.keys[0].breaker, "model": outlet.abilities[MODEL].breaker}
        assert parts.pop(part).state == state
        [other] = parts.values()
        assert not other.troubled


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_clients_mistake_is_nobodys_fault(status: int) -> None:
    with Dialogue() as d:
        for _ in range(5):
            ask(d, problem(status))
        assert not d.gateway.health.resting


def test_a_channel_that_fails_rests_and_comes_back() -> None:
    """Three failures: the other serves alone; after a second one request goes to see; then both serve."""
    with Dialogue(channels(2)) as d:
        bad = d.gateway.world.outlets[1]
        failures = 0
        while bad.abilities[MODEL].available:
            client = d.client()
            client >> post(chat())
            up = d.upstream()
            if up.origin is bad.origin:
                failures += 1
                up << problem(500)
                up = d.upstream()
            up << answer(completion())
            assert client.answer().status == 200
        assert failures == 3
        for _ in range(10):
            client = d.client()
            client >> post(chat())
            up = d.upstream()
            assert up.origin is not bad.origin
            up << answer(completion())
        d.later(1.5)
        assert bad.abilities[MODEL].breaker.state == PROBING
        origins = []
        for _ in range(8):
            client = d.client()
            client >> post(chat())
            up = d.upstream()
            origins.append(up.origin is bad.origin)
            up << answer(completion())
        assert any(origins)
        assert bad.abilities[MODEL].breaker.state == READY
        assert not d.gateway.health.resting


def test_a_refused_key_leaves_the_others_working() -> None:
    """The next key of the same channel answers the same request, and all that follow."""
    with Dialogue([TWO_KEYS]) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(401)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        [end] = d.receipts()
        assert len({attempt.key for attempt in end.attempts}) == 2
        for _ in range(3):
            client = d.client()
            client >> post(chat())
            d.upstream() << answer(completion())
            assert client.answer().status == 200
        assert len({end.key for end in d.receipts()}) == 1


def test_the_only_channel_is_asked_although_it_failed() -> None:
    """There is nobody else: keeping away would only make an outage of a few failures."""
    with Dialogue() as d:
        for _ in range(5):
            ask(d, problem(500))
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert not d.gateway.health.resting


def test_a_busy_channel_is_left_alone_as_long_as_it_says() -> None:
    """The client is told how long; the upstream is not asked meanwhile."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(429, "slow down", "retry-after: 20")
        assert client.answer().status == 429
        client = d.client()
        client >> post(chat())
        heard = client.answer()
        assert (heard.status, heard.field("retry-after")) == (429, "20")
        assert d.silent
        d.later(21)
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().status == 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0), ("1.5s", 1.5), ("120ms", 0.12), ("30", 30.0), ("1h2m3s", 3723.0), ("", 0.0), ("soon", 0.0),
        ("1970-01-01T00:16:50Z", 10.0), ("1970-01-01T00:00:00Z", 0.0), ("5s later", 0.0),
    ],
)  # fmt: skip
def test_when_a_vendor_has_room_again(text: str, seconds: float) -> None:
    assert reset_in_s(text, 1000) == pytest.approx(seconds)


def test_a_channel_rests_where_its_account_has_nothing_left() -> None:
    """Before it is refused, and only as long as some room takes to come back; the client sees none of it."""
    with Dialogue(channels(2)) as d:
        left = ("x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 60s")
        for fields in (left, (), (), ()):
            client = d.client()
            client >> post(chat())
            d.upstream() << answer(completion(), *fields)
            assert client.answer().status == 200
            assert not client.answers()[-1].field("x-ratelimit-remaining-requests")
        first, *rest = [end.channel for end in d.receipts()]
        assert set(rest) == {3 - first}
        d.later(3.5)
        for _ in range(2):
            client = d.client()
            client >> post(chat())
            d.upstream() << answer(completion(), "anthropic-ratelimit-tokens-remaining: 500")
            assert client.answer().status == 200
        assert first in [end.channel for end in d.receipts()][-2:]


LEFT = ("anthropic-ratelimit-requests-remaining: 0", "anthropic-ratelimit-requests-reset: 60s")


def test_a_translated_answer_tells_what_is_left() -> None:
    claude = Channel(1, "ch_1", "anthropic", "http://up.test", ((1, "k"),), models={MODEL: MODEL})
    said = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 1, "output_tokens": 2},
    }  # fmt: skip
    with Dialogue([claude]) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(said, *LEFT)
        assert client.answer().status == 200
        assert [outlet.keys[0].breaker.state for outlet in d.gateway.health.resting] == [COOLING]


def test_who_goes_on_with_a_stream_tells_what_is_left() -> None:
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head() + chunk(delta("Hello"))
        up.reset()
        head = stream_head().removesuffix(b"\r\n") + "\r\n".join((*LEFT, "", "")).encode()
        d.upstream() << head + chunk(delta("Hello")) + chunk(delta(" there")) + chunk(delta(finish="stop")) + LAST
        assert b" there" in client.received
        assert COOLING in [outlet.keys[0].breaker.state for outlet in d.gateway.health.resting]


class Others:
    """What a worker would tell the others."""

    def __init__(self, d: Dialogue) -> None:
        self.d = d
        self.rung = 0
        d.gateway.health.on_news = self._ring
        d.gateway.health.find = d.gateway.world.outlets.get

    def _ring(self) -> None:
        self.rung += 1

    def take(self) -> dict[tuple[int, str], tuple[str, str, int]]:
        """The news since the last time."""
        health = self.d.gateway.health
        parts = health.report(self.d.loop.time())
        health.news.clear()
        return {(part.key, part.model): (part.state, part.reason, part.status) for part in parts}


def test_only_what_changes_is_news() -> None:
    """Nothing while all goes well or a single one fails; then one line for each part, whatever happened to it."""
    with Dialogue([TWO_KEYS]) as d:
        others = Others(d)
        for _ in range(20):
            ask(d, answer(completion()))
        assert others.take() == {}
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(401)
        d.upstream() << problem(500)
        [(name, how)] = others.take().items()
        assert (name[1], how) == ("", (OFF, "refused", 401))
        for _ in range(10):
            client = d.client()
            client >> post(chat())
            d.upstream() << problem(500)
        assert others.take() == {(0, MODEL): (COOLING, "broken", 500)}
        assert others.rung == 2


def test_a_probe_is_told_and_what_became_of_it() -> None:
    with Dialogue(channels(2)) as d:
        others = Others(d)
        bad = d.gateway.world.outlets[1].abilities[MODEL].breaker
        for _ in range(3):
            bad.failed(d.loop.time(), "broken")
        d.gateway.health.resting.add(d.gateway.world.outlets[1])
        d.gateway.world.outlets[1].look()
        d.later(1.5)
        assert others.take() == {}
        seen = []
        for _ in range(4):
            client = d.client()
            client >> post(chat())
            seen.append(others.take())
            d.upstream() << answer(completion())
            seen.append(others.take())
        told = [news for news in seen if news]
        assert told == [{(0, MODEL): (PROBING, "broken", 0)}, {(0, MODEL): (READY, "", 0)}]


def test_what_another_worker_learned_is_known_here() -> None:
    """The refused key is never asked; when another worker finds it good, it is asked again."""
    with Dialogue([TWO_KEYS]) as d:
        others = Others(d)
        health = d.gateway.health
        health.learn([Part(1, 1, "", OFF, "refused", 401, 60_000, 60_000), Part(9, 9, "", OFF)], d.loop.time())
        for _ in range(4):
            ask(d, answer(completion()))
        assert {end.key for end in d.receipts()} == {2}
        health.learn([Part(1, 1, "", READY)], d.loop.time())
        for _ in range(4):
            ask(d, answer(completion()))
        assert {end.key for end in d.receipts()} == {1, 2}
        assert not health.resting
        assert others.take() == {}, "what was told is not told on"


def test_a_channel_that_is_changed_while_it_rests_comes_back() -> None:
    """Its heir has its breakers, and is looked at when their time has come."""
    with Dialogue() as d:
        Others(d)
        for _ in range(3):
            ask(d, problem(500))
        d.put("channel", msgspec.structs.replace(channels(1)[0], weight=7))
        assert not d.gateway.world.outlets[1].abilities[MODEL].available
        d.later(1.5)
        assert d.gateway.world.outlets[1].abilities[MODEL].available
        ask(d, answer(completion()))
        d.later(0.5)
        assert not d.gateway.health.resting


def test_a_key_in_the_place_of_a_refused_one_is_ready_everywhere() -> None:
    """An access token that was renewed has its key's id: the others are told."""
    with Dialogue() as d:
        others = Others(d)
        ask(d, problem(401))
        [key] = channels(1)[0].keys
        assert others.take() == {(key[0], ""): (OFF, "refused", 401)}
        d.put("channel", msgspec.structs.replace(channels(1)[0], keys=((key[0], "another"),)))
        d.later(0.5)
        assert others.take() == {(key[0], ""): (READY, "", 0)}
        ask(d, answer(completion()))


def test_all_that_rests_is_told_a_new_control_process() -> None:
    with Dialogue() as d:
        Others(d)
        for _ in range(3):
            ask(d, problem(500))
        d.gateway.health.news.clear()
        [part] = d.gateway.health.report(d.loop.time(), everything=True)
        assert (part.model, part.state, part.step_ms) == (MODEL, COOLING, 2000)
        assert 0 < part.left_ms <= 1000
