"""Tools, namespaces of them, and the choice among them.

A tool that the vendor runs, or whose form only OpenAI's models know (web_search, mcp, local_shell, apply_patch, …),
is a ServerTool, kept whole.  Tools in a namespace are tools of their own under a joined name, which other dialects
can say; `said` has the namespace, so that calls find back to it.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.chat.tools import FREE_TEXT
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.responses.parts import DIALECT, Writing

# Reading


def read_tools(values: list[Any]) -> list[canon.Tool | canon.ServerTool]:
    """`tools`."""
    found: list[canon.Tool | canon.ServerTool] = []
    for at, value in enumerate(values):
        fields = Fields(value, f"tools[{at}]")
        kind = fields.text("type", "function")
        if kind == "namespace":
            found += _read_namespace(fields)
        elif kind in ("function", "custom"):
            found.append(_read_tool(fields, kind))
        else:
            found.append(canon.ServerTool(DIALECT, value))
    return found


def _read_tool(fields: Fields, kind: str) -> canon.Tool:
    if kind == "function" and type(fields.rest().get("function")) is dict:  # as Chat has it
        inner = fields.inner("function")
        assert inner is not None
        fields = inner
    tool = canon.Tool(fields.needed("name"), fields.text("description"))
    if kind == "custom":
        tool.custom = _read_format(fields)
    else:
        tool.parameters = fields.map("parameters")
        tool.strict = fields.flag("strict")
    tool.extra = {name: value for name, value in fields.rest().items() if value is not None}
    return tool


def _read_format(fields: Fields) -> dict[str, Any]:
    """The format of a custom tool as Chat has it: a grammar stands in an object of its own."""
    form = fields.map("format")
    if form is None:
        return {}
    if form.get("type") != "grammar" or "grammar" in form:
        return {"format": form}
    return {"format": {"type": "grammar", "grammar": {name: form[name] for name in form if name != "type"}}}


def _read_namespace(fields: Fields) -> list[canon.Tool]:
    space, description = fields.needed("name"), fields.text("description")
    found: list[canon.Tool] = []
    for inner in fields.objects("tools"):
        tool = _read_tool(inner, inner.text("type", "function"))
        tool.said = {"namespace": space, "description": description, "name": tool.name, **fields.rest()}
        tool.name = joined_name(space, tool.name)
        found.append(tool)
    return found


def joined_name(space: str, name: str) -> str:
    """The name of a namespace's tool where there are no namespaces."""
    if not space:
        return name
    return space + name if space.endswith("_") else f"{space}__{name}"


_CHOICES: Final[dict[str, Any]] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def read_choice(value: Any) -> canon.ToolChoice | None:
    """tool_choice, a word or an object; None for what has no equal elsewhere (a server's tool)."""
    if type(value) is str:
        if value not in _CHOICES:
            raise malformed("tool_choice", "auto, none, required or an object")
        return canon.ToolChoice(_CHOICES[value])
    fields = Fields(value, "tool_choice")
    kind = fields.text("type", "function")
    if kind in _CHOICES:
        return canon.ToolChoice(_CHOICES[kind])
    if kind in ("function", "custom"):
        return canon.ToolChoice("tool", _named(fields))
    if kind != "allowed_tools":
        return None
    mode = fields.text("mode", "auto")
    if mode not in ("auto", "required"):
        raise malformed(fields.at("mode"), "auto or required")
    tools = fields.objects("tools")
    names = [_named(tool) for tool in tools if tool.rest().get("type", "function") in ("function", "custom")]
    if len(names) < len(tools):
        return None
    return canon.ToolChoice("allowed", names=names, mode=mode)


def _named(fields: Fields) -> str:
    if "name" not in fields and type(fields.rest().get("function")) is dict:
        inner = fields.inner("function")
        assert inner is not None
        return inner.needed("name")
    return joined_name(fields.text("namespace"), fields.needed("name"))


# Writing


def write_tools(tools: list[canon.Tool | canon.ServerTool], to: Writing) -> list[dict[str, Any]]:
    """`tools`."""
    found: list[dict[str, Any]] = []
    spaces: dict[str, dict[str, Any]] = {}
    for tool in tools:
        if isinstance(tool, canon.ServerTool):
            if tool.dialect == DIALECT and to.own:
                found.append(tool.value)
            else:
                to.losses.add("server_tools")
        elif to.own and tool.said is not None:
            rest = {name: value for name, value in tool.said.items() if name not in ("namespace", "name")}
            space = tool.said["namespace"]
            if space not in spaces:
                spaces[space] = {"type": "namespace", "name": space, **rest, "tools": []}
                found.append(spaces[space])
            spaces[space]["tools"].append(_write_tool(tool, tool.said["name"], to))
        else:
            found.append(_write_tool(tool, tool.name, to))
    return found


def _write_tool(tool: canon.Tool, name: str, to: Writing) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "function", "name": name}
    if tool.description:
        value["description"] = tool.description
    if tool.custom is not None and (to.own or to.family.openai):
        value |= {"type": "custom", **tool.custom}
        form = tool.custom.get("format")
        if type(form) is dict and type(form.get("grammar")) is dict:
            value["format"] = {"type": "grammar", **form["grammar"]}
    elif tool.custom is not None:
        to.losses.add("custom_tools")
        value |= {"parameters": FREE_TEXT, "strict": False}
    elif to.own:
        if tool.parameters is not None:
            value["parameters"] = tool.parameters
        if tool.strict is not None:
            value["strict"] = tool.strict
    else:  # without a word, Responses would take it for strict
        value |= {"parameters": tool.parameters or {"type": "object", "properties": {}}, "strict": bool(tool.strict)}
    if tool.cache:
        to.losses.add("cache_control")
    if to.own:
        value.update(tool.extra)
    else:
        to.losses.extra(tool.extra, "tools.")
    return value


def write_choice(
    choice: canon.ToolChoice | None, tools: list[dict[str, Any]], to: Writing
) -> str | dict[str, Any] | None:
    """`tool_choice`; `tools` are those written."""
    if choice is None:
        return None
    if not tools and not to.own:
        if choice.kind in ("required", "tool"):
            to.losses.add("tool_choice")
        return None
    if choice.kind == "tool":
        return _write_named(choice.name, tools)
    if choice.kind == "allowed":
        named = [_write_named(name, tools) for name in choice.names]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": named}
    return choice.kind


def _write_named(name: str, tools: list[dict[str, Any]]) -> dict[str, Any]:
    for tool in tools:
        if tool.get("name") == name:
            return {"type": tool["type"], "name": name}
        for inner in tool.get("tools") or () if tool["type"] == "namespace" else ():
            if joined_name(tool["name"], inner["name"]) == name:
                return {"type": inner["type"], "namespace": tool["name"], "name": inner["name"]}
    return {"type": "function", "name": name}
