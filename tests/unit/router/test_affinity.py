"""A conversation stays where it was, shares stay what they are, and what only one account knows goes there."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any
from unittest import mock

import msgspec
import pytest

from burncloud.domain.link import Drop
from burncloud.domain.snapshot import Policy, Setting, Token
from burncloud.router.affinity import LASTS_S, made_by
from burncloud.router.choose import AHEAD_MAX
from tests.dialogue import KEY, Dialogue, UpstreamEnd, channels
from tests.speech import answer, chat, completion, event, post, problem, stream_head

HASH = hashlib.sha256(KEY.encode()).digest()
LONG = "The quick brown fox jumps over the lazy dog. " * 120


def talk(first: str = LONG, turns: int = 0, **fields: Any) -> dict[str, Any]:
    """A conversation that begins so, after so many turns."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": first}]
    for n in range(turns):
        messages += [{"role": "assistant", "content": f"Yes {n}"}, {"role": "user", "content": f"And {n}?"}]
    return chat(messages=messages, **fields)


def host(up: UpstreamEnd) -> str:
    """Which channel it is."""
    return up.origin.key.host


def ask(
    d: Dialogue, body: dict[str, Any] | bytes, *fields: str, path: str = "/v1/chat/completions", key: str = KEY
) -> str:
    """Ask, answer, and tell which channel was asked."""
    client = d.client()
    client >> post(body, path, *fields, key=key)
    up = d.upstream()
    up << answer(completion())
    assert client.answer().status == 200
    return host(up)


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (lambda n: talk(turns=n), ()),
        (
            lambda n: json.dumps(talk("你好，世界。" * 100, turns=n), ensure_ascii=False).encode(),
            (),
        ),  # its messages are shorter than the prefix
        (lambda n: talk(f"{n}" + LONG, prompt_cache_key="mine"), ()),
        (lambda n: talk(f"{n}" + LONG), ("x-burncloud-affinity: mine",)),
    ],
)
def test_it_stays(made: Any, fields: tuple[str, ...]) -> None:
    """By how it begins, by its name in the body or in the head."""
    with Dialogue(channels(5)) as d:
        assert len({ask(d, made(n), *fields) for n in range(20)}) == 1


