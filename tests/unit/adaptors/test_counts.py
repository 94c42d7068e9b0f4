"""Counting tokens in each form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import counts
from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.spoken import SPOKEN, Asked

TEXT = "What is 1 + 1?"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
CLIENTS: dict[str, dict[str, Any]] = {
    "count_tokens": {
        "model": "m", "system": "Be brief.", "messages": [{"role": "user", "content": TEXT}],
        "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
    },
    "countTokens": {
        "generateContentRequest": {
            "model": "models/m", "contents": [{"role": "user", "parts": [{"text": TEXT}]}],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}]}],
        },
    },
    "input_tokens": {
        "model": "m", "instructions": "Be brief.", "input": TEXT,
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False}],
    },
}  # fmt: skip
MODELS = {
    "count_tokens": "claude-sonnet-4-5", "countTokens": "gemini-2.5-pro", "vertex-count": "gemini-2.5-pro",
    "input_tokens": "gpt-4o", "bedrock-count": "anthropic.claude-sonnet-4-20250514-v1:0",
}  # fmt: skip
MEMBERS = {
    "count_tokens": {"model", "messages", "system", "tools"},
    "countTokens": {"generateContentRequest"},
    "vertex-count": {"contents", "systemInstruction", "tools"},
    "input_tokens": {"model", "input", "instructions", "tools"},
    "bedrock-count": {"input"},
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("upstream", MODELS)
def test_any_client_is_counted_anywhere(client: str, upstream: str) -> None:
    """What is asked holds the text, the system prompt and the tool, and no member that the vendor refuses."""
    request = SPOKEN[client].read_request(json.dumps(CLIENTS[client]).encode(), model="m")
    request.model = MODELS[upstream]
    losses = Losses()
    content = SPOKEN[upstream].write_request(request, losses)
    assert json.loads(content).keys() == MEMBERS[upstream]
    for part in (TEXT, "Be brief.", '"f"', '"properties"'):
        assert part in content.decode(), part
    assert not losses, losses.names()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("upstream", "body"), [
    ("count_tokens", {"input_tokens": 14}), ("countTokens", {"totalTokens": 14, "promptTokensDetails": []}),
    ("vertex-count", {"totalTokens": 14, "totalBillableCharacters": 25}),
    ("input_tokens", {"object": "response.input_tokens", "input_tokens": 14}), ("bedrock-count", {"inputTokens": 14}),
])  # fmt: skip
def test_the_count(client: str, upstream: str, body: dict[str, Any]) -> None:
    asked = Asked(SPOKEN[client].read_request(json.dumps(CLIENTS[client]).encode(), model="m"), "m")
    count = SPOKEN[upstream].read_answer(json.dumps(body).encode(), asked)
    told = json.loads(SPOKEN[client].write_answer(count, asked, Losses()))
    assert told == {
        "count_tokens": {"input_tokens": 14}, "countTokens": {"totalTokens": 14},
        "input_tokens": {"object": "response.input_tokens", "input_tokens": 14},
    }[client]  # fmt: skip
    with pytest.raises(Unreadable):
        SPOKEN[upstream].read_answer(b'{"total":1}', asked)


def test_what_is_stored_is_not_counted_elsewhere() -> None:
    body = {"model": "m", "previous_response_id": "resp_1", "input": "x"}
    assert SPOKEN["input_tokens"].read_request(json.dumps(body).encode()).bound


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("us-gov.anthropic.claude-3-5-sonnet-20240620-v1:0", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "anthropic.claude-3-5-haiku-20241022-v1:0"),
        ("ai21.jamba-1-5-mini-v1:0", "ai21.jamba-1-5-mini-v1:0"),
    ],
)
def test_models_behind_profiles(model: str, found: str) -> None:
    assert counts.foundation_model(model) == found
