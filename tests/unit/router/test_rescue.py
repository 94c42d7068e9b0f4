"""A stream that breaks after its first words: who goes on with it, what the client sees, what is billed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest

from burncloud.domain.journal import Again
from burncloud.domain.snapshot import Channel, Setting, Token
from tests.dialogue import KEY, MODEL, PRICE, UPSTREAM_KEY, Client, Dialogue, UpstreamEnd, channels
from tests.speech import DONE, LAST, chat, chunk, delta, event, post, problem, stream_head, usage_chunk

ROLE = delta("", role="assistant")
STOP = delta("", finish="stop")
ERROR = event({"error": {"message": "overloaded", "type": "server_error", "code": None}})
FIXED = msgspec.structs.replace(PRICE, request=1_000_000)


def spares(vendor: str = "vllm", count: int = 2, **more: Any) -> list[Channel]:
    """A primary and spares of this kind."""
    [first] = channels(1, priority=9)
    others = [
        Channel(
            n,
            f"ch_{n}",
            vendor,
            f"http://up{n}.test/v1",
            ((n * 10, UPSTREAM_KEY),),
            **({"models": {MODEL: MODEL}} | more),
        )
        for n in range(2, count + 1)
    ]
    return [first, *others]


def begun(d: Dialogue, *said: bytes, **fields: Any) -> tuple[Client, UpstreamEnd]:
    """A stream of which this was delivered."""
    client = d.client()
    client >> post(chat(stream=True, **fields))
    up = d.upstream()
    up << stream_head() + b"".join(map(chunk, said))
    return client, up


def chunks_of(client: Client) -> list[dict[str, Any]]:
    """The events that the client got; each must be JSON, but for [DONE]."""
    body = client.answer().body.decode()
    events = [part for part in body.split("\n\n") if part and not part.startswith(":")]
    return [json.loads(part.removeprefix("data: ")) for part in events if part != "data: [DONE]"]


def text_of(found: list[dict[str, Any]]) -> str:
    return "".join(c["delta"].get("content") or "" for one in found for c in one.get("choices", ()))


def reasons(found: list[dict[str, Any]]) -> list[str]:
    return [c["finish_reason"] for one in found for c in one.get("choices", ()) if c["finish_reason"]]


def break_off(d: Dialogue, up: UpstreamEnd, how: str) -> None:
    """In one of the ways that streams break."""
    if how == "stall":
        d.later(121)
    elif how == "error":
        up << chunk(ERROR)
    elif how == "half":
        up << chunk(delta("lost")[:-30])
        up.reset()
    elif how == "ends early":
        up << LAST
    else:
        getattr(up, how)()


@pytest.mark.parametrize("how", ["reset", "hang_up", "stall", "error", "half", "ends early"])
def test_another_channel_goes_on(how: str) -> None:
    """One stream with one id, one stop, one usage: the text so far was given to the other model as a beginning."""
    with Dialogue(spares()) as d:
        client, up = begun(d, ROLE, delta("The quick "), delta("brown fox "))
        break_off(d, up, how)
        other = d.upstream()
        asked = other.request.json
        assert asked["messages"][-1] == {"role": "assistant", "content": "The quick brown fox"}
        assert asked["continue_final_message"] is True
        assert other.origin is not up.origin
        own = delta(" jumps").replace(b"chatcmpl-1", b"chatcmpl-2")
        other << stream_head() + chunk(ROLE + own) + chunk(delta(" over") + STOP + usage_chunk(15, 7) + DONE) + LAST
        found = chunks_of(client)
        assert text_of(found) == "The quick brown fox jumps over"
        assert {one["id"] for one in found} == {"chatcmpl-1"}
        assert reasons(found) == ["stop"]
        assert not any("error" in one for one in found)
        [end] = d.receipts()
        assert (end.state, end.status, end.channel) == ("done", 200, 2)
        assert [(a.channel, a.reason, a.sent) for a in end.attempts] == [(1, "first", 1), (2, "continue", 1)]
        assert sum(a.charge for a in end.attempts) == end.charge
        assert end.attempts[0].charge > 0
        assert end.attempts[1].charge > 0
        # the prompt once: what the second counted less the words that it was given; the output of both
        assert end.usage.input == 15 - 5
        assert end.usage.output == 5 + 7
        assert [r.reason for r in d.written() if isinstance(r, Again)] == ["continue"]


def test_the_client_s_usage_is_the_bill() -> None:
    """The usage chunk that it asked for says what is billed."""
    with Dialogue(spares()) as d:
        client, up = begun(d, ROLE, delta("The quick "), stream_options={"include_usage": True})
        up.reset()
        d.upstream() << stream_head() + chunk(delta("fox") + STOP + usage_chunk(13, 7) + DONE) + LAST
        usage = chunks_of(client)[-1]["usage"]
        [end] = d.receipts()
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (end.usage.input, end.usage.output)
        assert end.usage.input == 13 - 3


def test_a_spare_that_cannot_be_given_a_beginning_tells_it_again() -> None:
    """What the client has is withheld."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE, delta("The quick "), delta("brown"))
        up.reset()
        other = d.upstream()
        assert other.request.json["messages"][-1]["role"] == "user"
        other << stream_head() + chunk(ROLE + delta("The qui") + delta("ck br"))
        before = len(client.received)
        other << chunk(delta("own fox") + delta(" jumps") + STOP + usage_chunk(10, 8) + DONE) + LAST
        assert len(client.received) > before
        found = chunks_of(client)
        assert text_of(found) == "The quick brown fox jumps"
        assert reasons(found) == ["stop"]
        [end] = d.receipts()
        assert (end.state, end.estimated, end.usage.input, end.usage.output) == ("done", False, 10, 8)
        assert sum(a.charge for a in end.attempts) == end.charge == (10 * 30 + 8 * 60) * 1000


