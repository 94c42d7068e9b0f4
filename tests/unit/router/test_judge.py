"""What a filter stopped is an answer; where the operator names a model for it, that one is asked instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from burncloud.domain.snapshot import Channel, Policy
from tests.dialogue import MODEL, PRICE, Client, Dialogue, UpstreamEnd, channels
from tests.speech import (
    DONE,
    LAST,
    answer,
    chat,
    chunk,
    completion,
    delta,
    event,
    post,
    problem,
    stream_head,
    usage_chunk,
)
from tests.unit.router.test_fallbacks import SPARE, given, policy
from tests.unit.router.test_hedge import raced

MESSAGE = {"model": "gpt-4", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
CHAT_STOP = msgspec.json.decode(completion("")) | {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}]
}
REFUSED: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "gpt-4", "stop_reason": "refusal",
    "stop_sequence": None, "content": [], "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip
INCOMPLETE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4", "status": "incomplete", "output": [],
    "incomplete_details": {"reason": "content_filter"},
    "usage": {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3},
}  # fmt: skip
BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
    "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
}
FORMS: dict[str, tuple[str, str, Any, Any]] = {
    "chat": ("openai", "/v1/chat/completions", chat(), CHAT_STOP),
    "chat, by Anthropic": ("anthropic", "/v1/chat/completions", chat(), REFUSED),
    "messages": ("anthropic", "/v1/messages", MESSAGE, REFUSED),
    "messages, by chat": ("openai", "/v1/messages", MESSAGE, CHAT_STOP),
    "responses": ("openai", "/v1/responses", {"model": "gpt-4", "input": "Hi"}, INCOMPLETE),
    "gemini": ("gemini-compatible", "/v1beta/models/gpt-4:generateContent", GEMINI, BLOCKED),
}
"""Vendor of the channel, path, request, the answer that its filter stopped."""


@contextlib.contextmanager
def house(vendor: str, trigger: str) -> Iterator[Dialogue]:
    made = [msgspec.structs.replace(one, vendor=vendor, base_url="http://a.test") for one in given("spare")]
    with Dialogue(made, prices=(PRICE, SPARE)) as d:
        d.put("policy", Policy("* gpt-4", "*", "gpt-4", fallbacks={trigger: ("spare",)}))
        yield d


def asks(d: Dialogue, form: str) -> tuple[Client, UpstreamEnd]:
    _, path, body, _ = FORMS[form]
    client = d.client()
    client >> post(body, path)
    return client, d.upstream()


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_plain_answer(form: str, pieces: int) -> None:
    """Complete in its first read, or held until it is."""
    vendor, _, _, stopped = FORMS[form]
    told = answer(stopped)
    with house(vendor, "filter") as d:
        _, up = asks(d, form)
        for at in range(pieces):
            up << told[at * len(told) // pieces : (at + 1) * len(told) // pieces]
        spare = d.upstream()
        assert b"spare" in spare.request.body + spare.request.target.encode()
        assert not d.gateway.health.resting
        spare << answer(msgspec.json.decode(msgspec.json.encode(stopped)))  # nobody stands in for it: passed on
        [end] = d.receipts()
        assert [(a.reason, a.status, a.channel) for a in end.attempts] == [("first", 200, 1), ("fallback", 200, 2)]
        assert (end.model, end.attempts[0].charge) == ("spare", 0)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_passed_on_where_nobody_asked_for_it(form: str) -> None:
    vendor, _, _, stopped = FORMS[form]
    with house(vendor, "unavailable") as d:
        client, up = asks(d, form)
        up << answer(stopped)
        assert client.answer().status == 200
        [end] = d.receipts()
        assert (end.model, len(end.attempts)) == ("gpt-4", 1)


def chat_stream(d: Dialogue, *events: bytes) -> bytes:
    """What the client got of a stream that begins so, with a spare that says Hi."""
    client = d.client()
    client >> post(chat(stream=True))
    up = d.upstream()
    up << stream_head() + b"".join(chunk(one) for one in events)
    if not d.silent:
        (
            d.upstream()
            << stream_head()
            + chunk(delta("Hi"))
            + chunk(delta(finish="stop"))
            + chunk(usage_chunk())
            + chunk(DONE)
            + LAST
        )
    else:
        up << chunk(DONE) + LAST
    return client.received


STOP = delta(finish="content_filter")


def test_a_stream_whose_first_event_says_so() -> None:
    with house("openai", "filter") as d:
        got = chat_stream(d, delta(role="assistant"), STOP)
        assert b"content_filter" not in got
        assert b"x-burncloud-model: spare" in got
        assert b'"Hi"' in got
        [end] = d.receipts()
        assert [(a.reason, a.status) for a in end.attempts] == [("first", 200), ("fallback", 200)]
    with house("openai", "context") as d:
        assert b"content_filter" in chat_stream(d, delta(role="assistant"), STOP, usage_chunk())


def test_a_translated_stream_whose_first_event_says_so() -> None:
    begin = {"type": "message_start", "message": REFUSED | {"stop_reason": None}}
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 0}}
    with house("anthropic", "filter") as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head() + chunk(event(begin)) + chunk(event(end)) + chunk(event({"type": "message_stop"}))
        spare = d.upstream()
        assert spare.request.json["model"] == "spare"
        assert client.received == b""
        spare << problem(400)


def test_what_was_begun_goes_on() -> None:
    """After the commit point it is an end like any other."""
    with house("openai", "filter") as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head() + chunk(delta("No"))
        up << chunk(STOP) + chunk(usage_chunk()) + chunk(DONE) + LAST
        assert b"content_filter" in client.received
        [end] = d.receipts()
        assert (end.model, len(end.attempts)) == ("gpt-4", 1)


@pytest.mark.parametrize("code", ["content_filter", "context_length_exceeded"])
def test_of_two_that_race_one_complains(code: str) -> None:
    """The other goes on alone; no channel is blamed."""
    with Dialogue([*channels(2), *given("spare", "spare")[2:]], prices=(PRICE, SPARE), hedge_after_ms="1000") as d:
        d.put("policy", policy(filter=("spare",), context=("spare",)))
        client, first, second = raced(d)
        first << answer({"error": {"message": "no", "code": code}}, status=400)
        second << answer(completion("second"))
        assert client.answer().body == completion("second")
        assert not d.gateway.health.resting


TOO_LONG = {
    "openai": event({"error": {"message": "too long", "code": "context_length_exceeded"}}),
    "anthropic": b"event: error\n"
    + event({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}),
}
FLAGGED = event({"error": {"message": "flagged", "code": "content_policy_violation"}})


def of_vendor(vendor: str, count: int, model: str = MODEL) -> list[Channel]:
    return [
        Channel(n, f"ch_{n}", vendor, f"http://up{n}.test", ((n * 10, "k"),), models={model: model})
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("vendor", TOO_LONG)
def test_a_stream_that_begins_with_a_complaint(vendor: str) -> None:
    """It is the client's: passed on, nobody else is asked, no channel is blamed, however often."""
    with Dialogue(of_vendor(vendor, 2)) as d:
        for _ in range(4):
            client = d.client()
            client >> post(chat(stream=True))
            d.upstream() << stream_head() + chunk(TOO_LONG[vendor]) + LAST
            assert b"too long" in client.answer().body
            assert d.silent
        assert not d.gateway.health.resting
        assert not any(end.charge for end in d.receipts())


