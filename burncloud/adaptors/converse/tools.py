"""toolConfig: tools, the choice among them, and names and ids in Bedrock's alphabet.

Bedrock wants toolConfig wherever the conversation holds calls or results, also where the client no longer gives its
tools: then they are declared again by the names of the calls.  There is no way to forbid calls but to give no tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.converse.blocks import DIALECT, marks
from burncloud.adaptors.converse.families import Family
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.messages import families as claude
from burncloud.adaptors.messages.tools import write_tools as as_claude_takes_them

NAME_MAX: Final = 64
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_IN_WORD: Final = re.compile(r"[^A-Za-z0-9_-]")


def _word(text: str, prefix: str) -> str:
    """The text in Bedrock's alphabet: the same for the same, different for different ones."""
    if _WORD.fullmatch(text):
        return text
    return f"{prefix}{_NOT_IN_WORD.sub('_', text)[:40]}_{crc32(text.encode('utf-8', 'replace')):08x}"


def call_id(text: str) -> str:
    """The id of a call."""
    return _word(text, "tooluse_")


def tool_name(name: str, losses: canon.Losses) -> str:
    """The name of a tool; a changed one is a loss unless the reader of the answer changes it back (`renamed`)."""
    found = _word(name, "")
    if found != name:
        losses.add("tool_name")
    return found


def renamed(request: canon.Request) -> dict[str, str]:
    """Names that the upstream will say → names that the client gave, for tools that had to be renamed."""
    names = [tool.name for tool in request.tools if isinstance(tool, canon.Tool)]
    return {found: name for name in names if (found := _word(name, "")) != name}


# Reading


def read_tools(fields: Fields, request: canon.Request) -> None:
    """toolConfig."""
    for at, value in enumerate(fields.items("tools")):
        tool = _read_tool(value, f"{fields.at('tools')}[{at}]")
        before = request.tools[-1] if request.tools else None
        if isinstance(tool, canon.Tool) or not marks(canon.Raw(DIALECT, value), before):
            request.tools.append(tool)
    choice = fields.inner("toolChoice")
    if choice is not None:
        request.tool_choice = _read_choice(choice)


def _read_tool(value: Any, where: str) -> canon.Tool | canon.ServerTool:
    fields = Fields(value, where)
    spec = fields.inner("toolSpec")
    if spec is None:
        return canon.ServerTool(DIALECT, value)
    name, schema = spec.needed("name"), spec.inner("inputSchema")
    parameters = None if schema is None else schema.map("json")
    return canon.Tool(name, spec.text("description"), parameters, spec.flag("strict"), extra=spec.rest())


def _read_choice(fields: Fields) -> canon.ToolChoice:
    if "any" in fields:
        return canon.ToolChoice("required")
    tool = fields.inner("tool")
    if tool is not None:
        return canon.ToolChoice("tool", tool.needed("name"))
    if "auto" not in fields:
        raise malformed(fields.where, "auto, any or tool")
    return canon.ToolChoice("auto")


# Writing


def own_tools(request: canon.Request, points: Any) -> dict[str, Any]:
    """What was read from Converse, as it was; `points`: a cache mark → cache points."""
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        if isinstance(tool, canon.ServerTool):
            tools += [tool.value] if tool.dialect == DIALECT else []
            continue
        spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.parameters or {}}}
        if tool.description:
            spec["description"] = tool.description
        if tool.strict is not None:
            spec["strict"] = tool.strict
        tools.append({"toolSpec": {**spec, **tool.extra}})
        tools += points(tool.cache)
    config: dict[str, Any] = {"tools": tools} if tools else {}
    choice = request.tool_choice
    if choice is not None:
        config["toolChoice"] = _choice(choice.kind, choice.name)
    return config


def _choice(kind: str, name: str) -> dict[str, Any]:
    if kind == "tool":
        return {"tool": {"name": name}}
    return {"any": {}} if kind == "required" else {"auto": {}}


def foreign_tools(
    request: canon.Request, turns: Iterable[canon.Turn], family: Family, points: Any, losses: canon.Losses
) -> dict[str, Any]:
    """toolConfig for what another dialect asked; {} where there is none."""
    choice = request.tool_choice
    used = _used(turns)
    functions = [tool for tool in request.tools if isinstance(tool, canon.Tool)]
    if len(functions) < len(request.tools):
        losses.add("server_tools")
    if choice is not None and choice.kind == "none":
        if not used:
            return {}
        losses.add("tool_choice")
        choice = None
    if not functions:
        if used:
            losses.add("tools")
        functions = [canon.Tool(name) for name in used]
        if choice is not None and choice.kind in ("required", "tool"):
            losses.add("tool_choice")
        choice = None
    # as a request of nobody's dialect, so that every schema is brought into the form that models take
    given: list[canon.Tool | canon.ServerTool] = list(functions)
    asked = msgspec.structs.replace(request, tools=given, dialect="", tool_choice=choice)
    tools: list[dict[str, Any]] = []
    for tool in as_claude_takes_them(asked, family.claude or claude.Family(structured=family.structured), losses):
        spec = {"name": tool_name(tool["name"], losses), "inputSchema": {"json": tool["input_schema"]}}
        if tool.get("description", "").strip():
            spec["description"] = tool["description"]
        if "strict" in tool:
            spec["strict"] = tool["strict"]
        tools.append({"toolSpec": spec})
        tools += points(tool.get("cache_control"))
    if not tools:
        return {}
    if request.parallel_tools is False:
        losses.add("parallel_tools")
    return {"tools": tools, **_write_choice(choice, family, losses)}


def _used(turns: Iterable[canon.Turn]) -> list[str]:
    """Names of the tools that were called."""
    calls = [block for turn in turns for block in turn.blocks if isinstance(block, canon.ToolCall)]
    return list(dict.fromkeys(call.name for call in calls))


def _write_choice(choice: canon.ToolChoice | None, family: Family, losses: canon.Losses) -> dict[str, Any]:
    if choice is None:
        return {}
    kind = choice.mode if choice.kind == "allowed" else choice.kind
    if kind in ("required", "tool") and kind not in family.choices:
        losses.add("tool_choice")
        kind = "required" if "required" in family.choices else "auto"
    return {"toolChoice": _choice(kind, tool_name(choice.name, losses) if kind == "tool" else "")}