def test_another_answer_is_no_continuation() -> None:
    """Told again otherwise: an error, never a patchwork; what was delivered is billed."""
    with Dialogue(channels(3)) as d:
        client, up = begun(d, ROLE, delta("The quick brown"))
        up.reset()
        d.upstream() << stream_head() + chunk(ROLE + delta("The slow")) + chunk(delta(" x"))
        found = chunks_of(client)
        assert text_of(found) == "The quick brown"
        assert found[-1]["error"]["code"] == "service_unavailable"
        assert reasons(found) == []
        assert d.silent
        [end] = d.receipts()
        assert (end.state, end.channel, [a.reason for a in end.attempts]) == ("cut", 1, ["first", "continue"])
        assert (end.attempts[0].charge, end.attempts[1].charge) == (end.charge, 0)
        assert end.usage.output == 4


def test_a_prefill_that_is_refused() -> None:
    """The spare does not take a beginning after all: it is asked from the start; the client never hears its 400."""
    with Dialogue(spares()) as d:
        client, up = begun(d, ROLE, delta("The quick "))
        up.reset()
        other = d.upstream()
        other << b"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        again = d.upstream()
        assert again.request.json["messages"][-1]["role"] == "user"
        again << stream_head() + chunk(ROLE + delta("The quick fox") + STOP + usage_chunk() + DONE) + LAST
        assert text_of(chunks_of(client)) == "The quick fox"
        assert [(a.reason, a.status) for a in d.receipts()[0].attempts] == [
            ("first", 200), ("continue", 400), ("continue", 200)]  # fmt: skip


def test_a_model_that_repeats_its_beginning() -> None:
    """Mistral does; others may, for a beginning that is long enough to tell."""
    said = "The quick brown fox jumps over the lazy dog and "
    with Dialogue(spares("mistral")) as d:
        client, up = begun(d, ROLE, delta(said))
        up.reset()
        other = d.upstream()
        assert other.request.json["messages"][-1]["prefix"] is True
        other << stream_head() + chunk(ROLE + delta(said[:20])) + chunk(delta(said[20:] + "runs") + STOP + DONE) + LAST
        assert text_of(chunks_of(client)) == said + "runs"


def test_breaks_twice() -> None:
    """Who went on breaks off, too: the third goes on behind both."""
    with Dialogue(spares(count=3), prices=(FIXED,)) as d:
        client, up = begun(d, ROLE, delta("one two "))
        up.reset()
        second = d.upstream()
        second << stream_head() + chunk(delta("three four "))
        second.reset()
        third = d.upstream()
        assert third.request.json["messages"][-1]["content"] == "one two three four"
        third << stream_head() + chunk(delta("five") + STOP + usage_chunk(20, 1) + DONE) + LAST
        assert text_of(chunks_of(client)) == "one two three four five"
        [end] = d.receipts()
        assert [a.reason for a in end.attempts] == ["first", "continue", "continue"]
        assert sum(a.charge for a in end.attempts) == end.charge
        assert all(a.charge > 0 for a in end.attempts)


def test_who_goes_on_fails_before_his_first_word() -> None:
    """The next one is asked; a spare that can be given a beginning comes first."""
    with Dialogue([*channels(2), *spares("vllm", 3)[2:]]) as d:
        client, up = begun(d, ROLE, delta("The quick "))
        up.reset()
        other = d.upstream()
        assert other.request.json["continue_final_message"] is True
        other << b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
        d.upstream() << stream_head() + chunk(delta("The quick fox") + STOP + DONE) + LAST
        assert text_of(chunks_of(client)) == "The quick fox"


