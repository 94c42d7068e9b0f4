"""Plain answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.canon import Answer, Choice, Failure, Losses, Stop, Text, ToolCall, Unreadable
from burncloud.adaptors.converse.answer import read_answer, read_failure, read_usage, write_answer, write_failure
from burncloud.domain.usage import Usage

ANSWER: dict[str, Any] = {
    "output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5, "serverToolUsage": {}},
    "metrics": {"latencyMs": 9},
}


def read(**members: Any) -> Answer:
    return read_answer(json.dumps({**ANSWER, **members}).encode())


def test_read() -> None:
    answer = read(serviceTier={"type": "flex"}, trace={"guardrail": {}})
    assert answer == Answer(
        "", "", [Choice([Text("a")], Stop("stop", "end_turn"))], Usage(3, 2), service_tier="flex", dialect="converse",
        extra={"trace": {"guardrail": {}}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("tool_use", "tool"), ("max_tokens", "length"), ("stop_sequence", "sequence"), ("content_filtered", "filter"),
        ("guardrail_intervened", "filter"), ("malformed_tool_use", "error"), ("novel", "other"),
    ],
)  # fmt: skip
def test_stops(raw: str, reason: str) -> None:
    assert read(stopReason=raw).choices[0].stop == Stop(reason, raw)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("usage", "want"),
    [
        ({"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 7},
         Usage(3, 2, 5, 7)),
        ({"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokenCount": 5, "cacheWriteInputTokenCount": 7},
         Usage(3, 2, 5, 7)),
        ({"inputTokens": 3, "outputTokens": 2, "cacheWriteInputTokens": 7,
          "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 3}]}, Usage(3, 2, 0, 3, 4)),
        ({"inputTokens": 3, "cacheDetails": [{"ttl": "1h", "inputTokens": 4}]}, Usage(3, 0, 0, 0, 4)),
        ({"inputTokens": 3, "cacheWriteInputTokens": "x"}, Usage(3)),
        ({}, None),
    ],
)  # fmt: skip
def test_usage(usage: dict[str, Any], want: Usage | None) -> None:
    assert read_usage(usage) == want


@pytest.mark.parametrize("body", [b"", b"1", b"{}", b'{"output":{}}', b'{"output":{"message":{"content":1}}}', b"\xff"])
def test_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(body)


def test_renamed() -> None:
    call = {"toolUse": {"toolUseId": "t", "name": "f_1", "input": {}}}
    body = json.dumps({**ANSWER, "output": {"message": {"content": [call]}}}).encode()
    assert read_answer(body, {"f_1": "f.1"}).choices[0].blocks == [ToolCall("t", "f.1", "{}")]


def written(answer: Answer) -> tuple[dict[str, Any], list[str]]:
    losses = Losses()
    return json.loads(write_answer(answer, losses)), losses.names()


def test_written() -> None:
    usage = Usage(1, 2, 3, 4, 5, 6, 7, 8)
    answer = Answer(
        "id", "m", [Choice([ToolCall("t", "f", "{}")], Stop("stop", "stop"), {}), Choice([])], usage,
        service_tier="scale", extra={"novel": 1},
    )  # fmt: skip
    body, lost = written(answer)
    assert body["output"]["message"]["content"] == [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}]
    assert body["stopReason"] == "tool_use"
    assert body["usage"] == {
        "inputTokens": 8, "outputTokens": 16, "totalTokens": 36, "cacheReadInputTokens": 3,
        "cacheWriteInputTokens": 9, "cacheDetails": [{"ttl": "1h", "inputTokens": 5}, {"ttl": "5m", "inputTokens": 4}],
    }  # fmt: skip
    assert lost == ["logprobs", "n", "novel", "service_tier", "usage_kinds"]
    assert read_usage(body["usage"]) == Usage(8, 16, 3, 4, 5)


def test_refused() -> None:
    body, lost = written(Answer("", "", [Choice([Text("a")], Stop("refusal"))]))
    assert (body["stopReason"], lost) == ("content_filtered", ["stop_reason"])


@pytest.mark.parametrize(
    ("status", "body", "want"),
    [
        (429, b'{"message":"Too many requests"}', Failure(429, "Too many requests", "")),
        (400, b'{"__type":"com.amazon.coral#ValidationException","message":"no"}',
         Failure(400, "no", "ValidationException")),
        (403, b'{"Message":"not arn:aws:bedrock:us-east-1:123456789012:x"}', Failure(403, "not [resource]", "")),
        (503, b"", Failure(503, "The upstream answered with status 503", "")),
    ],
)  # fmt: skip
def test_failures(status: int, body: bytes, want: Failure) -> None:
    assert read_failure(status, body) == want


def test_written_failure() -> None:
    assert write_failure(Failure(400, "no")) == b'{"message":"no"}'
