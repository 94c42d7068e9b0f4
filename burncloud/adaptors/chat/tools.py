"""Tools, legacy functions, and the choice among them.

A tool of a type that is neither function nor custom (openrouter:web_search, …) is a ServerTool, kept whole.  Schemas
go as they are: those who compile them (strict) refuse what they do not know with a sentence that names it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.chat.blocks import Writing
from burncloud.adaptors.chat.families import DIALECT
from burncloud.adaptors.fields import Fields, malformed

CALL_ID_CHARS_MAX: Final = 40
"""OpenAI refuses longer ids of tool calls."""
FREE_TEXT: Final = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""The schema of a tool that takes plain text: one string."""

# Reading


def read_tool(fields: Fields, value: dict[str, Any]) -> canon.Tool | canon.ServerTool:
    """One member of `tools`."""
    kind = fields.text("type", "function")
    if kind not in ("function", "custom"):
        return canon.ServerTool(DIALECT, value)
    inner = fields.inner(kind)
    if inner is None:
        raise malformed(fields.at(kind), "given")
    if kind == "custom":
        name, description = inner.needed("name"), inner.text("description")
        return canon.Tool(
            name, description, custom=inner.rest(), cache=fields.map("cache_control"), extra=fields.rest()
        )
    tool = read_function(inner)
    tool.cache = fields.map("cache_control") or tool.cache
    tool.extra = {**fields.rest(), **({"function": tool.extra} if tool.extra else {})}
    return tool


def read_function(fields: Fields) -> canon.Tool:
    """A function's name, description and schema: inside a tool, or a member of the legacy `functions`."""
    return canon.Tool(
        fields.needed("name"),
        fields.text("description"),
        fields.map("parameters"),
        fields.flag("strict"),
        fields.map("cache_control"),
        extra=fields.rest(),
    )


_CHOICES: Final[dict[str, Any]] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def read_choice(value: Any, where: str = "tool_choice") -> canon.ToolChoice:
    """tool_choice or function_call, a word or an object."""
    if type(value) is str:
        if value not in _CHOICES:
            raise malformed(where, "auto, none, required or an object")
        return canon.ToolChoice(_CHOICES[value])
    fields = Fields(value, where)
    kind = fields.text("type", "function")
    if kind in _CHOICES:
        return canon.ToolChoice(_CHOICES[kind])
    if kind == "allowed_tools":
        inner = fields.inner("allowed_tools") or fields
        names = [_named(tool) for tool in inner.objects("tools")]
        mode = inner.text("mode", "auto")
        if mode not in ("auto", "required"):
            raise malformed(inner.at("mode"), "auto or required")
        return canon.ToolChoice("allowed", names=names, mode=mode)
    if kind not in ("function", "custom", "tool"):
        raise malformed(fields.at("type"), "function, custom or allowed_tools")
    return canon.ToolChoice("tool", _named(fields, kind))


def _named(fields: Fields, kind: str = "") -> str:
    inner = fields.inner(kind or fields.text("type", "function"))
    return inner.needed("name") if inner is not None else fields.needed("name")


# Writing


def write_tools(request: canon.Request, to: Writing) -> list[dict[str, Any]]:
    """`tools`."""
    choice = request.tool_choice
    allowed: set[str] | None = None
    if choice is not None and choice.kind == "allowed" and not (to.own or to.family.openai):
        allowed = set(choice.names)
    found: list[dict[str, Any]] = []
    for tool in request.tools:
        if isinstance(tool, canon.ServerTool):
            if tool.dialect == DIALECT and to.own:
                found.append(tool.value)
            else:
                to.losses.add("server_tools")
        elif allowed is None or tool.name in allowed:
            found.append(_write_tool(tool, to))
    return found


def _write_tool(tool: canon.Tool, to: Writing) -> dict[str, Any]:
    if tool.custom is not None and (to.own or to.family.openai):
        inner: dict[str, Any] = {"name": tool.name, "description": tool.description, **tool.custom}
        return _with_rest({"type": "custom", "custom": _said(inner)}, tool, to)
    if tool.custom is not None:
        to.losses.add("custom_tools")
        plain = canon.Tool(tool.name, tool.description, FREE_TEXT, cache=tool.cache, extra=tool.extra)
        return _with_rest({"type": "function", "function": write_function(plain)}, plain, to)
    return _with_rest({"type": "function", "function": write_function(tool)}, tool, to)


def write_function(tool: canon.Tool) -> dict[str, Any]:
    """Name, description, schema."""
    value: dict[str, Any] = {"name": tool.name}
    if tool.description:
        value["description"] = tool.description
    if tool.parameters is not None:
        value["parameters"] = tool.parameters
    if tool.strict is not None:
        value["strict"] = tool.strict
    return value


def _said(value: dict[str, Any]) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if inner != ""}


def _with_rest(value: dict[str, Any], tool: canon.Tool, to: Writing) -> dict[str, Any]:
    if tool.extra and not to.own:
        to.losses.extra(tool.extra, "tools.")
    return to.rest(value, tool.cache, tool.extra if to.own else {})


def write_choice(request: canon.Request, tools: list[dict[str, Any]], to: Writing) -> str | dict[str, Any] | None:
    """`tool_choice`."""
    choice = request.tool_choice
    if choice is None:
        return None
    if not tools and not to.own:
        if choice.kind in ("required", "tool"):
            to.losses.add("tool_choice")
        return None
    if choice.kind == "tool":
        return _named_tool(choice.name, tools)
    if choice.kind == "allowed":
        if to.own or to.family.openai:
            named = [_named_tool(name, tools) for name in choice.names]
            return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}
        return choice.mode
    return choice.kind


def _named_tool(name: str, tools: list[dict[str, Any]]) -> dict[str, Any]:
    kind = "custom" if any(tool.get("custom", {}).get("name") == name for tool in tools) else "function"
    return {"type": kind, kind: {"name": name}}


def write_call_id(call_id: str, to: Writing) -> str:
    """The id as the target takes it: the same for the same, different for different ones."""
    if to.own or to.answer:
        return call_id
    if to.family.mistral:
        plain = len(call_id) == 9 and call_id.isascii() and call_id.isalnum()
        return call_id if plain else _digest(call_id, 9)
    return call_id if len(call_id) <= CALL_ID_CHARS_MAX else "call_" + _digest(call_id, 32)


def _digest(text: str, chars: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()[:chars]