@pytest.mark.parametrize(("fields", "said"), [
    ({"n": 2}, [delta("Hi")]),
    ({"logprobs": True}, [delta("Hi")]),
    ({"modalities": ["text", "audio"]}, [delta("Hi")]),
])  # fmt: skip
def test_what_nobody_can_go_on_with(fields: dict[str, Any], said: list[bytes]) -> None:
    """The client hears an error, and the connection serves on."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE, *said, **fields)
        up.reset()
        found = chunks_of(client)
        assert found[-1]["error"]["code"] == "service_unavailable"
        assert d.silent
        assert d.receipts()[0].state == "cut"


def test_no_other_channel() -> None:
    """The same."""
    with Dialogue() as d:
        client, up = begun(d, ROLE, delta("Hi"))
        up << chunk(ERROR) + LAST
        assert chunks_of(client)[-1]["error"]["message"] == "overloaded"
        assert d.receipts()[0].state == "cut"


def test_nobody_is_left() -> None:
    """The spare cannot be reached, either."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE, delta("Hi"))
        d.dialling = "refuse"
        up << chunk(ERROR)
        assert chunks_of(client)[-1]["error"]["message"] == "overloaded"
        [end] = d.receipts()
        assert (end.state, end.channel, len(end.attempts)) == ("cut", 1, 1)


def test_a_spare_that_rests_is_waited_for() -> None:
    """It said 429 to another request a moment ago."""
    with Dialogue(channels(2), retry_same_ms="500") as d:
        client, up = begun(d, ROLE, delta("The quick "))
        outlet = d.gateway.world.outlets[2]
        outlet.full = True
        outlet.look()
        up.reset()
        d.later(0.3)
        assert b"error" not in client.received
        outlet.full = False
        outlet.look()
        d.later(0.3)
        other = d.upstream()
        assert other.origin is not up.origin
        other << stream_head() + chunk(ROLE + delta("The quick brown fox") + STOP + DONE) + LAST
        found = chunks_of(client)
        assert text_of(found) == "The quick brown fox"
        assert reasons(found) == ["stop"]


def test_a_spare_that_rests_for_long_is_not() -> None:
    with Dialogue(channels(2), retry_same_ms="500") as d:
        client, up = begun(d, ROLE, delta("The quick "))
        d.gateway.world.outlets[2].full = True
        d.gateway.world.outlets[2].look()
        up.reset()
        d.later(3)
        assert "error" in chunks_of(client)[-1]
        assert d.silent


@pytest.mark.parametrize("where", ["token", "model", "house"])
def test_told_to_be_an_error(where: str) -> None:
    """By the token, the model or the house."""
    option: dict[str, object] = {"broken_streams": "error"} if where == "token" else {}
    token = Token(1, hashlib.sha256(KEY.encode()).digest(), 1, options=option)
    house = "error" if where == "house" else "continue"
    with Dialogue(channels(2), token=token, broken_streams=house) as d:
        if where == "model":
            d.put("setting", Setting(f"broken_streams:{MODEL}", "error"))
        client, up = begun(d, ROLE, delta("Hi"))
        up.reset()
        assert "error" in chunks_of(client)[-1]
        assert d.silent


