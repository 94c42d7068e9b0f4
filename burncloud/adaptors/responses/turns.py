"""The items of `input` as turns, and turns as items.

Whatever the model said in a row (thinking, messages, calls) is one turn of the assistant; whatever tools answered in
a row is one turn of the user.  Items of tools that the vendor runs, and whatever comes next, are kept whole as Raw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.chat.turns import with_results
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.responses.parts import DIALECT, DRAWN, Writing, drawn, read_content, write_parts
from burncloud.adaptors.responses.reasoning import read_reasoning, with_signatures, write_reasoning
from burncloud.adaptors.responses.tools import joined_name

BOUND: Final[dict[str, str]] = {
    "item_reference": "holds references to items that its vendor has stored",
    "compaction": "holds a compacted conversation that only its vendor can read",
    "compaction_summary": "holds a compacted conversation that only its vendor can read",
}
"""Items without which the conversation would lack a part, and why nobody else has that part."""
FROM_USER: Final = frozenset({
    "computer_call_output", "local_shell_call_output", "shell_call_output", "apply_patch_call_output",
    "mcp_approval_response", "additional_tools", "tool_search_output", "compaction_trigger", "configuration_update",
})  # fmt: skip
"""Items without an equal elsewhere that the client makes; all others are the model's."""
RUN_BY_SERVER: Final = frozenset({
    "x_keyword_search", "x_semantic_search", "x_user_search", "x_thread_fetch", "view_x_video", "view_image",
})  # fmt: skip
"""Tools that xAI runs itself though it tells them as custom_tool_call (xAI docs, "X Search"): nobody is to answer."""
NO_RESULT: Final = "(no result)"
CALL_ID_CHARS_MAX: Final = 64
"""OpenAI refuses longer ids of tool calls."""

# Reading


class Reading:
    """Turns as they come."""

    def __init__(self, request: canon.Request) -> None:
        self.request = request
        self.results: canon.Turn | None = None
        """The user's turn to which results of tools are added, as long as nothing comes between."""

    def said(self, *blocks: canon.Block) -> None:
        """More of what the assistant said."""
        turns = self.request.turns
        self.results = None
        if not turns or turns[-1].role != "assistant":
            turns.append(canon.Turn("assistant", []))
        turns[-1].blocks += blocks

    def answered(self, block: canon.Block) -> None:
        """More of what tools answered."""
        if self.results is None:
            self.results = canon.Turn("user", [])
            self.request.turns.append(self.results)
        self.results.blocks.append(block)

    def told(self, turn: canon.Turn) -> None:
        """A message of the user's or the system's."""
        self.results = None
        if turn.role != "user" and not self.request.turns:
            self.request.system += turn.blocks
            self.request.leading.append(turn)
        else:
            self.request.turns.append(turn)


def read_turns(fields: Fields, request: canon.Request) -> None:
    """`instructions` and `input`; system texts at the head belong to the system prompt."""
    reading = Reading(request)
    instructions = fields.take("instructions")
    if instructions is not None and instructions != "":
        blocks = read_content(instructions, "instructions")
        reading.told(canon.Turn("system", blocks, said={"instructions": True}))
    given = fields.take("input")
    if type(given) is str:
        reading.told(canon.Turn("user", [canon.Text(given)]))
    elif type(given) is list:
        for at, value in enumerate(given):
            _read_item(value, f"input[{at}]", reading)
    elif given is not None:
        raise malformed("input", "a string or a list")
    with_signatures(request.turns)


def _read_item(value: Any, where: str, reading: Reading) -> None:
    fields = Fields(value, where)
    kind = fields.text("type")
    if not kind:
        kind = "message" if "role" in fields else "item_reference" if "id" in fields else "message"
    reader = None if is_run_by_server(value) else _READERS.get(kind)
    if reader is not None:
        reader(fields, reading)
        return
    if kind == DRAWN:
        reading.said(drawn(value))
        return
    if kind in BOUND:
        reading.request.bound = reading.request.bound or BOUND[kind]
    raw = canon.Raw(DIALECT, value)
    if kind in FROM_USER:
        reading.answered(raw)
    else:
        reading.said(raw)


def is_run_by_server(item: dict[str, Any]) -> bool:
    """Whether a call is none for the client, although it looks so."""
    return item.get("type") == "custom_tool_call" and item.get("name") in RUN_BY_SERVER


def _said(fields: Fields, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := fields.take(name)) is not None}


def _rest(fields: Fields) -> canon.Extra:
    return {name: value for name, value in fields.rest().items() if value is not None}


_ROLES: Final = ("user", "system", "developer")