@pytest.mark.parametrize("vendor", TOO_LONG)
def test_a_stream_that_begins_with_a_complaint_asks_the_stand_in(vendor: str) -> None:
    with house(vendor, "context") as d:
        client = d.client()
        client >> post(chat(stream=True))
        d.upstream() << stream_head() + chunk(TOO_LONG[vendor]) + LAST
        assert d.upstream().request.json["model"] == "spare"
        assert client.received == b""
        assert not d.gateway.health.resting


def test_a_complaint_in_a_stream_that_nobody_asked_for() -> None:
    """As the error answer that the client would have got."""
    with Dialogue(of_vendor("anthropic", 2)) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << stream_head() + chunk(TOO_LONG["anthropic"]) + LAST
        heard = client.answer()
        assert (heard.status, heard.json["error"]["message"]) == (400, "prompt is too long: 9 > 8")
        assert d.silent
        assert not d.gateway.health.resting
        assert not any(end.charge for end in d.receipts())
    with house("anthropic", "context") as d:
        d.client() >> post(chat())
        d.upstream() << stream_head() + chunk(TOO_LONG["anthropic"]) + LAST
        assert d.upstream().request.json["model"] == "spare"


def test_other_errors_at_the_beginning_are_the_channel_s() -> None:
    """Also where the request, which Responses repeats, speaks of policies."""
    said = {"id": "resp_1", "status": "failed", "instructions": "Explain our usage policies.",
            "error": {"code": "server_error", "message": "try again"}}  # fmt: skip
    with Dialogue(of_vendor("openai", 2)) as d:
        d.client() >> post({"model": MODEL, "input": "x", "stream": True}, "/v1/responses")
        d.upstream() << stream_head() + chunk(b"event: response.failed\n" + event({"response": said})) + LAST
        d.upstream() << problem(400)
        assert d.gateway.health.resting


