"""Messages: what they say, and how other dialects' answers are told as one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Answer, Choice, Failure, Stop, Text, ToolCall
from burncloud.adaptors.messages import answer as messages
from burncloud.adaptors.messages.answer import read_answer, read_failure, write_answer, write_failure
from burncloud.domain.usage import Usage

FULL: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [
        {"type": "thinking", "thinking": "why", "signature": "Eq"},
        {"type": "text", "text": "hi", "citations": [{"type": "char_location", "cited_text": "x"}]},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "stop_details": {"type": "refusal"},
    "usage": {
        "input_tokens": 10, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 5, "output_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "output_tokens_details": {"thinking_tokens": 20},
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
        "inference_geo": "eu", "service_tier": "standard",
    },
    "container": {"id": "c"},
}  # fmt: skip


def test_there_and_back() -> None:
    losses = canon.Losses()
    answer = read_answer(json.dumps(FULL).encode())
    assert json.loads(write_answer(answer, losses)) == FULL
    assert not losses


def test_what_is_read() -> None:
    answer = read_answer(json.dumps(FULL).encode())
    assert answer.usage == Usage(10, 10, 5, 3, 4, 20)
    assert (answer.id, answer.model, answer.service_tier) == ("msg_1", "claude-opus-5", "default")
    assert answer.choices[0].stop == Stop("tool", "tool_use")
    assert answer.extra["usage.server_tool_use"]["web_search_requests"] == 1
    assert answer.choices[0].extra == {"stop_details": {"type": "refusal"}}


def test_compaction_is_counted_and_not_twice() -> None:
    usage = {
        "input_tokens": 10, "output_tokens": 5,
        "iterations": [{"type": "compaction", "input_tokens": 100, "output_tokens": 20}, {"type": "message"}],
    }  # fmt: skip
    answer = read_answer(json.dumps({"content": [], "usage": usage}).encode())
    assert answer.usage == Usage(110, 25)
    again = read_answer(write_answer(answer, canon.Losses()))
    assert again.usage == answer.usage


@pytest.mark.parametrize("reason", messages.STOPS)
def test_stop_reasons(reason: str) -> None:
    body: dict[str, Any] = {
        "content": [],
        "stop_reason": reason,
        "stop_sequence": "x" if reason == "stop_sequence" else None,
    }
    answer = read_answer(json.dumps(body).encode())
    assert answer.choices[0].stop is not None
    written = json.loads(write_answer(answer, canon.Losses()))
    assert (written["stop_reason"], written["stop_sequence"]) == (reason, body["stop_sequence"])


def test_an_unknown_stop_reason_is_kept() -> None:
    answer = read_answer(b'{"content":[],"stop_reason":"novelty"}')
    assert answer.choices[0].stop == Stop("other", "novelty")
    assert json.loads(write_answer(answer, canon.Losses()))["stop_reason"] == "novelty"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"content":"x"}', b'{"content":[{}]}', b'{"content":[],"id":1}', b'{"content":[],"usage":1}'],
)
def test_unreadable(body: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        read_answer(body)


def foreign(answer: Answer) -> tuple[dict[str, Any], list[str]]:
    """(message, losses)."""
    answer.dialect = "chat"
    losses = canon.Losses()
    return json.loads(write_answer(answer, losses)), losses.names()


def test_a_foreign_answer() -> None:
    answer = Answer("chatcmpl-1", "m", [Choice([Text("hi")], Stop("stop", "stop"))], Usage(1, 2, 3, 4, 5, 6))
    assert foreign(answer) == (
        {
            "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {
                "input_tokens": 1, "cache_creation_input_tokens": 9, "cache_read_input_tokens": 3,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
                "output_tokens": 8, "output_tokens_details": {"thinking_tokens": 6},
            },
        },
        [],
    )  # fmt: skip
    assert read_answer(write_answer(answer, canon.Losses())).usage == answer.usage


@pytest.mark.parametrize(
    ("stop", "called", "reason", "lost"),
    [
        (Stop("stop", "stop"), False, "end_turn", []),
        (Stop("stop", "STOP"), True, "tool_use", []),
        (Stop("tool", "tool_calls"), True, "tool_use", []),
        (Stop("length", "length"), False, "max_tokens", []),
        (Stop("filter", "content_filter"), False, "refusal", []),
        (Stop("other", "RECITATION?"), False, "end_turn", ["stop_reason"]),
        (Stop("error", "MALFORMED_FUNCTION_CALL"), False, "end_turn", ["stop_reason"]),
        (None, False, "end_turn", []),
    ],
)
def test_foreign_stop_reasons(stop: Stop | None, called: bool, reason: str, lost: list[str]) -> None:
    blocks: list[canon.Block] = [ToolCall("c", "f", "{}")] if called else []
    body, losses = foreign(Answer("a", "m", [Choice(blocks, stop)]))
    assert (body["stop_reason"], losses) == (reason, lost)


def test_what_is_lost() -> None:
    answer = Answer(
        "", "m", [Choice([], None, {"content": []}, {"novelty": 1}), Choice([])], Usage(audio_output=3),
        service_tier="flex", extra={"system_fingerprint": "x"},
    )  # fmt: skip
    body, lost = foreign(answer)
    assert (body["id"], body["usage"]["output_tokens"]) == ("msg_0", 3)
    assert lost == ["logprobs", "n", "novelty", "service_tier", "system_fingerprint", "usage_kinds"]
    assert foreign(Answer("a", "m", []))[0]["usage"]["input_tokens"] == 0


def test_an_answer_that_nests_too_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(canon.Unreadable):
        write_answer(Answer("a", "m", [Choice([canon.Raw("messages", deep)])], dialect="messages"), canon.Losses())


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(400, "m", "BadRequestError"), "invalid_request_error"),
        (Failure(401, "m", "invalid_request_error"), "authentication_error"),
        (Failure(402, "m"), "billing_error"),
        (Failure(413, "m"), "request_too_large"),
        (Failure(422, "m", "not_found_error"), "not_found_error"),
        (Failure(422, "m", "novelty"), "invalid_request_error"),
        (Failure(429, "m", "insufficient_quota"), "rate_limit_error"),
        (Failure(500, "m", "INTERNAL"), "api_error"),
        (Failure(502, "m"), "api_error"),
        (Failure(503, "m", "UNAVAILABLE"), "overloaded_error"),
        (Failure(504, "m"), "timeout_error"),
        (Failure(529, "m", "overloaded_error"), "overloaded_error"),
    ],
)
def test_failures(failure: Failure, kind: str) -> None:
    assert json.loads(write_failure(failure)) == {"type": "error", "error": {"type": kind, "message": "m"}}


def test_read_failure() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}'
    assert read_failure(529, body) == Failure(529, "Overloaded", "overloaded_error")
    assert read_failure(403, b'{"message":"no access to https://bedrock.aws/x"}').message == "no access to [link]"


@given(st.binary(max_size=80))
def test_any_bytes(body: bytes) -> None:
    try:
        answer = read_answer(body)
    except canon.Unreadable:
        return
    write_answer(answer, canon.Losses())
