"""What a filter stopped is an answer; where the operator names a model for it, that one is asked instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from burncloud.domain.snapshot import Policy
from tests.dialogue import PRICE, Client, Dialogue, UpstreamEnd, channels
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
