"""Tools and the choice among them."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.families import family_of
from burncloud.adaptors.gemini.names import Names
from burncloud.adaptors.gemini.tools import own_config, read_config, read_tools, write_config, write_tools

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def request(dialect: str = "chat", **members: Any) -> canon.Request:
    return canon.Request("m", [], dialect=dialect, **members)


def test_tools_there_and_back() -> None:
    asked = request("gemini")
    tools: list[dict[str, Any]] = [
        {"functionDeclarations": [
            {"name": "f", "description": "d", "parameters": {"type": "OBJECT"}, "behavior": "BLOCKING"},
            {"name": "g", "parametersJsonSchema": SCHEMA},
        ]},
        {"googleSearch": {}},
        {"codeExecution": {}},
    ]  # fmt: skip
    read_tools(Names({"tools": [{**tools[0], "googleSearch": {}}, {"codeExecution": {}, "urlContext": None}]}), asked)
    assert asked.tools[0] == canon.Tool("f", "d", {"type": "object"}, extra={"behavior": "BLOCKING"})
    assert asked.tools[2:] == [canon.ServerTool("gemini", tool) for tool in tools[1:]]
    assert write_tools(asked, family_of("m"), canon.Losses()) == tools


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({"mode": "AUTO"}, canon.ToolChoice("auto")),
        ({"mode": "NONE"}, canon.ToolChoice("none")),
        ({"mode": "ANY"}, canon.ToolChoice("required")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, canon.ToolChoice("tool", "f")),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
         canon.ToolChoice("allowed", names=["f", "g"], mode="required")),
    ],
)  # fmt: skip
def test_choices_there_and_back(calling: dict[str, Any], choice: canon.ToolChoice) -> None:
    asked, body = request("gemini"), {}  # type: canon.Request, dict[str, Any]
    read_config(Names({"functionCallingConfig": calling}), asked)
    assert asked.tool_choice == choice
    own_config(asked, body)
    assert body == {"toolConfig": {"functionCallingConfig": calling}}
    losses = canon.Losses()
    tools = [{"functionDeclarations": [{"name": "f"}]}]
    assert write_config(request(tool_choice=choice), tools, losses) == body["toolConfig"]
    assert not losses


def test_validated_is_kept_for_gemini() -> None:
    asked = request("gemini")
    config = {"functionCallingConfig": {"mode": "VALIDATED"}, "retrievalConfig": {"x": 1}}
    read_config(Names(config), asked)
    assert asked.tool_choice == canon.ToolChoice("auto")
    assert asked.extra == {
        "toolConfig.functionCallingConfig.mode": "VALIDATED",
        "toolConfig.retrievalConfig": {"x": 1},
    }


def test_foreign_tools() -> None:
    asked = request(
        tools=[
            canon.Tool("f", parameters=SCHEMA, strict=True, cache={"type": "ephemeral"}),
            canon.Tool("g", custom={}),
            canon.Tool("h"),
            canon.ServerTool("messages", {}),
        ],
        tool_choice=canon.ToolChoice("allowed", names=["f", "g"], mode="auto"),
    )
    losses = canon.Losses()
    tools = write_tools(asked, family_of("gemini-2.5-pro"), losses)
    assert [tool["name"] for tool in tools[0]["functionDeclarations"]] == ["f", "g"]
    assert tools[0]["functionDeclarations"][0] == {"name": "f", "parametersJsonSchema": SCHEMA}
    assert losses.names() == ["cache_control", "custom_tools", "server_tools", "strict"]
    assert write_config(asked, tools, losses) == {"functionCallingConfig": {"mode": "AUTO"}}
    old = write_tools(asked, family_of("gemini-1.5-pro"), losses)
    assert old[0]["functionDeclarations"][0]["parameters"]["properties"] == {"a": {"type": "STRING"}}


def test_a_choice_without_tools() -> None:
    losses = canon.Losses()
    assert write_config(request(tool_choice=canon.ToolChoice("required")), [], losses) is None
    assert losses.names() == ["tool_choice"]
