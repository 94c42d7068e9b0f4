"""Tools and the choice among them; schemas in the part that Anthropic compiles."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.messages import tools
from burncloud.adaptors.messages.families import family_of
from burncloud.errors import Refusal

SONNET = family_of("claude-sonnet-4-5")
OLD = family_of("claude-3-5-haiku")


@pytest.mark.parametrize(
    "value",
    [
        {"name": "f", "input_schema": {"type": "object"}},
        {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}, "strict": True,
         "cache_control": {"type": "ephemeral"}, "defer_loading": True},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "bash_20250124", "name": "bash"},
    ],
)  # fmt: skip
def test_there_and_back(value: dict[str, Any]) -> None:
    losses = canon.Losses()
    tool = tools.read_tool(Fields(value, "tools[0]"), value)
    request = canon.Request("m", [], tools=[tool], dialect="messages")
    assert tools.write_tools(request, OLD, losses) == [value]
    assert not losses


def test_malformed() -> None:
    with pytest.raises(Refusal, match=r"tools\[0\]\.name must be given"):
        tools.read_tool(Fields({}, "tools[0]"), {})
    with pytest.raises(Refusal, match=r"tool_choice\.type must be auto, any, tool or none"):
        tools.read_choice(Fields({"type": "required"}, "tool_choice"))
    with pytest.raises(Refusal, match=r"tool_choice\.name must be given"):
        tools.read_choice(Fields({"type": "tool"}, "tool_choice"))


def written(*given: canon.Tool | canon.ServerTool, **fields: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Tools of another dialect as Messages, and what is lost."""
    losses = canon.Losses()
    request = canon.Request("m", [], tools=list(given), dialect="chat", **fields)
    return tools.write_tools(request, SONNET, losses), losses.names()


def test_of_other_dialects() -> None:
    assert written(canon.Tool("f", extra={"x": 1})) == (
        [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
        ["tools.x"],
    )
    found, lost = written(canon.Tool("f", custom={"type": "grammar"}))
    assert found[0]["input_schema"]["required"] == ["input"]
    assert lost == ["custom_tools"]
    assert written(canon.ServerTool("responses", {"type": "web_search"})) == ([], ["server_tools"])


def test_a_schema_with_alternatives_on_top() -> None:
    schema = {"anyOf": [{"type": "object"}], "properties": {"x": {"minimum": 1}}}
    found, lost = written(canon.Tool("f", parameters=schema))
    assert found[0]["input_schema"] == {"type": "object", "properties": {"x": {"minimum": 1}}}
    assert lost == ["schema.anyOf"]


def test_only_the_allowed_tools() -> None:
    choice = canon.ToolChoice("allowed", names=["g"], mode="required")
    found, lost = written(canon.Tool("f"), canon.Tool("g"), tool_choice=choice)
    assert [tool["name"] for tool in found] == ["g"]
    assert lost == []


def test_strict_tools() -> None:
    strict = canon.Tool("f", parameters={"type": "object", "properties": {"x": {"type": "string", "maxLength": 3}}})
    strict.strict = True
    found, lost = written(strict)
    assert found[0]["strict"] is True
    assert found[0]["input_schema"]["additionalProperties"] is False
    assert found[0]["input_schema"]["properties"]["x"] == {"type": "string", "description": "{maxLength: 3}"}
    assert lost == ["schema.maxLength"]
    found, lost = written(*[strict] * 21)
    assert "strict" not in found[0]
    assert lost == ["strict"], "more than Anthropic compiles in one request"
    losses = canon.Losses()
    found = tools.write_tools(canon.Request("m", [], tools=[strict], dialect="chat"), OLD, losses)
    assert found[0]["input_schema"]["properties"]["x"] == {"type": "string", "maxLength": 3}
    assert losses.names() == ["strict"]


CHOICES: list[tuple[canon.ToolChoice | None, bool | None, dict[str, Any] | None]] = [
    (None, None, None),
    (None, True, None),
    (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
    (canon.ToolChoice("auto"), None, {"type": "auto"}),
    (canon.ToolChoice("required"), True, {"type": "any"}),
    (canon.ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
    (canon.ToolChoice("tool", "f"), None, {"type": "tool", "name": "f"}),
    (canon.ToolChoice("none"), False, {"type": "none"}),
    (canon.ToolChoice("allowed", names=["f"], mode="required"), None, {"type": "any"}),
]


@pytest.mark.parametrize(("choice", "parallel", "want"), CHOICES)
def test_choices(choice: canon.ToolChoice | None, parallel: bool | None, want: dict[str, Any] | None) -> None:
    request = canon.Request("m", [], tool_choice=choice, parallel_tools=parallel, dialect="chat")
    assert tools.write_choice(request, [{"name": "f"}], canon.Losses()) == want


def test_a_choice_without_tools() -> None:
    losses = canon.Losses()
    request = canon.Request("m", [], tool_choice=canon.ToolChoice("auto"), dialect="chat")
    assert tools.write_choice(request, [], losses) is None
    assert not losses
    request.tool_choice = canon.ToolChoice("required")
    assert tools.write_choice(request, [], losses) is None
    assert losses.names() == ["tool_choice"]


@pytest.mark.parametrize(
    "value",
    [
        {"type": "auto", "disable_parallel_tool_use": False},
        {"type": "any", "disable_parallel_tool_use": True},
        {"type": "tool", "name": "f"},
        {"type": "none"},
    ],
)
def test_choices_there_and_back(value: dict[str, Any]) -> None:
    choice, parallel = tools.read_choice(Fields(value, "tool_choice"))
    request = canon.Request("m", [], tool_choice=choice, parallel_tools=parallel, dialect="messages")
    assert tools.write_choice(request, [{"name": "f"}], canon.Losses()) == value


SCHEMAS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1, "description": "d"}}},
        {"type": "object", "properties": {"a": {"type": "integer", "description": "d\n\n{minimum: 1}"}},
         "additionalProperties": False},
        ["schema.minimum"],
    ),
    (
        {"type": ["string", "null"], "description": "d", "format": "date"},
        {"description": "d", "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        [],
    ),
    ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}, []),
    ({"type": "string", "format": "color"}, {"type": "string", "description": "{format: color}"}, ["schema.format"]),
    (
        {"type": "array", "items": {"oneOf": [{"type": "string", "pattern": "^a"}]}, "minItems": 2},
        {"type": "array", "items": {"anyOf": [{"type": "string", "description": "{pattern: ^a}"}]},
         "description": "{minItems: 2}"},
        ["schema.minItems", "schema.oneOf", "schema.pattern"],
    ),
    ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}, []),
    ({"type": "object"}, {"type": "object", "additionalProperties": False}, ["schema.additionalProperties"]),
    (
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {}, "additionalProperties": False},
        ["schema.additionalProperties"],
    ),
    (
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"maximum": {"type": "number"}}}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"maximum": {"type": "number"}},
                                              "additionalProperties": False}}},
        [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "want", "lost"), SCHEMAS)
def test_strict_schema(schema: dict[str, Any], want: dict[str, Any], lost: list[str]) -> None:
    losses = canon.Losses()
    assert tools.strict_schema(schema, losses) == want
    assert losses.names() == lost


def test_a_schema_that_nests_too_deep() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"items": schema}
    with pytest.raises(ValueError, match="deep"):
        tools.strict_schema(schema, canon.Losses())