def _read_message(fields: Fields, reading: Reading) -> None:
    role: Any = fields.needed("role")
    if role not in _ROLES and role != "assistant":
        raise malformed(fields.at("role"), "user, assistant, system or developer")
    if "content" not in fields:
        raise malformed(fields.at("content"), "given")
    blocks = read_content(fields.take("content"), fields.at("content"))
    said = _said(fields, "id", "status", "phase")
    if role == "assistant":
        reading.said(*spoken(blocks, said))
    else:
        reading.told(canon.Turn(role, blocks, extra=_rest(fields), said=said or None))


def spoken(blocks: list[canon.Block], said: dict[str, Any]) -> list[canon.Block]:
    """The parts of one message item: all have the same object for `said`."""
    for block in blocks:
        if isinstance(block, canon.Text | canon.Refusal):
            block.said = said
    return blocks


def read_call(fields: Fields) -> canon.ToolCall:
    """function_call or custom_tool_call, its type taken already."""
    custom = "input" in fields and "arguments" not in fields
    said = _said(fields, "id", "status")
    call_id = fields.text("call_id") or str(said.get("id") or "")
    if not call_id:
        raise malformed(fields.at("call_id"), "given")
    name, space = fields.needed("name"), fields.text("namespace")
    if space:
        said |= {"namespace": space, "name": name}
        name = joined_name(space, name)
    given = fields.take("input" if custom else "arguments")
    if type(given) is not str:
        given = "" if given is None else encoded(given).decode()
    return canon.ToolCall(call_id, name, given, custom=custom, extra=_rest(fields), said=said)


def _read_call(fields: Fields, reading: Reading) -> None:
    reading.said(read_call(fields))


def _read_result(kind: str) -> Callable[[Fields, Reading], None]:
    def read(fields: Fields, reading: Reading) -> None:
        said = {"type": kind, **_said(fields, "id", "status", "namespace", "name")}
        given = fields.take("output")
        if type(given) is dict:
            given = encoded(given).decode()
        blocks = read_content(given, fields.at("output"))
        name = joined_name(str(said.get("namespace") or ""), str(said.get("name") or ""))
        call_id = fields.needed("call_id")
        reading.answered(canon.ToolResult(call_id, blocks, name=name, extra=_rest(fields), said=said))

    return read


def _read_reasoning(fields: Fields, reading: Reading) -> None:
    fields.rest()["type"] = "reasoning"
    reading.said(read_reasoning(fields))


_READERS: Final[dict[str, Callable[[Fields, Reading], None]]] = {
    "message": _read_message,
    "function_call": _read_call,
    "custom_tool_call": _read_call,
    "function_call_output": _read_result("function_call_output"),
    "custom_tool_call_output": _read_result("custom_tool_call_output"),
    "reasoning": _read_reasoning,
}

# Writing


def write_turns(request: canon.Request, to: Writing) -> tuple[str, list[dict[str, Any]]]:
    """(`instructions`, `input`)."""
    instructions, found = _lead(request, to)
    turns = request.turns if to.own else with_results(request.turns, to.losses)
    custom: set[str] = set()
    for turn in turns:
        if turn.name:
            to.losses.add("name")
        if turn.role == "assistant":
            found += _assistant(turn, to)
            custom |= {block.id for block in turn.blocks if isinstance(block, canon.ToolCall) and block.custom}
        elif turn.role == "user":
            found += _user(turn, custom, to)
        else:
            found += _message(turn.role, turn.blocks, turn, to)
    return instructions, found


