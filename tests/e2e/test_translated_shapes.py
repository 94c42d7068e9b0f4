"""The shapes of requests that coding agents send, and answers that have a schema, against models of other vendors.

Claude Code: system blocks and tools with cache marks, thinking, metadata, many tools, a stream, count_tokens.  Codex:
Responses with nothing stored, encrypted reasoning that comes back, many tools, a cache key, a stream.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from anthropic import Anthropic, BadRequestError
from google import genai
from google.genai import types
from openai import OpenAI
from pydantic import BaseModel

from tests.e2e.conftest import Stage
from tests.e2e.talks import ANSWER, CALL, FIRST, LAST, RESULT, SCHEMA, THOUGHT, called
from tests.e2e.vendor_scripts import VENDORS, Call, Say, Step

UPSTREAMS: Final = ("chat", "responses", "gemini", "converse")
MARK: Final = {"type": "ephemeral"}
SYSTEM: Final[Any] = [
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1"},
    {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", "cache_control": MARK},
    {"type": "text", "text": "You are an interactive agent that helps users with software engineering tasks.",
     "cache_control": MARK},
]  # fmt: skip
TOOLS: Final[Any] = [
    {"name": "get_weather", "description": "Tell the weather", "input_schema": SCHEMA},
    *({"name": f"mcp__server__tool_{n}", "description": f"Tool number {n}", "input_schema": {
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": False,
        "properties": {"path": {"type": "string", "description": "where"}, "mode": {"enum": ["a", "b"]},
                       "limit": {"type": "integer", "exclusiveMinimum": 0},
                       "items": {"type": "array", "items": {"$ref": "#/$defs/item"}}},
        "$defs": {"item": {"type": "object", "properties": {"id": {"type": ["string", "null"]}}}},
        "required": ["path"]}} for n in range(40)),
]  # fmt: skip


def claude_code(messages: list[Any], model: str) -> dict[str, Any]:
    """A request of Claude Code's."""
    return {
        "model": model, "max_tokens": 32000, "system": SYSTEM, "tools": TOOLS, "messages": messages,
        "thinking": {"type": "enabled", "budget_tokens": 31999}, "metadata": {"user_id": "user_1_account__session_2"},
        "betas": ["claude-code-20250219", "interleaved-thinking-2025-05-14"],
    }  # fmt: skip


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_claude_code(stage: Stage, upstream: str) -> None:
    """Two tools at once, a result that is an error, a cache mark on the newest message, thinking that comes back."""
    second = Call("call_F5g6H7i8J", "mcp__server__tool_3", {"path": "/tmp", "mode": "a"})
    stage.script(upstream, [*FIRST, second], LAST, stream=True)
    messages: list[Any] = [
        {"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>\nToday is Monday.\n</system-reminder>"},
            {"type": "text", "text": "Look at the weather", "cache_control": MARK}]}
    ]  # fmt: skip
    with Anthropic(base_url=stage.product.url, api_key=stage.key, max_retries=0) as client:
        with client.beta.messages.stream(**claude_code(messages, f"on-{upstream}")) as events:
            first = events.get_final_message()
        assert "".join(block.thinking for block in first.content if block.type == "thinking") == THOUGHT.text
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [(call.name, call.input) for call in calls] == [(CALL.name, CALL.arguments), tuple(second)[1:]]
        results: list[Any] = [
            {"type": "tool_result", "tool_use_id": calls[0].id, "content": [{"type": "text", "text": RESULT}]},
            {"type": "tool_result", "tool_use_id": calls[1].id, "content": "no such file", "is_error": True,
             "cache_control": MARK},
        ]  # fmt: skip
        again = [*messages, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
        with client.beta.messages.stream(**claude_code(again, f"on-{upstream}")) as events:
            last = events.get_final_message()
    assert "".join(block.text for block in last.content if block.type == "text") == ANSWER.text
    assert last.usage.output_tokens == 12
    vendor, (one, two) = VENDORS[upstream], stage.bodies
    for step in (THOUGHT, CALL, second):
        assert vendor.back(two, step), (step, two)
    found = vendor.results(two)
    assert len(found) == 2
    assert RESULT in found[0][1]
    assert "no such file" in found[1][1]
    text = json.dumps(one)
    assert all(block["text"] in text for block in SYSTEM)
    assert all(tool["name"] in text for tool in TOOLS)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_claude_code_counts_tokens(stage: Stage, upstream: str) -> None:
    """Answered by the vendor where it can, else estimated: in either case a number in Anthropic's form."""
    stage.script(upstream, LAST, stream=False)
    asked: Any = claude_code([{"role": "user", "content": "hello " * 400}], f"on-{upstream}")
    del asked["max_tokens"], asked["metadata"]
    with Anthropic(base_url=stage.product.url, api_key=stage.key, max_retries=0) as client:
        raw = client.beta.messages.with_raw_response.count_tokens(**asked)
    assert raw.parse().input_tokens > 400


CODEX_TOOLS: Final[Any] = [
    {"type": "function", "name": "get_weather", "description": "Weather", "strict": False, "parameters": SCHEMA},
    {"type": "function", "name": "shell", "description": "Run", "strict": False, "parameters": {
        "type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}},
                                         "timeout_ms": {"type": "number"}},
        "required": ["command"], "additionalProperties": False}},
]  # fmt: skip


