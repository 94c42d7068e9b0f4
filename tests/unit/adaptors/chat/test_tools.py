"""Tools and the choice among them, for OpenAI and for its copies."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors.canon import Losses, Request, ServerTool, Tool, ToolChoice
from burncloud.adaptors.chat.blocks import Writing
from burncloud.adaptors.chat.tools import FREE_TEXT, read_choice, read_tool, write_call_id, write_choice, write_tools
from burncloud.adaptors.fields import Fields
from burncloud.errors import Refusal

SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}


@pytest.mark.parametrize(
    "value",
    [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}},
        {"type": "function", "function": {"name": "f", "unknown": 1}, "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "custom": {"name": "c", "description": "d", "format": {"type": "text"}}},
        {"type": "openrouter:web_search", "parameters": {"max_results": 1}},
    ],
)
def test_there_and_back(value: dict[str, Any]) -> None:
    losses = Losses()
    request = Request("m", [], tools=[read_tool(Fields(value), value)], dialect="chat")
    assert write_tools(request, Writing(losses, own=True)) == [value]
    assert not losses


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        ("auto", ToolChoice("auto")),
        ("any", ToolChoice("required")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("tool", "f")),
        ({"name": "f"}, ToolChoice("tool", "f")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            ToolChoice("allowed", names=["f"], mode="required"),
        ),
    ],
)
def test_choices(value: Any, choice: ToolChoice) -> None:
    assert read_choice(value) == choice


@pytest.mark.parametrize(
    "value", ["sometimes", 5, {"type": "other"}, {"type": "function"}, {"type": "allowed_tools", "tools": 1}]
)
def test_bad_choices(value: Any) -> None:
    with pytest.raises(Refusal, match="must be"):
        read_choice(value)


def test_another_dialects_tools_for_a_copy() -> None:
    losses = Losses()
    tools: list[Tool | ServerTool] = [
        Tool("f", "d", SCHEMA, cache={"type": "ephemeral"}),
        Tool("g"),
        Tool("patch", custom={"format": {}}),
        ServerTool("messages", {"type": "web_search_20250305"}),
    ]
    choice = ToolChoice("allowed", names=["f", "patch"], mode="required")
    to = Writing(losses, own=False, model="some-model")
    request = Request("m", [], tools=tools, tool_choice=choice, dialect="responses")
    written = write_tools(request, to)
    assert [tool["function"]["name"] for tool in written] == ["f", "patch"]
    assert written[1]["function"]["parameters"] == FREE_TEXT
    assert write_choice(request, written, to) == "required"
    assert losses.names() == ["cache_control", "custom_tools", "server_tools"]


def test_openai_has_custom_and_allowed_tools() -> None:
    losses = Losses()
    to = Writing(losses, own=False, model="gpt-5")
    tools = [Tool("f", "d", SCHEMA), Tool("patch", custom={"format": {"type": "text"}})]
    choice = ToolChoice("allowed", names=["f", "patch"])
    request = Request("m", [], tools=list(tools), tool_choice=choice, dialect="responses")
    written = write_tools(request, to)
    assert written[1] == {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}}
    allowed: Any = write_choice(request, written, to)
    assert [tool["type"] for tool in allowed["allowed_tools"]["tools"]] == ["function", "custom"]
    assert not losses


def test_a_choice_without_tools() -> None:
    losses = Losses()
    request = Request("m", [], tool_choice=ToolChoice("required"), dialect="messages")
    assert write_choice(request, [], Writing(losses, own=False)) is None
    assert losses.names() == ["tool_choice"]


def test_ids_of_calls() -> None:
    copy, mistral = Writing(Losses(), own=False), Writing(Losses(), own=False, model="mistral-large-latest")
    assert write_call_id("toolu_1", copy) == "toolu_1"
    long = write_call_id("x" * 60, copy)
    assert len(long) <= 40
    assert long == write_call_id("x" * 60, copy) != write_call_id("x" * 61, copy)
    assert write_call_id("abcdefgh1", mistral) == "abcdefgh1"
    nine = write_call_id("toolu_1", mistral)
    assert len(nine) == 9
    assert nine.isalnum()
    assert write_call_id("x" * 60, Writing(Losses(), own=True)) == "x" * 60
