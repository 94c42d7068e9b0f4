"""Answers of legacy Completions, and log probabilities in two forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.canon import Answer, Block, Choice, Losses, Stop, Text, ToolCall, Unreadable
from burncloud.adaptors.completions.answer import read_answer, read_logprobs, write_answer, write_logprobs
from burncloud.domain.usage import Usage

OLD: dict[str, Any] = {
    "tokens": ["a", "é"], "token_logprobs": [None, -1], "top_logprobs": [None, {"é": -1, "e": -2}],
    "text_offset": [0, 1],
}  # fmt: skip


def test_there_and_back() -> None:
    body = {
        "id": "cmpl-1", "object": "text_completion", "created": 5, "model": "m", "system_fingerprint": "f",
        "choices": [
            {"index": at, "text": text, "logprobs": None, "finish_reason": "stop"} for at, text in enumerate("ab")
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }  # fmt: skip
    answer = read_answer(json.dumps(body).encode())
    assert [choice.blocks for choice in answer.choices] == [[Text("a")], [Text("b")]]
    assert answer.usage == Usage(1, 2)
    losses = Losses()
    written = json.loads(write_answer(answer, losses))
    assert written.pop("usage").items() >= body.pop("usage").items()  # type: ignore[attr-defined]
    assert written == body
    assert not losses


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not valid JSON"),
        (b'{"completion": "x"}', "no completion"),
        (b'{"error": {"message": "no"}}', "answered with an error: no"),
        (b'{"choices": [{"message": {}}]}', r"choices\[0\].text must be given"),
    ],
)
def test_unreadable(data: bytes, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        read_answer(data)


def test_logprobs() -> None:
    found = read_logprobs(OLD)
    assert found is not None
    assert found["content"][1] == {
        "token": "é", "logprob": -1, "bytes": [195, 169],
        "top_logprobs": [
            {"token": "é", "logprob": -1, "bytes": [195, 169]}, {"token": "e", "logprob": -2, "bytes": [101]},
        ],
    }  # fmt: skip
    assert found["content"][0]["logprob"] == 0.0
    assert write_logprobs(found, 7) == {
        "tokens": ["a", "é"], "token_logprobs": [0.0, -1], "top_logprobs": [{}, {"é": -1, "e": -2}],
        "text_offset": [7, 8],
    }  # fmt: skip
    assert read_logprobs({"tokens": []}) is None
    assert write_logprobs(None) is None


def test_an_answer_of_elsewhere() -> None:
    blocks: list[Block] = [Text("a"), ToolCall("c", "f", "{}")]
    losses = Losses()
    body = json.loads(write_answer(Answer("", "m", [Choice(blocks, Stop("tool"))], dialect="messages"), losses))
    assert body["choices"] == [{"index": 0, "text": "a\n\n[f({})]", "logprobs": None, "finish_reason": "stop"}]
    assert losses.names() == ["tool_calls"]