def test_a_conversation_of_anthropic_s() -> None:
    """Claude Code says whose session it is."""
    made = channels(4, vendor="anthropic")
    with Dialogue(made) as d:
        hosts = set()
        for n in range(8):
            body = talk(f"{n}" + LONG, metadata={"user_id": "user_1_session_2"})
            client = d.client()
            client >> post(body, "/v1/messages")
            up = d.upstream()
            up << answer({"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 4}})
            hosts.add(host(up))
        assert len(hosts) == 1


def test_others_go_their_own_way() -> None:
    """Another beginning, another token, another model: not the same conversation."""
    with Dialogue(channels(2, models={"gpt-4": "gpt-4"})) as d:
        d.put("token", Token(2, hashlib.sha256(b"sk-2").digest(), 1))
        assert [ask(d, talk()) for _ in range(3)] == ["up1.test"] * 3
        assert ask(d, talk("x" + LONG)) == "up2.test"
        assert Counter(ask(d, talk(), key="sk-2") for _ in range(4)) == {"up2.test": 4}


def test_short_prompts_are_in_turn() -> None:
    """Nothing is cached of them."""
    with Dialogue(channels(2)) as d:
        assert Counter(ask(d, chat(prompt_cache_key="k")) for _ in range(10)) == {"up1.test": 5, "up2.test": 5}


def test_one_channel_is_not_looked_at() -> None:
    with Dialogue() as d:
        ask(d, talk())
        assert d.gateway.affinity._places is None


@pytest.mark.parametrize("how", ["environment", "setting", "policy"])
def test_off(how: str) -> None:
    """By the environment, live, or for some models only."""
    settings: dict[str, Any] = {"affinity": "off"} if how == "environment" else {}
    with Dialogue(channels(2), **settings) as d:
        if how == "setting":
            d.put("setting", Setting("affinity", "off"))
            d.gateway.tune()
        elif how == "policy":
            d.put("policy", Policy("* gpt-*", "*", "gpt-*", affinity="off"))
        assert Counter(ask(d, talk()) for _ in range(10)) == {"up1.test": 5, "up2.test": 5}
        assert d.gateway.affinity._places is None


def test_it_moves_when_its_channel_fails_and_stays_there() -> None:
    with Dialogue(channels(2)) as d:
        assert ask(d, talk()) == "up1.test"
        client = d.client()
        client >> post(talk())
        d.upstream() << problem(500)
        up = d.upstream()
        assert host(up) == "up2.test"
        up << answer(completion())
        assert [ask(d, talk(turns=n)) for n in range(5)] == ["up2.test"] * 5


def test_a_channel_of_a_higher_priority_comes_first() -> None:
    """The spare's cache is no reason to stay there."""
    one, spare = channels(2)
    with Dialogue([one, msgspec.structs.replace(spare, priority=-1)]) as d:
        outlet = d.gateway.world.outlets[1]
        outlet.keys[0].breaker.cool(d.loop.now, "broken", 5)
        outlet.look()
        d.gateway.health.resting.add(outlet)
        assert ask(d, talk()) == "up2.test"
        d.later(6)
        assert ask(d, talk()) == "up1.test"


def test_it_is_forgotten_in_time() -> None:
    with Dialogue(channels(3)) as d:
        first = ask(d, talk())
        d.later(LASTS_S + 1)
        assert ask(d, talk()) != first


def test_what_goes_on_is_kept() -> None:
    """A turn each 50 minutes, one each second: its place is written anew when an eighth of its time is over."""
    with Dialogue(channels(3)) as d:
        places = d.gateway.affinity.places
        first = ask(d, talk())
        with mock.patch.object(places, "put", wraps=places.put) as put:
            for n in range(20):
                d.later(50 * 60 if n < 5 else 1)
                assert ask(d, talk()) == first
        assert put.call_count == 5
        d.later(LASTS_S - 60)
        assert ask(d, talk()) == first


def test_shares_hold_although_all_is_one_conversation() -> None:
    """A service whose prompts all begin alike: within AHEAD_MAX of 80 and 20."""
    made = channels(2)
    with Dialogue(
        [msgspec.structs.replace(one, weight=weight) for one, weight in zip(made, (80, 20), strict=True)]
    ) as d:
        found = Counter(ask(d, talk(turns=n % 3)) for n in range(600))
        assert abs(found["up1.test"] - 480) <= AHEAD_MAX + 2, found


def test_the_same_key_of_a_channel() -> None:
    """Accounts have caches of their own."""
    [channel] = channels(1)
    with Dialogue([msgspec.structs.replace(channel, keys=((1, "a"), (2, "b"), (3, "c")))]) as d:
        used = set()
        for n in range(6):
            client = d.client()
            client >> post(talk(turns=n))
            up = d.upstream()
            used.add(up.request.field("authorization"))
            up << answer(completion())
        assert len(used) == 1
        assert {end.key for end in d.receipts()} <= {1, 2, 3}


def test_workers_share_what_they_know(tmp_path: Any) -> None:
    path = str(tmp_path / "places")
    with Dialogue(channels(4)) as d:
        d.gateway.affinity.share(path)
        ask(d, chat(), path="/v1/chat/completions")
        first = ask(d, talk())
    with Dialogue(channels(4)) as d:
        d.gateway.affinity.share(path)
        assert [ask(d, talk()) for _ in range(3)] == [first] * 3


# Responses that go on from others


def response(number: int) -> dict[str, Any]:
    return {
        "id": f"resp_{number}", "object": "response", "status": "completed", "output": [],
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
    }  # fmt: skip


def accounts(count: int, **fields: Any) -> list[Any]:
    """Channels that speak Responses."""
    return channels(count, vendor="openai", **fields)


def respond(d: Dialogue, number: int, previous: str = "", stream: bool = False, key: str = KEY) -> UpstreamEnd:
    """A request of the Responses API, answered with that id."""
    body: dict[str, Any] = {"model": "gpt-4", "input": "Hi", "stream": stream}
    if previous:
        body["previous_response_id"] = previous
    client = d.client()
    client >> post(body, "/v1/responses", key=key)
    up = d.upstream()
    if stream:
        up << stream_head(coding="")
        for kind in ("response.created", "response.output_text.delta", "response.completed"):
            up << b"event: %b\n" % kind.encode() + event({"type": kind, "response": response(number), "delta": "x"})
        up.hang_up()
    else:
        up << answer(response(number))
    assert client.answer().status == 200
    return up


@pytest.mark.parametrize("stream", [False, True])
def test_it_goes_to_whoever_made_the_response(stream: bool) -> None:
    """Each to its own channel and key, whatever the shares, and again from what goes on from it."""
    made = [msgspec.structs.replace(one, keys=((one.id * 10, "a"), (one.id * 10 + 1, "b"))) for one in accounts(3)]
    with Dialogue(made) as d:
        where = {}
        for n in range(6):
            up = respond(d, n, stream=stream)
            where[n] = (host(up), up.request.field("authorization"))
        assert len(set(where.values())) == 6
        for n in range(6):
            up = respond(d, 10 + n, f"resp_{n}", stream)
            assert (host(up), up.request.field("authorization")) == where[n]
            up = respond(d, 20 + n, f"resp_{10 + n}", stream)
            assert (host(up), up.request.field("authorization")) == where[n]


def test_nobody_else_is_asked_for_it() -> None:
    """No other channel and no other model knows that response: the client hears of the failure."""
    with Dialogue(accounts(2)) as d:
        d.put("policy", Policy("* *", "*", "*", fallbacks={"unavailable": ("gpt-5",)}))
        d.put("channel", *accounts(2), msgspec.structs.replace(accounts(3)[2], models={"gpt-5": "gpt-5"}))
        first = host(respond(d, 1))
        client = d.client()
        client >> post({"model": "gpt-4", "input": "Hi", "previous_response_id": "resp_1"}, "/v1/responses")
        up = d.upstream()
        assert host(up) == first
        up << problem(500)
        assert client.answer().status == 503
        assert d.silent


def test_one_that_rests_is_asked_all_the_same_or_waited_for() -> None:
    with Dialogue(accounts(2)) as d:
        first = host(respond(d, 1))
        outlet = next(one for one in d.gateway.world.outlets.values() if one.origin.key.host == first)
        outlet.keys[0].breaker.cool(d.loop.now, "broken", 60)
        outlet.look()
        assert host(respond(d, 2, "resp_1")) == first  # it only failed of late
        outlet.keys[0].breaker.cool(d.loop.now, "busy", 60)
        outlet.look()
        d.gateway.health.resting.add(outlet)
        client = d.client()
        client >> post({"model": "gpt-4", "input": "Hi", "previous_response_id": "resp_2"}, "/v1/responses")
        assert client.answer().status == 429


def test_one_that_is_gone_is_chosen_anew() -> None:
    """Or one that nobody knows, or another user's, or one that has lost its key."""
    with Dialogue(accounts(2)) as d:
        respond(d, 1)
        d.gateway.world.drop(Drop("channel", [1]))
        assert host(respond(d, 2, "resp_1")) == "up2.test"
        assert host(respond(d, 3, "resp_unknown")) == "up2.test"
        assert host(respond(d, 4, "")) == "up2.test"
        d.put("channel", *(msgspec.structs.replace(one, keys=((99, "new"),)) for one in accounts(2)))
        assert {host(respond(d, 10 + n, "resp_4")) for n in range(4)} == {"up1.test", "up2.test"}


def test_the_name_of_a_response() -> None:
    assert made_by(b'{\n  "id": "resp_1",\n "x": {"id": "no"}}') == b"resp_1"
    assert made_by(b'event: x\ndata: {"type":"response.created","response":{"id":"resp_2"}}\n\n') == b"resp_2"
    assert made_by(b'{"ID": 1}') == b""
    assert made_by(b" " * 5_000 + b'{"id":"late"}') == b""


def test_a_large_body_is_read_where_it_lies() -> None:
    """Above 1 MiB: its names are found in the file, else its beginning counts."""
    large = "x" * (2 << 20)
    with Dialogue(channels(3)) as d:
        assert len({ask(d, talk(LONG + large, turns=n)) for n in range(3)}) == 1
        assert len({ask(d, talk(f"{n}" + large, prompt_cache_key="k")) for n in range(3)}) == 1
