"""Tools and the choice among them.

A tool that Google runs (googleSearch, codeExecution, urlContext, …) is a ServerTool, kept whole.  All functions are
written into one tool, each of Google's into one of its own: how a client grouped them means nothing.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.fields import malformed
from burncloud.adaptors.gemini.families import Family
from burncloud.adaptors.gemini.names import DIALECT, Names
from burncloud.adaptors.gemini.schemas import json_schema, open_schema, own_schema, read_schema

JSON_SCHEMA: Final = "parametersJsonSchema"
FREE_TEXT: Final = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""The schema of a tool that takes plain text: one string."""

# Reading


def read_tools(fields: Names, request: canon.Request) -> None:
    """`tools`; the names of functions with a JSON Schema stand in `said`."""
    plain: list[str] = []
    for entry in fields.listed("tools"):
        for declared in entry.listed("functionDeclarations"):
            request.tools.append(_read_function(declared, plain))
        for name, value in entry.rest().items():
            if value is not None:
                request.tools.append(canon.ServerTool(DIALECT, {name: value}))
    if plain:
        request.said[JSON_SCHEMA] = " ".join(plain)


def _read_function(fields: Names, plain: list[str]) -> canon.Tool:
    name = fields.needed("name")
    schema = fields.map("parameters")
    if schema is not None:
        schema = read_schema(schema)
    elif JSON_SCHEMA in fields:
        schema = fields.map(JSON_SCHEMA)
        plain.append(name)
    rest = {key: value for key, value in fields.rest().items() if value is not None and key != "description"}
    return canon.Tool(name, fields.text("description"), schema, extra=rest)


_MODES: Final[dict[Any, Any]] = {
    "AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto", "": "auto",
    1: "auto", 2: "required", 3: "none",
}  # fmt: skip


def read_config(fields: Names, request: canon.Request) -> None:
    """toolConfig; what has no equal elsewhere stays in `extra`."""
    calling = fields.inner("functionCallingConfig")
    if calling is not None:
        mode = calling.take("mode") or ""
        if type(mode) is str:
            mode = mode.upper()
        if type(mode) not in (str, int) or mode not in _MODES:
            raise malformed(calling.at("mode"), "AUTO, ANY, NONE or VALIDATED")
        names = calling.texts("allowedFunctionNames")
        request.tool_choice = _choice(_MODES[mode], names)
        if mode == "VALIDATED":  # calls that fit their schema: no other dialect has it apart from strict tools
            request.extra["toolConfig.functionCallingConfig.mode"] = mode
        for name, value in calling.rest().items():
            request.extra[f"toolConfig.functionCallingConfig.{name}"] = value
    for name, value in fields.rest().items():
        if value is not None:
            request.extra[f"toolConfig.{name}"] = value


def _choice(kind: Any, names: list[str]) -> canon.ToolChoice:
    if not names or kind == "none":
        return canon.ToolChoice(kind)
    if kind == "required" and len(names) == 1:
        return canon.ToolChoice("tool", names[0])
    return canon.ToolChoice("allowed", names=names, mode=kind)


# Writing


def write_tools(request: canon.Request, family: Family, losses: canon.Losses) -> list[dict[str, Any]]:
    """`tools`."""
    own = request.dialect == DIALECT
    choice = request.tool_choice
    allowed: set[str] | None = None
    if not own and choice is not None and choice.kind == "allowed" and choice.mode == "auto":
        allowed = set(choice.names)  # names go only with ANY
    plain = request.said.get(JSON_SCHEMA, "").split() if own else []
    functions: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for tool in request.tools:
        if isinstance(tool, canon.ServerTool):
            if tool.dialect == DIALECT:
                others.append(tool.value)
            else:
                losses.add("server_tools")
        elif own:
            functions.append(_own_function(tool, plain))
        elif allowed is None or tool.name in allowed:
            functions.append(_write_function(tool, family, losses))
    return [{"functionDeclarations": functions}, *others] if functions else others


def _own_function(tool: canon.Tool, plain: list[str]) -> dict[str, Any]:
    value: dict[str, Any] = {"name": tool.name}
    if tool.description:
        value["description"] = tool.description
    if tool.parameters is not None and tool.name in plain:
        value[JSON_SCHEMA] = tool.parameters
    elif tool.parameters is not None:
        value["parameters"] = own_schema(tool.parameters)
    return {**value, **tool.extra}


def _write_function(tool: canon.Tool, family: Family, losses: canon.Losses) -> dict[str, Any]:
    value: dict[str, Any] = {"name": tool.name}
    if tool.description:
        value["description"] = tool.description
    schema = tool.parameters
    if tool.custom is not None:
        losses.add("custom_tools")
        schema = FREE_TEXT
    if schema and family.json_schema:
        value[JSON_SCHEMA] = json_schema(_object(schema), losses)
    elif schema and schema.get("properties"):  # older models refuse objects without any
        value["parameters"] = open_schema(_object(schema), losses)
    if tool.strict:
        losses.add("strict")
    if tool.cache:
        losses.add("cache_control")
    losses.extra(tool.extra, "tools.")
    return value


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    """A function takes an object."""
    return schema if schema.get("type") == "object" or "$ref" in schema else {**schema, "type": "object"}


def own_config(request: canon.Request, body: dict[str, Any]) -> None:
    """toolConfig as it was; what `extra` holds of it is added by the caller."""
    choice = request.tool_choice
    if choice is None:
        return
    kind = choice.mode if choice.kind == "allowed" else choice.kind
    calling: dict[str, Any] = {"mode": _WORDS[kind]}
    if choice.kind in ("tool", "allowed"):
        calling["allowedFunctionNames"] = [choice.name] if choice.kind == "tool" else choice.names
    body["toolConfig"] = {"functionCallingConfig": calling}


_WORDS: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}


def write_config(request: canon.Request, tools: list[dict[str, Any]], losses: canon.Losses) -> dict[str, Any] | None:
    """toolConfig."""
    choice = request.tool_choice
    if request.parallel_tools is False and tools:
        losses.add("parallel_tools")
    functions = bool(tools) and "functionDeclarations" in tools[0]
    if choice is None or not functions:
        if choice is not None and choice.kind in ("required", "tool"):
            losses.add("tool_choice")
        return None
    kind = choice.mode if choice.kind == "allowed" else choice.kind
    calling: dict[str, Any] = {"mode": _WORDS.get(kind, "AUTO")}
    if choice.kind == "tool":
        calling["allowedFunctionNames"] = [choice.name]
    elif choice.kind == "allowed" and kind == "required":
        calling["allowedFunctionNames"] = choice.names
    return {"functionCallingConfig": calling}