@pytest.mark.parametrize("times", [3, 20])
def test_a_complaint_in_the_middle(times: int) -> None:
    """The client hears it in the upstream's words; nobody goes on, and nobody is blamed."""
    with Dialogue(channels(2)) as d:
        for _ in range(times):
            client = d.client()
            client >> post(chat(stream=True))
            up = d.upstream()
            up << stream_head() + chunk(delta("", role="assistant") + delta("Hello "))
            up << chunk(FLAGGED) + LAST
            assert b"content_policy_violation" in client.answer().body
            assert d.silent
        assert not d.gateway.health.resting


def test_a_complaint_of_who_should_go_on() -> None:
    """He does not take this beginning, or this length: he is not to blame."""
    with Dialogue(channels(2, priority=1)) as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head() + chunk(delta("Hello"))
        up.reset()
        blamed = set(d.gateway.health.resting)
        d.upstream() << stream_head() + chunk(FLAGGED) + LAST
        assert d.gateway.health.resting == blamed


LONG = b"x" * 300_000
MODERATED = {
    "error": {
        "code": 403,
        "message": 'a/b requires moderation on OpenRouter. Your input was flagged for "violence".',
        "metadata": {"reasons": ["violence"], "flagged_input": "x", "provider_name": "A", "model_slug": "a/b"},
    }
}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_prompt_that_is_forbidden(path: str) -> None:
    """As the client's own mistake; any other 403 is the channel's, and no word of it is heard."""
    with Dialogue(of_vendor("openai", 2)) as d:
        for _ in range(4):
            client = d.client()
            client >> post(MESSAGE, path)
            d.upstream() << answer(MODERATED, status=403)
            heard = client.answer()
            assert heard.status == 403
            assert "was flagged" in heard.json["error"]["message"]
        assert not d.gateway.health.resting
        head = stream_head(status=403).replace(b"text/event-stream", b"application/json")
        for said in (
            [answer({"error": "secret"}, status=403)],
            [head + chunk(b'{"error": "secret'), chunk(LONG), LAST],
        ):
            client = d.client()
            client >> post(MESSAGE, path)
            up = d.upstream()
            for part in said:
                if d.silent:
                    up << part
            d.upstream() << problem(400)
            assert b"secret" not in client.received
        assert d.gateway.health.resting