def codex(items: list[Any], model: str) -> dict[str, Any]:
    """A request of Codex's."""
    return {
        "model": model, "instructions": "You are Codex, a coding agent.", "input": items, "tools": CODEX_TOOLS,
        "tool_choice": "auto", "parallel_tool_calls": False, "reasoning": {"effort": "high", "summary": "auto"},
        "store": False, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "0198-session",
        "text": {"verbosity": "medium"},
    }  # fmt: skip


@pytest.mark.parametrize("upstream", ["chat", "messages", "gemini", "converse"])
def test_codex(stage: Stage, upstream: str) -> None:
    """The raw events are put together as Codex does: from the items that are done."""
    stage.script(upstream, FIRST, LAST, stream=True)
    items: list[Any] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "sandbox: read-only"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look at the weather"}]},
    ]
    with OpenAI(base_url=f"{stage.product.url}/v1", api_key=stage.key, max_retries=0) as client:

        def ask(given: list[Any]) -> list[Any]:
            events = list(client.responses.create(**codex(given, f"on-{upstream}"), stream=True))
            assert events[-1].type == "response.completed"
            assert [event.sequence_number for event in events] == list(range(len(events)))
            return [event.item for event in events if event.type == "response.output_item.done"]

        done = ask(items)
        thoughts = [item for item in done if item.type == "reasoning"]
        assert "".join(part.text for item in thoughts for part in item.content or item.summary) == THOUGHT.text
        if upstream != "chat":  # whose thinking has no secret
            assert any(item.encrypted_content for item in thoughts)
        (call,) = (item for item in done if item.type == "function_call")
        called(call.name, json.loads(call.arguments))
        back = [item.model_dump(exclude_none=True) for item in done]
        for item in back:
            item.pop("id", None)  # Codex sends none with store: false
        result = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
        (said,) = (item for item in ask([*items, *back, result]) if item.type == "message")
    assert said.content[0].text == ANSWER.text
    vendor, (one, two) = VENDORS[upstream], stage.bodies
    assert vendor.back(two, CALL)
    assert vendor.back(two, THOUGHT), two
    assert RESULT in vendor.results(two)[0][1]
    assert "sandbox: read-only" in json.dumps(one)


class City(BaseModel):
    """What is asked for."""

    name: str
    people: int


SAID: Final = '{"name": "Zürich", "people": 450000}'


@pytest.mark.parametrize("upstream", ["chat", "responses", "messages", "gemini", "converse"])
@pytest.mark.parametrize("client", ["openai chat", "openai responses", "anthropic", "google"])
def test_an_answer_with_a_schema(stage: Stage, client: str, upstream: str) -> None:
    """The SDKs' own parsers get their object, and the upstream was told the schema."""
    steps: list[Step] = [Say(SAID)]
    stage.script(upstream, steps, stream=False)
    model, url, question = f"on-{upstream}", stage.product.url, "The largest city of Switzerland?"
    asked: Any = [{"role": "user", "content": question}]
    if client == "openai chat":
        with OpenAI(base_url=f"{url}/v1", api_key=stage.key, max_retries=0) as openai:
            parsed = openai.chat.completions.parse(model=model, messages=asked, response_format=City)
            city: Any = parsed.choices[0].message.parsed
    elif client == "openai responses":
        with OpenAI(base_url=f"{url}/v1", api_key=stage.key, max_retries=0) as openai:
            city = openai.responses.parse(model=model, input=asked, text_format=City).output_parsed
    elif client == "anthropic":
        with Anthropic(base_url=url, api_key=stage.key, max_retries=0) as anthropic:
            city = anthropic.messages.parse(
                model=model, max_tokens=99, messages=asked, output_format=City
            ).parsed_output
    else:
        with genai.Client(api_key=stage.key, http_options=types.HttpOptions(base_url=url)) as google:
            config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
            city = google.models.generate_content(model=model, contents=question, config=config).parsed
    assert city == City(name="Zürich", people=450000)
    (body,) = stage.bodies
    assert '"people"' in json.dumps(body).replace("\\", "")


def test_a_thread_is_not_half_a_conversation(stage: Stage) -> None:
    """Anthropic's threads live at Anthropic: such a request is refused, not answered without its history."""
    stage.script("chat", LAST, stream=False)
    with (
        Anthropic(base_url=stage.product.url, api_key=stage.key, max_retries=0) as client,
        pytest.raises(BadRequestError, match="send the whole conversation"),
    ):
        client.beta.messages.create(
            model="on-chat", max_tokens=9, messages=[{"role": "user", "content": "and?"}],
            thread={"type": "continue", "previous_message_id": "msg_1"}, betas=["message-threads-2026-10-01"],
        )  # fmt: skip
    assert stage.bodies == []


def test_losses_are_told_and_strict_refuses(stage: Stage) -> None:
    """x-burncloud-lossy names them; x-burncloud-strict turns them into a 400 before anything is sent."""
    stage.script("messages", LAST, stream=False)
    with OpenAI(base_url=f"{stage.product.url}/v1", api_key=stage.key, max_retries=0) as client:
        asked: Any = {"model": "on-messages", "messages": [{"role": "user", "content": "hi"}], "seed": 7}
        raw = client.chat.completions.with_raw_response.create(**asked)
        assert raw.headers["x-burncloud-lossy"] == "seed"
        with pytest.raises(Exception, match="without loss: seed"):
            client.chat.completions.create(**asked, extra_headers={"x-burncloud-strict": "true"})
    assert len(stage.bodies) == 1
