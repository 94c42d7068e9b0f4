"""Tools, the choice among them, and the JSON schemas that structured outputs take.

A tool with a type of Anthropic's own (web_search_…, bash_…, computer_…) is a ServerTool, kept whole: also those that
the client runs, since only Claude knows their form.  Schemas of plain tools go as they are; those of `strict` tools
and of output_config.format are compiled by Anthropic, which knows a part of JSON Schema.  What it does not know is
moved into the description, where the model may still heed it (its own SDK does so), and named as a loss.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.messages.blocks import DIALECT
from burncloud.adaptors.messages.families import Family

STRICT_TOOLS_MAX: Final = 20
"""More strict tools in one request are refused (Anthropic docs, "Structured outputs": limits)."""

# Reading


def read_tool(fields: Fields, value: dict[str, Any]) -> canon.Tool | canon.ServerTool:
    """One member of `tools`."""
    if fields.text("type", "custom") != "custom":
        return canon.ServerTool(DIALECT, value)
    name = fields.needed("name")
    return canon.Tool(
        name,
        fields.text("description"),
        fields.map("input_schema"),
        fields.flag("strict"),
        fields.map("cache_control"),
        extra=fields.rest(),
    )


_CHOICES: Final[dict[str, Any]] = {"auto": "auto", "none": "none", "any": "required", "tool": "tool"}


def read_choice(fields: Fields) -> tuple[canon.ToolChoice, bool | None]:
    """(tool_choice, whether several calls at once are allowed)."""
    kind = _CHOICES.get(fields.needed("type"))
    if kind is None:
        raise malformed(fields.at("type"), "auto, any, tool or none")
    single = fields.flag("disable_parallel_tool_use")
    name = fields.needed("name") if kind == "tool" else ""
    return canon.ToolChoice(kind, name), None if single is None else not single


# Writing


def write_tools(request: canon.Request, family: Family, losses: canon.Losses) -> list[dict[str, Any]]:
    """`tools`."""
    own = request.dialect == DIALECT
    choice = request.tool_choice
    allowed = set(choice.names) if choice is not None and choice.kind == "allowed" else None
    strict = sum(1 for tool in request.tools if type(tool) is canon.Tool and tool.strict)
    compile_strict = own or (family.structured and strict <= STRICT_TOOLS_MAX)
    if strict and not compile_strict:
        losses.add("strict")
    found: list[dict[str, Any]] = []
    for tool in request.tools:
        if isinstance(tool, canon.ServerTool):
            if tool.dialect == DIALECT:
                found.append(tool.value)
            else:
                losses.add("server_tools")
        elif allowed is None or tool.name in allowed:
            found.append(_write_tool(tool, own, compile_strict, losses))
    return found


def _write_tool(tool: canon.Tool, own: bool, compile_strict: bool, losses: canon.Losses) -> dict[str, Any]:
    value: dict[str, Any] = {"name": tool.name}
    if tool.description:
        value["description"] = tool.description
    strict = tool.strict if compile_strict else None
    if own:
        value["input_schema"] = tool.parameters if tool.parameters is not None else {"type": "object"}
    elif tool.custom is not None:
        losses.add("custom_tools")
        value["input_schema"] = _FREE_TEXT
    else:
        value["input_schema"] = _input_schema(tool.parameters or {}, bool(strict), losses)
    if strict is not None:
        value["strict"] = strict
    if tool.cache:
        value["cache_control"] = tool.cache
    if own:
        value.update(tool.extra)
    else:
        losses.extra(tool.extra, "tools.")
    return value


_FREE_TEXT: Final = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""The schema of a tool that takes plain text: one string."""
_NOT_ON_TOP: Final = ("anyOf", "oneOf", "allOf", "enum", "not")


def _input_schema(schema: dict[str, Any], strict: bool, losses: canon.Losses) -> dict[str, Any]:
    """The schema of a tool's input: an object on top, without alternatives."""
    if schema.get("type") != "object" or any(name in schema for name in _NOT_ON_TOP):
        losses.extra({name: 0 for name in _NOT_ON_TOP if name in schema}, "schema.")
        schema = {name: value for name, value in schema.items() if name not in _NOT_ON_TOP}
        schema["type"] = "object"
    if strict:
        return strict_schema(schema, losses)
    return schema if "properties" in schema else {**schema, "properties": {}}


