"""Requests, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.responses.request import own_members, read_request, write_request
from burncloud.errors import Refusal

WHOLE: dict[str, Any] = {
    "model": "gpt-5.2", "instructions": "be good", "stream": True, "stream_options": {"include_obfuscation": False},
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
    "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False,
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
             "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto", "context": "all_turns"}, "max_output_tokens": 99,
    "temperature": 0.5, "top_p": 0.9, "top_logprobs": 2, "truncation": "auto", "max_tool_calls": 3,
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs", "file_search_call.results"],
    "metadata": {"a": "b"}, "safety_identifier": "u", "prompt_cache_key": "k", "service_tier": "flex", "store": False,
    "background": True, "previous_response_id": "resp_1", "conversation": {"id": "conv_1"}, "prompt": {"id": "pmpt_1"},
}  # fmt: skip


def read(**members: Any) -> canon.Request:
    return read_request(json.dumps({"model": "m", "input": "hi", **members}).encode())


def written(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(write_request(request, losses))
    return found


def test_there_and_back() -> None:
    losses = canon.Losses()
    assert written(read_request(json.dumps(WHOLE).encode()), losses) == WHOLE
    assert not losses


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt"])
def test_bound_to_its_vendor(name: str) -> None:
    assert name in read(**{name: "x"}).bound
    assert not read(**{name: None}).bound


def test_what_it_means() -> None:
    request = read_request(json.dumps(WHOLE).encode())
    assert request.thinking == canon.Thinking(effort="low", summary="auto")
    assert request.output == canon.OutputFormat("schema", "n", "", {"type": "object"}, True)
    assert (request.user, request.logprobs, request.include_usage) == ("u", True, True)
    assert sorted(request.extra) == [
        "background", "conversation", "include", "max_tool_calls", "previous_response_id", "prompt", "reasoning",
        "truncation",
    ]  # fmt: skip


def test_what_says_nothing_is_no_loss() -> None:
    request = read(truncation="disabled", background=False, include=["reasoning.encrypted_content"], stream_options={})
    assert request.extra == {}


def test_codex() -> None:
    """What Codex sends can go anywhere without a loss but that of its custom tool."""
    request = read(
        instructions="You are Codex", store=False, include=["reasoning.encrypted_content"], prompt_cache_key="k",
        reasoning={"effort": "medium", "summary": "auto"}, tool_choice="auto", parallel_tool_calls=True,
    )  # fmt: skip
    assert (request.bound, request.extra, request.store) == ("", {}, False)


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"text": 5}, "text"),
        ({"include": [5]}, "include"),
        ({"max_output_tokens": "x"}, "max_output_tokens"),
    ],
)
def test_malformed(members: dict[str, Any], where: str) -> None:
    with pytest.raises(Refusal, match=where):
        read(**members)


def test_of_another_dialect() -> None:
    asked = canon.Request(
        "gpt-5.2", [canon.Turn("user", [canon.Text("hi")])], [canon.Text("a"), canon.Text("b")], max_tokens=5,
        temperature=0.5, stop=["x"], seed=1, n=2, user="u" * 65, thinking=canon.Thinking(effort="high", summary="auto"),
        metadata={"a": "b", "c": 5}, tools=[canon.Tool("f")], dialect="messages", logprobs=True, cache_key="k",
    )  # fmt: skip
    losses = canon.Losses()
    body = written(asked, losses)
    assert len(body.pop("user")) == 64
    assert body == {
        "model": "gpt-5.2", "instructions": "a\n\nb",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}},
                   "strict": False}],
        "reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 16, "store": False,
        "include": ["reasoning.encrypted_content"], "metadata": {"a": "b"}, "prompt_cache_key": "k",
    }  # fmt: skip
    assert losses.names() == ["logprobs", "max_tokens", "metadata", "n", "seed", "stop", "temperature"]


def test_an_unknown_model_gets_no_more_than_the_usual() -> None:
    asked = canon.Request("m", [], [], temperature=0.5, metadata={"a": "b"}, store=True, logprobs=True, top_logprobs=1)
    losses = canon.Losses()
    assert written(asked, losses) == {
        "model": "m", "input": [], "temperature": 0.5, "top_logprobs": 1, "store": False,
        "include": ["message.output_text.logprobs"],
    }  # fmt: skip
    assert losses.names() == ["metadata", "store"]


def test_what_an_answer_repeats() -> None:
    members = own_members(read(temperature=0.5, user="u"), canon.Losses())
    assert members == {"temperature": 0.5, "user": "u"}


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    with pytest.raises(Refusal):
        read_request(body)