def _lead(request: canon.Request, to: Writing) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt as it was said, or as instructions."""
    told = [id(block) for turn in request.leading for block in turn.blocks]
    items: list[dict[str, Any]] = []
    if to.own and request.leading and told == [id(block) for block in request.system]:
        instructions = ""
        for turn in request.leading:
            if turn.said is not None and "instructions" in turn.said:
                instructions = "\n\n".join(block.text for block in turn.blocks if isinstance(block, canon.Text))
            else:
                items += _message(turn.role, turn.blocks, turn, to)
        return instructions, items
    texts = [block for block in request.system if isinstance(block, canon.Text)]
    if len(texts) < len(request.system) or (any(block.cache for block in texts) and to.breakpoints):
        return "", _message("developer", request.system, canon.Turn("developer", []), to)
    if any(block.cache for block in texts):
        to.losses.add("cache_control")
    for block in texts:
        to.losses.extra(block.extra)
    return "\n\n".join(block.text for block in texts if block.text), items


def _message(role: str, blocks: list[canon.Block], turn: canon.Turn, to: Writing) -> list[dict[str, Any]]:
    content = write_parts(blocks, to)
    if not content and not to.own:
        return []
    value: dict[str, Any] = {"type": "message", "role": role, "content": content}
    if to.own:
        value = {**value, **(turn.said or {}), **turn.extra}
    else:
        to.losses.extra(turn.extra)
    return [value]


def _assistant(turn: canon.Turn, to: Writing) -> list[dict[str, Any]]:
    """What the assistant said, item by item."""
    if not to.own:
        to.losses.extra(turn.extra)
    found: list[dict[str, Any]] = []
    message: list[canon.Block] = []
    for block in turn.blocks:
        if message and not _continues(message[-1], block, to):
            found += _spoken(message, to)
            message = []
        if isinstance(block, canon.Text | canon.Refusal | canon.Audio):
            message.append(block)
        elif isinstance(block, canon.ToolCall):
            found.append(_call(block, to))
        elif isinstance(block, canon.Reasoning):
            item = write_reasoning(block, to)
            found += [] if item is None else [item]
        elif isinstance(block, canon.Raw) and block.dialect == DIALECT and to.own:
            found.append(block.value)
        elif isinstance(block, canon.Image) and block.said is not None and to.own:
            found.append(block.said)
        else:
            to.losses.block(block)
    return found + _spoken(message, to)


def _continues(last: canon.Block, block: canon.Block, to: Writing) -> bool:
    """Whether a block belongs to the message of the one before it."""
    if not isinstance(block, canon.Text | canon.Refusal | canon.Audio):
        return False
    return not to.own or getattr(last, "said", None) is getattr(block, "said", None)


def _spoken(blocks: list[canon.Block], to: Writing) -> list[dict[str, Any]]:
    """A message of the assistant's.  What it is of another dialect is plain text: parts would need an id."""
    if not blocks:
        return []
    if to.own:
        said = getattr(blocks[0], "said", None) or {}
        return [{"type": "message", "role": "assistant", "content": write_parts(blocks, to, spoken=True), **said}]
    text = ""
    for block in blocks:
        if isinstance(block, canon.Text | canon.Refusal):
            text += block.text
            to.losses.extra(block.extra)
        elif isinstance(block, canon.Audio):
            to.losses.add("audio")
            text += block.transcript
        if isinstance(block, canon.Text) and block.citations:
            to.losses.add("citations")
        if isinstance(block, canon.Text) and block.cache:
            to.losses.add("cache_control")
    return [{"type": "message", "role": "assistant", "content": text}] if text else []


def call_id_of(call_id: str) -> str:
    """The id as OpenAI takes it: the same for the same, different for different ones."""
    if len(call_id) <= CALL_ID_CHARS_MAX:
        return call_id
    return "call_" + hashlib.blake2b(call_id.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _call(block: canon.ToolCall, to: Writing) -> dict[str, Any]:
    call_id = block.id if to.own else call_id_of(block.id)
    value: dict[str, Any]
    if block.custom and (to.own or to.family.openai):
        value = {"type": "custom_tool_call", "call_id": call_id, "name": block.name, "input": block.arguments}
    else:
        arguments = block.arguments
        if block.custom:
            to.losses.add("custom_tools")
            arguments = encoded({"input": arguments}).decode()
        elif not to.own and not arguments.strip():
            arguments = "{}"
        value = {"type": "function_call", "call_id": call_id, "name": block.name, "arguments": arguments}
    if to.own:
        return {**value, **(block.said or {}), **block.extra}
    if block.signature:
        to.losses.add("thinking_signature")
    if block.cache:
        to.losses.add("cache_control")
    to.losses.extra(block.extra)
    return value


def _user(turn: canon.Turn, custom: set[str], to: Writing) -> list[dict[str, Any]]:
    """Results of tools, then what the user says."""
    found: list[dict[str, Any]] = []
    rest: list[canon.Block] = []
    for block in turn.blocks:
        if isinstance(block, canon.ToolResult):
            found.append(_result(block, custom, to))
        elif isinstance(block, canon.Raw) and to.own and block.value.get("type") in FROM_USER:
            found.append(block.value)
        else:
            rest.append(block)
    if rest or (to.own and not turn.blocks):
        found += _message("user", rest, turn, to)
    return found


def _result(block: canon.ToolResult, custom: set[str], to: Writing) -> dict[str, Any]:
    call_id = block.call_id if to.own else call_id_of(block.call_id)
    is_custom = block.call_id in custom and (to.own or to.family.openai)
    value: dict[str, Any] = {"type": "custom_tool_call_output" if is_custom else "function_call_output"}
    value["call_id"] = call_id
    parts = write_parts(block.blocks, to)
    if all(part.keys() == {"type", "text"} for part in parts) and (len(parts) < 2 or not to.own):
        value["output"] = "\n\n".join(part["text"] for part in parts)
    else:
        value["output"] = parts
    if to.own:
        return {**value, **(block.said or {}), **block.extra}
    if not value["output"] and not block.blocks:
        value["output"] = NO_RESULT
    if block.is_error:
        to.losses.add("tool_error")
    if block.cache:
        to.losses.add("cache_control")
    to.losses.extra(block.extra)
    return value