def test_after_the_finish_reason_nothing_is_missing() -> None:
    """A connection that breaks behind the end of the answer breaks nothing."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE, delta("Hi") + STOP)
        up.reset()
        found = chunks_of(client)
        assert reasons(found) == ["stop"]
        assert d.receipts()[0].state == "done"


def test_a_tool_call_goes_on_where_it_is_told_again() -> None:
    """Half a call cannot be given as a beginning; the same call from the start can be matched."""

    def call(arguments: str, first: str = "") -> bytes:
        function = {"arguments": arguments} | ({"name": "look"} if first else {})
        one = {"index": 0, "function": function} | ({"id": first, "type": "function"} if first else {})
        return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4",
                      "choices": [{"index": 0, "delta": {"tool_calls": [one]}, "finish_reason": None}]})  # fmt: skip

    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    with Dialogue(spares()) as d:
        client, up = begun(d, ROLE, call("", "call_1"), call('{"a": "b'), tools=tools)
        up.reset()
        other = d.upstream()
        assert other.request.json["messages"][-1]["role"] == "user"
        end = delta("", finish="tool_calls")
        other << stream_head() + chunk(ROLE + call("", "call_9") + call('{"a": "bcd"}') + end + DONE) + LAST
        found = chunks_of(client)
        calls = [c for one in found for choice in one["choices"] for c in choice["delta"].get("tool_calls", ())]
        assert "".join(c["function"]["arguments"] for c in calls) == '{"a": "bcd"}'
        assert {c["id"] for c in calls if "id" in c} == {"call_1"}
        assert reasons(found) == ["tool_calls"]


def test_the_client_leaves_meanwhile() -> None:
    """What was delivered is billed, the prompt once."""
    with Dialogue(spares()) as d:
        client, up = begun(d, ROLE, delta("The quick brown "))
        up.reset()
        d.upstream()
        client.hang_up()
        [end] = d.receipts()
        assert (end.state, end.usage.output) == ("gone", 4)
        assert [a.charge for a in end.attempts] == [end.charge, 0]


def test_a_malformed_event_is_dropped_and_counted() -> None:
    """The stream goes on without it; the row says so."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE, delta("a "))
        for broken in (b"data: {oops\n\n", b"data: \xff\xfe\n\n", b"<html>\n\n", b'data: {"a":\n\n' + delta("b ")):
            up << chunk(broken)
        up << chunk(delta("c") + STOP + usage_chunk() + DONE) + LAST
        assert text_of(chunks_of(client)) == "a b c"
        assert d.receipts()[0].lossy == "malformed_events"
        assert d.gateway.counters["events_dropped"] == 4


def test_no_first_content_in_time() -> None:
    """Signs of life are no content: the next channel is asked, before and after the head went out."""
    for limit, wait in (("5000", 6), ("15000", 16)):
        with Dialogue(channels(2), first_content_timeout_ms=limit) as d:
            client, up = begun(d, ROLE)
            for _ in range(wait):
                d.later(1)
                if not up.wire.aborted:
                    up << chunk(b": ping\n\n")
            assert bool(client.received) == (wait > 10)
            d.upstream() << stream_head() + chunk(ROLE + delta("Hi") + STOP + DONE) + LAST
            found = chunks_of(client)
            assert text_of(found) == "Hi"
            assert reasons(found) == ["stop"]


def test_the_room_is_given_back() -> None:
    """What a long stream recorded is forgotten at its end."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE, *[delta("word ") for _ in range(300)])
        room = d.gateway.rescues._room
        assert room.free < 64 << 20
        up << chunk(STOP + DONE) + LAST
        assert client.answer().status == 200
        d.later(1)
        assert room.free == 64 << 20


def test_a_spare_that_was_edited_meanwhile() -> None:
    """It is there, and goes on."""
    given = spares()
    with Dialogue(given) as d:
        client, up = begun(d, delta("", role="assistant"), delta("The quick"))
        for one in given:
            d.put("channel", msgspec.structs.replace(one, weight=7))
        up.reset()
        second = d.upstream()
        assert second.origin is not up.origin
        second << stream_head() + chunk(delta(" fox") + delta("", finish="stop") + usage_chunk() + DONE) + LAST
        assert text_of(chunks_of(client)) == "The quick fox"


def test_one_that_only_rests_goes_on() -> None:
    """It had a bad minute; nobody else is left, and the client waits in the middle of a sentence."""
    with Dialogue(channels(2)) as d:
        other = d.gateway.world.outlets[2]
        other.abilities[MODEL].breaker.cool(d.loop.time(), "broken", 20)
        other.look()
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head() + chunk(delta("One ")) + chunk(delta("two "))
        up.hang_up()
        d.later(0.1)
        whole = delta("One two three") + delta(finish="stop") + DONE
        d.upstream() << stream_head() + chunk(whole) + LAST
        assert b"three" in client.answer().body
        assert [attempt.reason for attempt in d.receipts()[0].attempts] == ["first", "continue"]


def test_one_that_failed_before_goes_on() -> None:
    """Nobody else is left: after a pause it is asked once more."""
    with Dialogue(channels(2), retry_same_ms="300") as d:
        client = d.client()
        client >> post(chat(stream=True))
        first = d.upstream()
        first << problem(500)
        up = d.upstream()
        up << stream_head() + chunk(delta("One "))
        up.hang_up()
        d.later(0.1)
        assert d.silent
        d.later(0.3)
        again = d.upstream()
        assert again.origin is first.origin
        again << stream_head() + chunk(delta("One two") + delta(finish="stop") + DONE) + LAST
        assert b"two" in client.answer().body
        assert [attempt.reason for attempt in d.receipts()[0].attempts] == ["first", "failover", "continue"]
