"""Tools and the choice among them."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.responses.parts import Writing
from burncloud.adaptors.responses.tools import joined_name, read_choice, read_tools, write_choice, write_tools
from burncloud.errors import Refusal

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
    {"type": "custom", "name": "free", "format": {"type": "text"}},
    {"type": "web_search", "filters": {"allowed_domains": ["a"]}},
    {
        "type": "namespace", "name": "mcp__x", "description": "of x",
        "tools": [{"type": "function", "name": "g", "parameters": {"type": "object"}, "defer_loading": True}],
    },
]  # fmt: skip


def own() -> Writing:
    return Writing(canon.Losses(), own=True)


def test_there_and_back() -> None:
    tools = read_tools(TOOLS)
    assert [tool.name for tool in tools if isinstance(tool, canon.Tool)] == ["f", "patch", "free", "mcp__x__g"]
    assert write_tools(tools, own()) == TOOLS
    assert read_tools([{"type": "function", "function": {"name": "f"}}]) == [canon.Tool("f")]


def test_for_another_model() -> None:
    losses = canon.Losses()
    written = write_tools(read_tools(TOOLS), Writing(losses, own=False, model="some-model"))
    assert [(tool["type"], tool["name"], tool["strict"]) for tool in written] == [
        ("function", "f", True), ("function", "patch", False), ("function", "free", False),
        ("function", "mcp__x__g", False),
    ]  # fmt: skip
    assert losses.names() == ["custom_tools", "server_tools", "tools.defer_loading"]


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "none",
        "required",
        {"type": "function", "name": "f"},
        {"type": "custom", "name": "patch"},
        {"type": "function", "namespace": "mcp__x", "name": "g"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
    ],
)
def test_choices_there_and_back(choice: Any) -> None:
    assert write_choice(read_choice(choice), TOOLS, own()) == choice


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "web_search"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "x"}]},
    ],
)
def test_choices_that_only_responses_has(choice: Any) -> None:
    assert read_choice(choice) is None


@pytest.mark.parametrize("choice", ["sometimes", 5, {"type": "function"}, {"type": "allowed_tools", "mode": "x"}])
def test_malformed(choice: Any) -> None:
    with pytest.raises(Refusal, match="tool_choice"):
        read_choice(choice)


def test_no_tools_no_choice() -> None:
    losses = canon.Losses()
    assert write_choice(canon.ToolChoice("required"), [], Writing(losses, own=False)) is None
    assert losses.names() == ["tool_choice"]


def test_joined_names() -> None:
    assert [joined_name(space, "g") for space in ("", "a", "a__")] == ["g", "a__g", "a__g"]
