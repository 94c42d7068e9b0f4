"""Requests of legacy Completions: there and back, and made of a conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.canon import Losses, OutputFormat, Request, Text, Thinking, Tool, Turn
from burncloud.adaptors.completions.request import DEFAULT_MAX_TOKENS, read_request, write_request
from burncloud.errors import Refusal


@pytest.mark.parametrize(
    "members",
    [
        {"prompt": "p", "stream": True, "stream_options": {"include_usage": True}},
        {"prompt": ["p"], "max_tokens": 5, "temperature": 0.5, "n": 2, "seed": 1, "stop": "x", "user": "u"},
        {
            "prompt": "p",
            "logprobs": 0,
            "logit_bias": {"1": 2},
            "stop": ["a"],
            "suffix": "s",
            "echo": True,
            "best_of": 3,
        },
    ],
)
def test_there_and_back(members: dict[str, Any]) -> None:
    losses = Losses()
    body = {"model": "m", **members}
    assert json.loads(write_request(read_request(json.dumps(body).encode()), losses)) == body
    assert not losses


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"prompt": "p"}', "model must be given"),
        (b'{"model": "m"}', "prompt must be one text"),
        (b'{"model": "m", "prompt": [1, 2]}', "prompt must be one text"),
        (b'{"model": "m", "prompt": ["a", "b"]}', "prompt must be one text"),
        (b'{"model": "m", "prompt": "p", "logit_bias": {"a": []}}', "logit_bias must be"),
    ],
)
def test_malformed(body: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        read_request(body)


def test_a_conversation() -> None:
    turns = [Turn("user", [Text("a")]), Turn("assistant", [Text("b")]), Turn("user", [Text("c")])]
    request = Request(
        "m", turns, tools=[Tool("f")], output=OutputFormat("json"), thinking=Thinking(effort="low"), top_k=1,
        stop=list("abcde"), logprobs=True, modalities=["audio"], stream=True, include_usage=True, dialect="chat",
        extra={"provider": {}},
    )  # fmt: skip
    losses = Losses()
    assert json.loads(write_request(request, losses)) == {
        "model": "m", "prompt": "User: a\n\nAssistant: b\n\nUser: c\n\nAssistant:", "stream": True,
        "stream_options": {"include_usage": True}, "max_tokens": DEFAULT_MAX_TOKENS, "stop": list("abcd"),
        "logprobs": 0,
    }  # fmt: skip
    assert losses.names() == ["json_mode", "modalities", "provider", "roles", "stop", "thinking", "tools", "top_k"]


def test_a_transcript_ends_where_the_user_would_speak() -> None:
    turns = [Turn("user", [Text("a")]), Turn("assistant", [Text("b")])]
    body = json.loads(write_request(Request("m", turns, dialect="messages"), Losses()))
    assert body["stop"] == ["\nUser:"]
