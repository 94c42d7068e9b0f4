"""Plain answers of Chat: read, written back, made of other dialects'; usage, finish reasons, failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud import clock
from burncloud.adaptors import canon
from burncloud.adaptors.canon import Answer, Choice, Losses, Reasoning, Stop, Text, ToolCall, Unreadable
from burncloud.adaptors.chat.answer import (
    made_id,
    read_answer,
    read_failure,
    read_stop,
    read_usage,
    usage_rest,
    write_answer,
    write_failure,
    write_stop,
    write_usage,
)
from burncloud.domain.usage import KINDS, Usage


def body(message: Any, finish: str | None = "stop", **members: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "model": "m", "created": 5, "choices": [choice], **members}).encode()


def test_a_plain_answer() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.1}
    answer = read_answer(body({"content": "hi", "padding": "x"}, usage=usage, provider="P", service_tier="flex"))
    assert answer == Answer(
        "chatcmpl-1", "m", [Choice([Text("hi")], Stop("stop", "stop"), extra={"message.padding": "x"})],
        Usage(3, 2), 5, "flex", "chat", {"provider": "P", "usage.cost": 0.1},
    )  # fmt: skip
    losses = Losses()
    written = json.loads(write_answer(answer, losses))
    assert written["choices"][0]["message"] == {"role": "assistant", "content": "hi", "refusal": None, "padding": "x"}
    assert (written["provider"], written["usage"]["cost"], written["service_tier"]) == ("P", 0.1, "flex")
    assert not losses


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "no chat completion"),
        (b'{"choices": 1}', "no chat completion"),
        (b'{"error": {"message": "over at https://secret.test"}}', r"error: over at \[link\]"),
        (b'{"choices": [5]}', r"malformed: choices\[0\] must be an object"),
        (b'{"choices": [{"message": {"content": 5}}]}', "content must be a string or a list"),
    ],
)
def test_unreadable(data: bytes, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        read_answer(data)


@pytest.mark.parametrize(
    ("finish", "sequence", "called", "refused", "stop"),
    [
        ("stop", None, False, False, Stop("stop", "stop")),
        ("stop", None, True, False, Stop("tool", "stop")),
        ("stop", None, False, True, Stop("refusal", "stop")),
        ("stop", "END", False, False, Stop("sequence", "stop", "END")),
        ("stop", 1234, False, False, Stop("stop", "stop")),
        ("", None, True, False, Stop("tool")),
        ("length", None, True, False, Stop("length", "length")),
        ("tool_calls", None, True, False, Stop("tool", "tool_calls")),
        ("content_filter", None, False, False, Stop("filter", "content_filter")),
        ("insufficient_system_resource", None, False, False, Stop("error", "insufficient_system_resource")),
        ("brand_new", None, False, False, Stop("other", "brand_new")),
    ],
)
def test_reasons(finish: str, sequence: Any, called: bool, refused: bool, stop: Stop) -> None:
    assert read_stop(finish, sequence, called=called, refused=refused) == stop
    if finish:
        assert write_stop(stop, called, refused, Losses(), own=True) == finish


@pytest.mark.parametrize(
    ("stop", "called", "refused", "finish", "losses"),
    [
        (Stop("stop", "end_turn"), False, False, "stop", []),
        (Stop("stop", "STOP"), True, False, "tool_calls", []),
        (Stop("sequence", "stop_sequence", "END"), False, False, "stop", ["stop_sequence"]),
        (Stop("refusal", "refusal"), False, False, "content_filter", []),
        (Stop("refusal"), False, True, "stop", []),
        (Stop("pause", "pause_turn"), False, False, "stop", ["stop_reason"]),
        (Stop("length"), True, False, "length", []),
    ],
)
def test_reasons_of_elsewhere(stop: Stop, called: bool, refused: bool, finish: str, losses: list[str]) -> None:
    found = Losses()
    assert write_stop(stop, called, refused, found, own=False) == finish
    assert found.names() == losses


@given(st.lists(st.integers(0, 1000), min_size=len(KINDS), max_size=len(KINDS)))
def test_usage_is_read_back_as_it_was(counts: list[int]) -> None:
    usage = Usage(*counts)
    written = write_usage(usage, {})
    assert read_usage(written) == usage
    assert written["total_tokens"] == usage.total()


def test_usage_beside_counts() -> None:
    stated = {
        "prompt_tokens": 1,
        "cost": 2,
        "time": 0,
        "prompt_tokens_details": {"cached_tokens": 1, "video_tokens": 3},
    }
    rest = usage_rest(stated)
    assert rest == {"usage.cost": 2, "usage.prompt_tokens_details": {"video_tokens": 3}}
    assert write_usage(Usage(0, 0, 1), rest)["prompt_tokens_details"] == {
        "cached_tokens": 1, "audio_tokens": 0, "video_tokens": 3,
    }  # fmt: skip
    assert read_usage(None) is None
    assert read_usage({"prompt_tokens": "x"}) is None
    assert usage_rest(None) == {}


def test_an_answer_of_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ns", lambda: 7_000_000_000)
    blocks: list[canon.Block] = [Reasoning("why", [], "s", origin="messages"), ToolCall("t", "f", '{"x": 1}')]
    stop = Stop("tool", "tool_use")
    answer = Answer("msg_1", "claude", [Choice(blocks, stop)], Usage(3, 1), service_tier="batch", dialect="messages")
    losses = Losses()
    assert json.loads(write_answer(answer, losses)) == {
        "id": "msg_1", "object": "chat.completion", "created": 7, "model": "claude",
        "choices": [{
            "index": 0, "finish_reason": "tool_calls", "logprobs": None,
            "message": {
                "role": "assistant", "content": None, "refusal": None, "reasoning_content": "why",
                "reasoning_details": [{
                    "type": "reasoning.text", "text": "why", "signature": "s",
                    "format": "anthropic-claude-v1", "index": 0,
                }],
                "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
            },
        }],
        "usage": write_usage(Usage(3, 1), {}),
    }  # fmt: skip
    assert losses.names() == ["service_tier"]


def test_a_client_with_functions_gets_a_function_call() -> None:
    answer = Answer("x", "m", [Choice([ToolCall("t", "f", "{}")], Stop("tool"))], dialect="messages")
    choice = json.loads(write_answer(answer, Losses(), legacy_functions=True))["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]


def test_a_function_call_there_and_back() -> None:
    data = body({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call")
    answer = read_answer(data)
    assert answer.choices[0].blocks == [ToolCall("call_chatcmpl1_0_0", "f", "{}")]
    choice = json.loads(write_answer(answer, Losses()))["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}


def test_made_ids() -> None:
    assert made_id("chatcmpl-abc", 1) == "chatcmplabc_1"
    assert made_id("", 1) == "1"


def test_failures() -> None:
    failure = read_failure(429, b'{"error": {"message": "slow down", "type": "tokens", "code": "rate_limit_exceeded"}}')
    assert failure == canon.Failure(429, "slow down", "tokens")
    assert json.loads(write_failure(failure))["error"]["type"] == "tokens"
    for status, kind, written, code in (
        (401, "authentication_error", "authentication_error", None),
        (404, "NOT_FOUND", "not_found_error", "NOT_FOUND"),
        (529, "overloaded_error", "server_error", "overloaded_error"),
        (418, "", "invalid_request_error", None),
    ):
        error = json.loads(write_failure(canon.Failure(status, "no", kind)))["error"]
        assert error == {"message": "no", "type": written, "param": None, "code": code}


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_message(message: Any) -> None:
    data = json.dumps({"choices": [{"message": message, "finish_reason": message}], "usage": message}).encode()
    try:
        answer = read_answer(data)
    except Unreadable:
        return
    assert json.loads(write_answer(answer, Losses()))["object"] == "chat.completion"
