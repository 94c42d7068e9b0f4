"""toolConfig, names and ids."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Losses, Request, ServerTool, Tool, ToolCall, ToolChoice, Turn
from burncloud.adaptors.converse.content import Writing
from burncloud.adaptors.converse.families import family_of
from burncloud.adaptors.converse.tools import call_id, foreign_tools, own_tools, read_tools, renamed, tool_name
from burncloud.adaptors.fields import Fields
from burncloud.errors import Refusal

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def config(request: Request, model: str = CLAUDE) -> tuple[dict[str, Any], list[str]]:
    """(toolConfig, what was lost)."""
    losses = Losses()
    to = Writing(losses, own=False, model=model)
    to.where = "tools"
    return foreign_tools(request, request.turns, family_of(model), to.point, losses), losses.names()


def asked(*tools: Tool | ServerTool, **more: Any) -> Request:
    return Request("m", [], tools=list(tools), dialect="chat", **more)


def test_words() -> None:
    assert call_id("toolu_01-a") == "toolu_01-a"
    assert call_id("a.b") == "tooluse_a_b_1eef715d"
    assert len(call_id("x" * 500)) <= 64
    assert call_id("x" * 500) != call_id("x" * 501)
    losses = Losses()
    assert tool_name("f", losses) == "f"
    assert not losses
    name = tool_name("mcp.server/f" * 9, losses)
    assert len(name) <= 64
    assert losses.names() == ["tool_name"]
    assert renamed(asked(Tool("f"), Tool("mcp.server/f" * 9))) == {name: "mcp.server/f" * 9}


def test_tools() -> None:
    tool = Tool("f", "does", SCHEMA, cache={"type": "ephemeral"}, extra={"novel": 1})
    found, lost = config(asked(tool, Tool("g", " "), ServerTool("chat", {})))
    assert found == {
        "tools": [
            {"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}, "description": "does"}},
            {"cachePoint": {"type": "default"}},
            {"toolSpec": {"name": "g", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
        ]
    }
    assert lost == ["server_tools", "tools.novel"]


@pytest.mark.parametrize(
    ("choice", "model", "want", "lost"),
    [
        (ToolChoice("auto"), CLAUDE, {"auto": {}}, []),
        (ToolChoice("required"), CLAUDE, {"any": {}}, []),
        (ToolChoice("tool", "f"), CLAUDE, {"tool": {"name": "f"}}, []),
        (ToolChoice("allowed", names=["f"], mode="required"), CLAUDE, {"any": {}}, []),
        (ToolChoice("tool", "f"), "mistral.mistral-large-2407-v1:0", {"any": {}}, ["tool_choice"]),
        (ToolChoice("required"), "meta.llama3-3-70b-instruct-v1:0", {"auto": {}}, ["tool_choice"]),
        (None, CLAUDE, None, []),
    ],
)
def test_choices(choice: ToolChoice | None, model: str, want: dict[str, Any] | None, lost: list[str]) -> None:
    found, names = config(asked(Tool("f"), Tool("g"), tool_choice=choice), model)
    assert found.get("toolChoice") == want
    assert names == lost
    assert len(found["tools"]) == (1 if choice is not None and choice.kind == "allowed" else 2)


def test_no_tools_wanted() -> None:
    assert config(asked(Tool("f"), tool_choice=ToolChoice("none"))) == ({}, [])
    request = asked(Tool("f"), tool_choice=ToolChoice("none"))
    request.turns = [Turn("assistant", [ToolCall("t", "f", "{}")])]
    found, lost = config(request)
    assert [tool["toolSpec"]["name"] for tool in found["tools"]] == ["f"]
    assert lost == ["tool_choice"]


def test_declared_again() -> None:
    request = asked(parallel_tools=False)
    request.turns = [Turn("assistant", [ToolCall("t", "f", "{}"), ToolCall("u", "f", "{}"), ToolCall("v", "g", "{}")])]
    found, lost = config(request)
    assert [tool["toolSpec"]["name"] for tool in found["tools"]] == ["f", "g"]
    assert lost == ["parallel_tools", "tools"]


OWN: dict[str, Any] = {
    "tools": [
        {"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": SCHEMA}, "strict": True, "novel": 1}},
        {"cachePoint": {"type": "default"}},
        {"systemTool": {"name": "nova_grounding"}},
        {"cachePoint": {"type": "default"}},
    ],
    "toolChoice": {"tool": {"name": "f"}},
}


def test_own_as_it_was() -> None:
    request = Request("m", [])
    fields = Fields(OWN)
    read_tools(fields, request)
    assert not fields.rest()
    assert request.tool_choice == ToolChoice("tool", "f")
    assert isinstance(request.tools[0], canon.Tool)
    assert own_tools(request, Writing(Losses(), own=True).point) == OWN


@pytest.mark.parametrize("odd", [{"tools": [1]}, {"tools": [{"toolSpec": {}}]}, {"toolChoice": {"novel": {}}}])
def test_malformed(odd: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        read_tools(Fields(odd), Request("m", []))