def test_a_prompt_that_is_forbidden_asks_the_stand_in() -> None:
    with house("openai", "filter") as d:
        d.client() >> post(chat())
        d.upstream() << answer(MODERATED, status=403)
        assert d.upstream().request.json["model"] == "spare"


BAD_KEY = {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}
NO_MODEL = {"error": {"message": "The model `gpt-4` does not exist", "code": "model_not_found"}}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_key_that_is_refused_with_400(path: str, kind: str) -> None:
    """As with 401: the next channel, the key is off, and no word of it is heard.  Gemini calls it a stream at times."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(MESSAGE, path)
        d.upstream() << answer(BAD_KEY, status=400, kind=kind)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        [outlet] = d.gateway.health.resting
        assert outlet.keys[0].breaker.state == "off"
    with Dialogue() as d:
        client = d.client()
        client >> post(MESSAGE, path)
        d.upstream() << answer(BAD_KEY, status=400, kind=kind)
        assert client.answer().status == 503
        assert b"API key" not in client.received


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize(("status", "said"), [
    (404, answer(NO_MODEL, status=404)), (404, answer(b"<html>404</html>", status=404, kind="text/html")),
    (413, answer(b"<html>413</html>", status=413, kind="text/html")), (405, answer(b"", status=405)),
])  # fmt: skip
def test_what_another_channel_may_have(path: str, status: int, said: bytes) -> None:
    """It is asked, and nobody is blamed; what the last one says is passed on."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(MESSAGE, path)
        d.upstream() << said
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        client >> post(MESSAGE, path)
        for _ in range(2):
            d.upstream() << said
        assert client.answer().status == status
        assert d.silent
        assert not d.gateway.health.resting


def test_who_is_asked_last_has_the_word() -> None:
    """More channels than attempts: still what the upstream said, and no 503."""
    with Dialogue(channels(4), attempts_max="2") as d:
        client = d.client()
        client >> post(chat())
        for _ in range(2):
            d.upstream() << answer(NO_MODEL, status=404)
        assert client.answer().json == NO_MODEL


FAILED = event({"error": {"message": "overloaded", "code": 500}})


def test_a_stream_that_begins_with_an_error_is_asked_for_again() -> None:
    """As after any failure, where nobody else is left; the second time it is passed on."""
    with Dialogue(retry_same_ms="100") as d:
        for well in (True, False):
            client = d.client()
            client >> post(chat(stream=True))
            d.upstream() << stream_head() + chunk(FAILED) + LAST
            assert client.received == b""
            d.later(0.5)
            words = delta("Hi") + delta(finish="stop") + DONE
            d.upstream() << stream_head() + chunk(words if well else FAILED) + LAST
            assert (b"Hi" if well else b"overloaded") in client.answer().body


@pytest.mark.parametrize("before", [b"", delta("", role="assistant")])
def test_a_stream_of_nothing(before: bytes) -> None:
    """[DONE] and neither content nor a reason to end before it: the next channel answers."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat(stream=True))
        d.upstream() << stream_head() + chunk(before + DONE) + LAST
        assert client.received == b""
        d.upstream() << stream_head() + chunk(delta("Hi") + delta(finish="stop") + DONE) + LAST
        assert b"Hi" in client.answer().body


@pytest.mark.parametrize("begun", [FAILED, FLAGGED])
def test_a_rival_that_begins_with_an_error_wins_nothing(begun: bytes) -> None:
    """Nobody else is left than the first, which is at it; who was only complained to is not blamed."""
    with Dialogue(channels(2), hedge_after_ms="1000") as d:
        client, first, second = raced(d, stream=True)
        second << stream_head() + chunk(begun) + LAST
        assert client.received == b""
        first << stream_head() + chunk(delta("Hi")) + chunk(delta(finish="stop")) + chunk(DONE) + LAST
        assert b"Hi" in client.answer().body
        assert bool(d.gateway.health.resting) is (begun is FAILED)
