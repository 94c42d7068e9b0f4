"""Requests in Messages: own ones as they were, those of other dialects as the model takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Text, Thinking, ToolCall, ToolChoice, ToolResult, Turn
from burncloud.adaptors.messages.request import read_request, write_request
from burncloud.errors import INVALID_REQUEST, Refusal

HELLO = [{"role": "user", "content": "hi"}]

FULL: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 1000,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "t"}],
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "", "signature": "Eq"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": [1, 2.5, None, "é"]}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r", "is_error": True},
            {"type": "text", "text": "go on", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"role": "system", "content": [], "output_config": {"effort": "low"}, "clear_at": "never"},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "memory_20250818", "name": "memory"}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True, "novelty": 1},
    "thinking": {"type": "adaptive", "display": "omitted", "novelty": 1},
    "output_config": {
        "effort": "xhigh", "task_budget": {"type": "tokens", "total": 5},
        "format": {"type": "json_schema", "schema": {"type": "object"}, "novelty": 1},
    },
    "metadata": {"user_id": "u", "novelty": 1},
    "service_tier": "standard_only",
    "stop_sequences": ["\n"],
    "stream": True,
    "temperature": 0.5, "top_p": 0.9, "top_k": 4,
    "container": {"id": "c", "skills": []},
    "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
    "mcp_servers": [{"type": "url", "url": "https://x"}],
    "inference_geo": "eu", "speed": "fast", "anthropic_version": "x", "novelty": {"a": None},
}  # fmt: skip


def own(**members: Any) -> canon.Request:
    """A request of Messages, read."""
    return read_request(json.dumps({"model": "m", "max_tokens": 9, "messages": HELLO} | members).encode())


def test_there_and_back() -> None:
    losses = canon.Losses()
    request = read_request(json.dumps(FULL).encode())
    assert json.loads(write_request(request, losses)) == FULL
    assert not losses


def test_what_is_read() -> None:
    request = read_request(json.dumps(FULL).encode())
    assert (request.dialect, request.stream, request.include_usage) == ("messages", True, True)
    assert (request.max_tokens, request.temperature, request.top_p, request.top_k) == (1000, 0.5, 0.9, 4)
    assert (request.user, request.metadata, request.service_tier) == ("u", {"novelty": 1}, "default")
    assert request.thinking == Thinking(True, True, "xhigh", display="omitted")
    assert request.output == canon.OutputFormat("schema", schema={"type": "object"})
    assert (request.tool_choice, request.parallel_tools) == (ToolChoice("tool", "f"), False)
    assert [type(tool) for tool in request.tools] == [canon.Tool, canon.ServerTool]
    assert [turn.role for turn in request.turns] == ["user", "assistant", "user", "system"]
    assert request.turns[2].blocks[0] == ToolResult("toolu_1", [Text("r")], is_error=True)
    assert request.extra["container"] == FULL["container"]


@pytest.mark.parametrize(
    ("given", "thinking"),
    [
        ({"type": "enabled", "budget_tokens": 2000}, Thinking(True, False, "", 2000, "auto")),
        ({"type": "disabled"}, Thinking(False)),
        ({"type": "adaptive", "display": "summarized"}, Thinking(True, True, "", None, "auto", "summarized")),
        ({"type": "between_tools"}, Thinking(True, False, "", None, "auto")),
    ],
)
def test_thinking(given: dict[str, Any], thinking: Thinking) -> None:
    request = own(thinking=given)
    assert request.thinking == thinking
    assert json.loads(write_request(request, canon.Losses()))["thinking"] == given


def test_effort_alone() -> None:
    request = own(output_config={"effort": "low"})
    assert request.thinking == Thinking(effort="low")
    body = json.loads(write_request(request, canon.Losses()))
    assert body["output_config"] == {"effort": "low"}
    assert "thinking" not in body


def test_the_older_name_of_the_output_format() -> None:
    form = {"type": "json_schema", "schema": {"a": 1}, "novelty": 1}
    request = own(output_format=form)
    assert request.output == canon.OutputFormat("schema", schema={"a": 1})
    assert json.loads(write_request(request, canon.Losses()))["output_config"] == {"format": form}


def test_a_system_message_at_the_head() -> None:
    request = own(system="a", messages=[{"role": "system", "content": "b"}, *HELLO])
    assert request.system == [Text("a"), Text("b")]
    assert len(request.turns) == 1


def test_model_and_stream_of_the_url() -> None:
    body = json.dumps({"messages": HELLO}).encode()
    request = read_request(body, model="claude-3", stream=True)
    assert (request.model, request.stream, request.max_tokens) == ("claude-3", True, None)
    assert "max_tokens" not in json.loads(write_request(request, canon.Losses())), "count_tokens has none"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"model": None}, "model must be given"),
        ({"messages": None}, "messages must be given"),
        ({"messages": {}}, "messages must be a list"),
        ({"messages": []}, "messages must be a list of at least one message"),
        ({"messages": ["x"]}, "messages[0] must be an object"),
        ({"messages": [{"role": "user"}]}, "messages[0].content must be given"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role must be user, assistant or system"),
        ({"max_tokens": "9"}, "max_tokens must be an integer"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"stream": 1}, "stream must be true or false"),
        ({"stop_sequences": "x"}, "stop_sequences must be a list"),
        ({"system": 3}, "system must be a string or a list"),
        ({"tools": [1]}, "tools[0] must be an object"),
        ({"tool_choice": "auto"}, "tool_choice must be an object"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens must be an integer"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type must be json_schema"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema must be given"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id must be a string"),
    ],
)
def test_malformed(members: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal) as caught:
        own(**members)
    assert caught.value.message == message
    assert caught.value.row is INVALID_REQUEST


def foreign(model: str = "claude-sonnet-4-5", **fields: Any) -> tuple[dict[str, Any], list[str]]:
    """(body, losses) of a chat request."""
    losses = canon.Losses()
    request = canon.Request(model, [Turn("user", [Text("hi")])], dialect="chat")
    for name, value in fields.items():
        setattr(request, name, value)
    return json.loads(write_request(request, losses)), losses.names()


def test_a_foreign_request() -> None:
    body, lost = foreign(system=[Text("s")], user="u", stream=True, stop=["x"], service_tier="default")
    assert body == {
        "model": "claude-sonnet-4-5", "max_tokens": 4096, "system": "s", "messages": HELLO, "stop_sequences": ["x"],
        "stream": True, "metadata": {"user_id": "u"}, "service_tier": "standard_only",
    }  # fmt: skip
    assert lost == []


def test_a_system_prompt_alone() -> None:
    body, lost = foreign(turns=[], system=[Text("s")])
    assert body["messages"] == [{"role": "user", "content": "s"}]
    assert "system" not in body
    assert lost == ["first_turn"]


def test_what_has_no_equal_is_named() -> None:
    _, lost = foreign(
        frequency_penalty=0.1, presence_penalty=0.0, seed=0, n=2, logprobs=True, logit_bias={"1": 1.0}, min_p=0.1,
        modalities=["text", "audio"], audio={"voice": "x"}, verbosity="high", metadata={"a": "b"}, store=True,
        cache_key="k", safety=[{"a": 1}], service_tier="flex", stop=["\n", "x"], extra={"novelty": 1, "absent": None},
    )  # fmt: skip
    assert lost == [
        "audio", "cache_key", "frequency_penalty", "logit_bias", "logprobs", "metadata", "min_p", "modalities", "n",
        "novelty", "safety", "seed", "service_tier", "stop", "store", "verbosity",
    ]  # fmt: skip
    assert foreign(n=1, modalities=["text"], verbosity="medium", store=False, logprobs=False)[1] == []


THINKING: list[tuple[str, Thinking, int | None, dict[str, Any] | None, str | None, int, list[str]]] = [
    # model, asked, max_tokens → thinking, effort, max_tokens, losses
    ("claude-sonnet-4-5", Thinking(effort="high"), None, {"type": "enabled", "budget_tokens": 16384}, None, 20480, []),
    ("claude-sonnet-4-5", Thinking(budget_tokens=3000), 9000, {"type": "enabled", "budget_tokens": 3000}, None, 9000,
     []),
    ("claude-sonnet-4-5", Thinking(effort="high"), 4000, {"type": "enabled", "budget_tokens": 2000}, None, 4000, []),
    ("claude-sonnet-4-5", Thinking(budget_tokens=9000), 4000, {"type": "enabled", "budget_tokens": 2000}, None, 4000,
     ["thinking_budget"]),
    ("claude-sonnet-4-5", Thinking(effort="low"), 500, None, None, 500, ["thinking"]),
    ("claude-sonnet-4-5", Thinking(effort="none"), None, None, None, 4096, []),
    ("claude-sonnet-4-5", Thinking(budget_tokens=0), None, None, None, 4096, []),
    ("claude-sonnet-4-5", Thinking(), None, None, None, 4096, []),
    ("claude-sonnet-4-5", Thinking(True, budget_tokens=-1), None, {"type": "enabled", "budget_tokens": 8192}, None,
     12288, []),
    ("claude-3-5-haiku", Thinking(effort="low"), None, None, None, 4096, ["thinking"]),
    ("claude-opus-4-6", Thinking(effort="xhigh"), None, {"type": "adaptive"}, "high", 28672, []),
    ("claude-opus-4-6", Thinking(budget_tokens=2000), 9000, {"type": "enabled", "budget_tokens": 2000}, None, 9000, []),
    ("claude-opus-5", Thinking(effort="minimal", summary="auto"), 900, {"type": "adaptive", "display": "summarized"},
     "low", 900, []),
    ("claude-opus-5", Thinking(budget_tokens=9000), 9000, {"type": "adaptive"}, "high", 9000, ["thinking_budget"]),
    ("claude-opus-5", Thinking(True), 9000, {"type": "adaptive"}, None, 9000, []),
    ("claude-opus-5", Thinking(effort="none"), 9000, {"type": "disabled"}, None, 9000, []),
    ("claude-fable-5", Thinking(False), 9000, None, None, 9000, ["thinking"]),
]  # fmt: skip


@pytest.mark.parametrize(("model", "asked", "limit", "thinking", "effort", "max_tokens", "lost"), THINKING)
def test_thinking_of_other_dialects(
    model: str, asked: Thinking, limit: int | None, thinking: Any, effort: Any, max_tokens: int, lost: list[str]
) -> None:
    body, losses = foreign(model, thinking=asked, max_tokens=limit)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert (body["max_tokens"], losses) == (max_tokens, lost)


def test_a_budget_where_it_would_be_refused() -> None:
    forced: dict[str, Any] = {"tools": [canon.Tool("f")], "tool_choice": ToolChoice("required")}
    body, lost = foreign(thinking=Thinking(effort="high"), **forced)
    assert "thinking" not in body
    assert lost == ["thinking"]
    loop = [
        Turn("user", [Text("a")]),
        Turn("assistant", [ToolCall("1", "f", "{}")]),
        Turn("user", [ToolResult("1", [Text("r")])]),
    ]
    assert foreign(thinking=Thinking(effort="high"), turns=loop)[1] == ["thinking"]
    body, lost = foreign("claude-opus-5", thinking=Thinking(effort="high"), turns=loop, **forced)
    assert body["thinking"] == {"type": "adaptive"}
    assert lost == []


SAMPLING: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("claude-3-haiku", {"temperature": 0.5, "top_p": 0.9, "top_k": 3},
     {"temperature": 0.5, "top_p": 0.9, "top_k": 3}, []),
    ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ["top_p"]),
    ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 1.0}, {"temperature": 0.5}, []),
    ("claude-sonnet-4-5", {"top_p": 0.9}, {"top_p": 0.9}, []),
    ("claude-sonnet-4-5", {"temperature": 1.7}, {"temperature": 1}, ["temperature"]),
    ("claude-opus-5", {"temperature": 0.5, "top_p": 0.9, "top_k": 3}, {}, ["temperature", "top_k", "top_p"]),
    ("claude-opus-5", {"temperature": 1.0, "top_p": 1.0}, {}, []),
    ("claude-sonnet-4-5", {"temperature": 0.5, "thinking": Thinking(effort="low")}, {}, ["temperature"]),
    ("kimi-k2", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, []),
]  # fmt: skip


@pytest.mark.parametrize(("model", "fields", "want", "lost"), SAMPLING)
def test_sampling(model: str, fields: dict[str, Any], want: dict[str, Any], lost: list[str]) -> None:
    body, losses = foreign(model, **fields)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == want
    assert losses == lost


def test_json() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body, lost = foreign(output=canon.OutputFormat("schema", "n", "d", schema))
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {**schema, "additionalProperties": False, "description": "d"},
    }
    assert lost == []
    body, lost = foreign("claude-3-haiku", output=canon.OutputFormat("schema", schema=schema), system=[Text("s")])
    assert "output_config" not in body
    assert json.dumps(schema, separators=(",", ":")) in body["system"][1]["text"]
    assert lost == ["json_schema"]
    body, lost = foreign(output=canon.OutputFormat("json"))
    assert "JSON" in body["system"]
    assert lost == ["json_mode"]
    assert foreign(output=canon.OutputFormat("text"))[1] == []


def test_a_schema_that_nests_too_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"items": deep}
    with pytest.raises(Refusal, match="cannot be translated"):
        foreign(tools=[canon.Tool("f", parameters=deep)])
    with pytest.raises(Refusal, match="cannot be translated"):
        foreign(output=canon.OutputFormat("schema", schema=deep))


@given(st.binary(max_size=80))
def test_any_bytes(body: bytes) -> None:
    try:
        read_request(body)
    except Refusal as error:
        assert error.row is INVALID_REQUEST  # noqa: PT017


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_thread_binds_to_its_vendor(thread: dict[str, str]) -> None:
    """Of a thread that goes on, only the newest messages are sent: nobody else has the others."""
    body = {"model": "m", "max_tokens": 9, "messages": HELLO, "thread": thread}
    request = read_request(json.dumps(body).encode())
    assert request.bound
    assert json.loads(write_request(request, canon.Losses()))["thread"] == thread
    assert not read_request(json.dumps({**body, "thread": None}).encode()).bound