def write_choice(request: canon.Request, tools: list[dict[str, Any]], losses: canon.Losses) -> dict[str, Any] | None:
    """`tool_choice`, with the switch against parallel calls."""
    choice, parallel = request.tool_choice, request.parallel_tools
    own = request.dialect == DIALECT
    if not tools and not own:
        if choice is not None and choice.kind in ("required", "tool"):
            losses.add("tool_choice")
        return None
    if choice is None:
        return {"type": "auto", "disable_parallel_tool_use": True} if parallel is False else None
    kind = choice.mode if choice.kind == "allowed" else choice.kind
    value: dict[str, Any] = {"type": "any" if kind == "required" else kind}
    if kind == "tool":
        value["name"] = choice.name
    if kind == "none" or parallel is None or (parallel and not own):
        return value
    value["disable_parallel_tool_use"] = not parallel
    return value


# Schemas

_KEPT: Final = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "allOf", "$ref",
    "$defs", "definitions", "title", "description", "default", "format", "minItems", "$schema", "$id",
})  # fmt: skip
_FORMATS: Final = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
"""Both from Anthropic docs, "Structured outputs": JSON Schema limitations."""
_SCHEMA_MAPS: Final = ("properties", "$defs", "definitions")
_SCHEMA_LISTS: Final = ("anyOf", "allOf")


def strict_schema(schema: dict[str, Any], losses: canon.Losses) -> dict[str, Any]:
    """The schema in the part of JSON Schema that Anthropic compiles; ValueError if it nests too deep."""
    try:
        found: dict[str, Any] = _strict(schema, losses)
        return found
    except RecursionError:
        raise ValueError("the schema nests too deep") from None


def _strict(schema: Any, losses: canon.Losses) -> Any:
    if type(schema) is not dict:
        return schema
    if type(schema.get("type")) is list:
        schema = _one_type(schema)
    found: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "oneOf":
            losses.add("schema.oneOf")
            name = "anyOf"
        if name in _SCHEMA_MAPS and type(value) is dict:
            found[name] = {key: _strict(inner, losses) for key, inner in value.items()}
        elif name in _SCHEMA_LISTS and type(value) is list:
            found[name] = [_strict(inner, losses) for inner in value]
        elif name == "items":
            found[name] = _strict(value, losses)
        elif _fits(name, value):
            found[name] = value
        else:
            losses.add(f"schema.{name}")
            moved[name] = value
    if found.get("type") == "object":
        _close(schema, found, losses)
    if moved:
        said = ", ".join(f"{name}: {value}" for name, value in moved.items())
        known = found.get("description")
        found["description"] = f"{known}\n\n{{{said}}}" if known else f"{{{said}}}"
    return found


def _fits(name: str, value: Any) -> bool:
    """Whether a keyword may stay; `additionalProperties` is set by _close."""
    if name == "format":
        return type(value) is str and value in _FORMATS
    if name == "minItems":
        return bool(value in (0, 1))
    return name in _KEPT


def _close(schema: dict[str, Any], found: dict[str, Any], losses: canon.Losses) -> None:
    """No other members than those named: the only kind of object that Anthropic compiles."""
    if schema.get("additionalProperties") not in (None, False) or "properties" not in schema:
        losses.add("schema.additionalProperties")
    found["additionalProperties"] = False


_BESIDE: Final = ("title", "description", "default", "$defs", "definitions")


def _one_type(schema: dict[str, Any]) -> dict[str, Any]:
    """`type: [string, null]` as alternatives; an enum says the type by itself."""
    rest = {name: value for name, value in schema.items() if name != "type"}
    if "enum" in schema or "const" in schema:
        return rest
    shared: dict[str, Any] = {name: rest.pop(name) for name in _BESIDE if name in rest}
    if "anyOf" in rest:
        return {**shared, **rest}
    kinds = [kind for kind in schema["type"] if type(kind) is str]
    return {**shared, "anyOf": [{"type": kind} if kind == "null" else {"type": kind, **rest} for kind in kinds]}
