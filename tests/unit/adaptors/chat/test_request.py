"""Requests of Chat: read, written back, and made of other dialects' for the model's family."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Losses, OutputFormat, Request, Text, Thinking, Tool, ToolChoice, Turn
from burncloud.adaptors.chat.request import read_request, write_request
from burncloud.errors import Refusal

USER = {"role": "user", "content": "hi"}


def read(**members: Any) -> Request:
    return read_request(json.dumps({"model": "m", "messages": [USER], **members}).encode())


def write(request: Request) -> tuple[dict[str, Any], list[str]]:
    losses = Losses()
    return json.loads(write_request(request, losses)), losses.names()


@pytest.mark.parametrize(
    "members",
    [
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "seed": 1, "n": 2, "stop": "x", "user": "u"},
        {"max_completion_tokens": 5, "random_seed": 1, "stop": ["x", "y"], "safety_identifier": "u"},
        {"frequency_penalty": 0.1, "presence_penalty": -0.1, "logit_bias": {"50256": -100}, "top_k": 3, "min_p": 0.1},
        {"logprobs": True, "top_logprobs": 2, "service_tier": "flex", "store": True, "metadata": {"a": "b"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}},
        {"response_format": {"type": "grammar", "grammar": "root ::= x"}},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}, "verbosity": "low"},
        {"prediction": {"type": "content", "content": "x"}, "prompt_cache_key": "k", "web_search_options": {}},
        {
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
        },
        {"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}},
        {"functions": [{"name": "f"}], "function_call": "auto"},
        {"reasoning_effort": "low"},
        {"thinking": {"type": "enabled", "clear_thinking": False}, "vendors_own": [1]},
    ],
)
def test_there_and_back(members: dict[str, Any]) -> None:
    assert write(read(**members)) == ({"model": "m", "messages": [USER], **members}, [])


def test_model_and_stream_of_the_url() -> None:
    request = read_request(json.dumps({"messages": [USER]}).encode(), model="deployment", stream=True)
    assert (request.model, request.stream, request.dialect) == ("deployment", True, "chat")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "the request body must be an object"),
        (b'{"messages": []}', "model must be given"),
        (b'{"model": "m"}', "messages must be given"),
        (b'{"model": "m", "messages": {}}', "messages must be a list"),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "stop": [5]}',
            "stop must be a list of strings",
        ),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "n": "2"}', "n must be an integer"),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "logit_bias": {"a": "b"}}',
            "logit_bias must",
        ),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [{}]}', r"tools\[0\].function must"),
        (
            b'{"model": "m", "messages": [{"role": "tool"}], "response_format": {"type": "json_schema"}}',
            "response_format.json_schema must be given",
        ),
    ],
)
def test_malformed(body: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message) as caught:
        read_request(body)
    assert caught.value.row.status == 400


def foreign(model: str, **members: Any) -> Request:
    return Request(model, [Turn("user", [Text("hi")])], dialect="messages", **members)


def test_openais_reasoning_models() -> None:
    request = foreign(
        "o3", max_tokens=9, temperature=0.2, top_p=1, top_k=5, stop=["x"], thinking=Thinking(effort="low"),
        parallel_tools=False, tools=[Tool("f")], stream=True, include_usage=True,
    )  # fmt: skip
    assert write(request) == (
        {
            "model": "o3", "messages": [USER], "stream": True, "stream_options": {"include_usage": True},
            "tools": [{"type": "function", "function": {"name": "f"}}], "parallel_tool_calls": False,
            "reasoning_effort": "low", "max_completion_tokens": 9,
        },
        ["stop", "temperature", "top_k"],
    )  # fmt: skip


def test_a_copy_of_openais_api() -> None:
    request = foreign(
        "llama", max_tokens=9, temperature=0.2, top_k=5, stop=["a", "b", "c", "d", "e"], seed=1, user="u", store=True,
        metadata={"a": "b"}, cache_key="k", service_tier="priority", safety=[{}], verbosity="low", logprobs=True,
        extra={"container": "c", "nothing": None}, tool_choice=ToolChoice("required"), output=OutputFormat("json"),
    )  # fmt: skip
    body, losses = write(request)
    assert body == {
        "model": "llama", "messages": [USER], "response_format": {"type": "json_object"}, "max_tokens": 9, "seed": 1,
        "temperature": 0.2, "logprobs": True, "stop": ["a", "b", "c", "d", "e"], "user": "u",
    }  # fmt: skip
    assert losses == [
        "cache_key", "container", "metadata", "safety", "service_tier", "store", "tool_choice", "top_k", "verbosity",
    ]  # fmt: skip


def test_mistral_and_openai_itself() -> None:
    body, losses = write(foreign("mistral-small", seed=1, user="u"))
    assert body["random_seed"] == 1
    assert losses == ["user"]
    body, losses = write(foreign("gpt-4o", stop=list("abcde"), metadata={"a": "b", "c": 1}, service_tier="flex"))
    assert body["stop"] == list("abcd")
    assert "metadata" not in body  # OpenAI takes it only with store, which nobody asked for
    assert body["service_tier"] == "flex"
    assert losses == ["metadata", "stop"]


def test_a_schema_needs_a_name() -> None:
    schema = {"type": "object", "properties": {}}
    body, _ = write(foreign("gpt-4o", output=OutputFormat("schema", schema=schema, strict=True)))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def test_what_cannot_be_written_is_refused() -> None:
    deep: Any = {}
    for _ in range(50_000):
        deep = {"a": deep}
    request = foreign("m", tools=[Tool("f", parameters=deep)])
    with pytest.raises(Refusal, match="cannot be translated"):
        write_request(request, Losses())


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    with pytest.raises(Refusal):
        read_request(body)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_message(message: Any) -> None:
    try:
        request = read_request(json.dumps({"model": "m", "messages": [message]}).encode())
    except Refusal:
        return
    canon_again = read_request(write_request(request, Losses()))
    assert canon_again.turns == request.turns
    assert type(canon_again) is canon.Request
