"""Messages: roles, and the order of calls and results that Chat insists on.

Results of tools stand in the user's turns of the canonical form; here each is a message of its own, right after the
assistant's that called.  Pictures and documents in a result follow in a message of the user, since a tool can only
say text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.chat.blocks import (
    Writing,
    read_citations,
    read_content,
    source_of,
    write_citation,
    write_content,
    write_image,
)
from burncloud.adaptors.chat.families import DIALECT
from burncloud.adaptors.chat.reasoning import own_members, read_reasoning, shown, write_members
from burncloud.adaptors.chat.tools import write_call_id
from burncloud.adaptors.fields import Fields, malformed

NO_RESULT: Final = "(no result)"
BETWEEN: Final = "OK."
"""What the assistant says between a tool and the user where no user may follow a tool (Mistral)."""

# Reading


class Reading:
    """Turns as they come; `waiting`: calls that have no result yet, for results that do not say whose they are."""

    def __init__(self, request: canon.Request) -> None:
        self.request = request
        self.waiting: list[canon.ToolCall] = []
        self.after_tool = False

    def call_of(self, call_id: str, name: str) -> str:
        """The id of the call that a result belongs to."""
        if call_id:
            self.waiting = [call for call in self.waiting if call.id != call_id]
            return call_id
        for at, call in enumerate(self.waiting):
            if not name or call.name == name:
                return self.waiting.pop(at).id
        return f"call_{name or 'unknown'}"


def read_turns(fields: Fields, request: canon.Request) -> None:
    """`messages`; system texts at their head belong to the system prompt."""
    if "messages" not in fields:
        raise malformed("messages", "given")
    reading = Reading(request)
    for message in fields.objects("messages"):
        role = message.needed("role")
        reader = _ROLES.get(role)
        if reader is None:
            raise malformed(message.at("role"), "system, developer, user, assistant, tool or function")
        reader(message, role, reading)
        reading.after_tool = role in ("tool", "function")
    if not request.turns and not request.system:
        raise malformed("messages", "a list of at least one message")
    leading = request.leading
    if len(leading) == 1 and leading[0].role == "system" and not leading[0].name and not leading[0].extra:
        request.leading = []


def _rest(message: Fields) -> canon.Extra:
    return {name: value for name, value in message.rest().items() if value not in (None, [])}


def _content(message: Fields) -> list[canon.Block]:
    """The content, with the cache mark of the whole message at its end."""
    blocks = read_content(message.take("content"), message.at("content"))
    cache = message.map("cache_control")
    if cache and blocks and isinstance(blocks[-1], canon.Text | canon.Image | canon.Document):
        blocks[-1].cache = cache
    return blocks


def _read_system(message: Fields, role: Any, reading: Reading) -> None:
    blocks = _content(message)
    turn = canon.Turn(role, blocks, message.text("name"), _rest(message))
    if reading.request.turns:
        reading.request.turns.append(turn)
    else:
        reading.request.system += blocks
        reading.request.leading.append(turn)


def _read_user(message: Fields, role: Any, reading: Reading) -> None:
    if "content" not in message:
        raise malformed(message.at("content"), "given")
    blocks = _content(message)
    reading.request.turns.append(canon.Turn("user", blocks, message.text("name"), _rest(message)))


def _read_assistant(message: Fields, role: Any, reading: Reading) -> None:
    name = message.text("name")
    blocks = read_said(message, f"{len(reading.request.turns)}")
    reading.waiting += [block for block in blocks if isinstance(block, canon.ToolCall)]
    reading.request.turns.append(canon.Turn("assistant", blocks, name, _rest(message)))


def _read_tool(message: Fields, role: Any, reading: Reading) -> None:
    name = message.text("name")
    call_id = reading.call_of(message.text("tool_call_id"), name)
    cache = message.map("cache_control")
    blocks = read_content(message.take("content"), message.at("content"))
    result = canon.ToolResult(call_id, blocks, name=name, cache=cache, extra=_rest(message))
    turns = reading.request.turns
    if reading.after_tool and turns:
        turns[-1].blocks.append(result)
    else:
        turns.append(canon.Turn("user", [result]))
    if role == "function":
        reading.request.said["tools"] = "functions"


_ROLES: Final[dict[str, Callable[[Fields, Any, Reading], None]]] = {
    "system": _read_system,
    "developer": _read_system,
    "user": _read_user,
    "assistant": _read_assistant,
    "tool": _read_tool,
    "function": _read_tool,
}


def read_said(message: Fields, made: str) -> list[canon.Block]:
    """What an assistant said, in a request or an answer; `made` goes into the ids of calls that have none."""
    blocks: list[canon.Block] = list(read_reasoning(message))
    said = _content(message)
    links, others = read_citations(message.take("annotations"))
    if links:
        last = next((block for block in reversed(said) if isinstance(block, canon.Text)), None)
        if last is None:
            last = canon.Text("")
            said.append(last)
        last.citations = links
    if others:
        message.rest()["annotations"] = others
    blocks += said
    refusal = message.text("refusal")
    if refusal:
        blocks.append(canon.Refusal(refusal))
    for image in message.items("images"):
        inner = image.get("image_url") if type(image) is dict else image
        url = inner.get("url") if type(inner) is dict else inner
        if type(url) is str:
            blocks.append(canon.Image(source_of(url)))
    audio = message.inner("audio")
    if audio is not None:
        _read_audio(audio, blocks)
    calls = [_read_call(call, f"call_{made}_{at}") for at, call in enumerate(message.objects("tool_calls"))]
    legacy = message.inner("function_call")
    if legacy is not None and legacy.rest().get("name"):
        calls.append(canon.ToolCall(f"call_{made}_0", legacy.text("name"), _arguments(legacy), extra={}))
    _sign(message, calls, blocks)
    return [block for block in blocks if type(block) is not canon.Text or block.text or block.citations] + calls


def _read_audio(audio: Fields, blocks: list[canon.Block]) -> None:
    """Spoken output, or its id in a later request."""
    key, data, transcript = audio.text("id"), audio.text("data"), audio.text("transcript")
    if key or data or transcript:
        blocks.append(canon.Audio(canon.Source(data=data), transcript, key, audio.rest()))


def _arguments(fields: Fields) -> str:
    given = fields.take("arguments")
    if type(given) is str:
        return given
    return encoded({} if given is None else given).decode()


def _read_call(call: Fields, made: str) -> canon.ToolCall:
    call_id = call.text("id") or made
    call.take("index")
    kind = call.text("type") or "function"
    inner = call.inner(kind if kind == "custom" else "function")
    if inner is None:
        raise malformed(call.at("function"), "given")
    other = call.rest().get("custom")
    if type(other) is dict and not other.get("name"):
        call.take("custom")
    signature = _signature(call)
    name = inner.needed("name")
    arguments = inner.text("input") if kind == "custom" else _arguments(inner)
    cache = call.map("cache_control")
    if inner.rest():
        call.rest()["function"] = inner.rest()
    return canon.ToolCall(call_id, name, arguments, signature, kind == "custom", cache, _rest(call))


def _signature(fields: Fields) -> str:
    """Gemini's thought signature in extra_content."""
    more = fields.rest().get("extra_content")
    google = more.get("google") if type(more) is dict else None
    signature = google.get("thought_signature") if type(google) is dict else None
    if type(signature) is not str:
        return ""
    fields.take("extra_content")
    return signature


def _sign(message: Fields, calls: list[canon.ToolCall], blocks: list[canon.Block]) -> None:
    """A signature of the whole message goes with its first call, or with a thought of its own."""
    signature = _signature(message)
    if not signature:
        return
    if calls and not calls[0].signature:
        calls[0].signature = signature
    else:
        whole = {"extra_content": {"google": {"thought_signature": signature}}}
        blocks.insert(0, canon.Reasoning(signature=signature, origin="gemini", said=whole))


# Writing


def write_turns(request: canon.Request, to: Writing) -> list[dict[str, Any]]:
    """`messages`."""
    leading = [turn for turn in _leading(request) if turn.blocks or to.own]
    messages = [_message(turn.role, write_content(turn.blocks, to), turn, to) for turn in leading]
    turns = request.turns if to.own else with_results(request.turns, to.losses)
    legacy = to.own and request.said.get("tools") == "functions"
    for turn in turns:
        if turn.role == "assistant":
            messages.append(_assistant(turn, to, legacy))
        elif turn.role == "user":
            messages += _user(turn, to, legacy, messages)
        else:
            role = turn.role if to.own or to.family.openai else "system"
            messages.append(_message(role, write_content(turn.blocks, to), turn, to))
    return messages


def _leading(request: canon.Request) -> list[canon.Turn]:
    """The system prompt, as its messages were as long as nobody changed it."""
    told = [id(block) for turn in request.leading for block in turn.blocks]
    if request.leading and request.dialect == DIALECT and told == [id(block) for block in request.system]:
        return request.leading
    return [canon.Turn("system", request.system)] if request.system else []


def _message(role: str, content: Any, turn: canon.Turn, to: Writing) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": content}
    if turn.name:
        message["name"] = turn.name
    if to.own:
        message.update(turn.extra)
    else:
        to.losses.extra(turn.extra)
    return message


def _assistant(turn: canon.Turn, to: Writing, legacy: bool) -> dict[str, Any]:
    said = write_said(turn.blocks, to)
    message = _message("assistant", said.pop("content"), turn, to)
    message.update(said)
    if legacy and "tool_calls" in message:
        message["function_call"] = message.pop("tool_calls")[0]["function"]
    return message


def _user(turn: canon.Turn, to: Writing, legacy: bool, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of the tools, then one of the user: what the turn says itself, and what the tools could not say."""
    found: list[dict[str, Any]] = []
    rest: list[canon.Block] = []
    shown_by_tools: list[canon.Block] = []
    for block in turn.blocks:
        if isinstance(block, canon.ToolResult):
            found.append(_result(block, to, legacy, shown_by_tools))
        else:
            rest.append(block)
    rest = shown_by_tools + rest
    if rest or not turn.blocks:
        content = write_content(rest, to)
        after_tool = bool(found) or bool(before and before[-1]["role"] == "tool")
        if after_tool and to.family.mistral and not to.own:
            found.append({"role": "assistant", "content": BETWEEN})
        if content or to.own or not found:
            found.append(_message("user", content, turn, to))
    return found


def _result(block: canon.ToolResult, to: Writing, legacy: bool, beside: list[canon.Block]) -> dict[str, Any]:
    """One result; what is no text goes `beside`."""
    call_id = write_call_id(block.call_id, to)
    texts = block.blocks
    if not to.own:
        texts = [part for part in block.blocks if isinstance(part, canon.Text)]
        others = [part for part in block.blocks if not isinstance(part, canon.Text)]
        if others:
            to.losses.add("tool_result_media")
            beside += [canon.Text(f"What the tool answered to {call_id}:"), *others]
        if block.is_error:
            to.losses.add("tool_error")
    content = write_content(texts, to)
    if not content and not to.own:
        content = "(see below)" if beside else NO_RESULT if not texts else ""
    if legacy:
        return {"role": "function", "name": block.name, "content": content, **block.extra}
    message: dict[str, Any] = {"role": "tool", "tool_call_id": call_id}
    if block.name and (to.own or to.family.mistral):
        message["name"] = block.name
    message["content"] = content
    return to.rest(message, block.cache, block.extra)


def write_said(blocks: list[canon.Block], to: Writing) -> dict[str, Any]:
    """The members of an assistant's message, `content` among them."""
    said: list[canon.Block] = []
    thoughts: list[canon.Reasoning] = []
    members: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    part = to.family.history == "part" and not to.answer
    for block in blocks:
        if isinstance(block, canon.Reasoning):
            if (to.own and block.said and "part" in block.said) or (part and not to.own):
                said.append(block)
                if not to.own and (block.signature or block.encrypted):
                    to.losses.add("thinking_signature")
                if not to.own:
                    to.losses.rest(block)
            else:
                thoughts.append(block)
        elif isinstance(block, canon.ToolCall):
            calls.append(write_call(block, to))
        elif isinstance(block, canon.Refusal) and (to.answer or to.own):
            members["refusal"] = members.get("refusal", "") + block.text
            if not to.own:
                to.losses.rest(block)
        elif isinstance(block, canon.Image):
            _add_image(block, members, to)
        elif isinstance(block, canon.Audio) and (to.answer or to.own):
            members["audio"] = _audio(block, to)
        elif isinstance(block, canon.Document):
            to.losses.add("document")
        else:
            said.append(block)
    content = write_content(said, to, "")
    if not content and isinstance(content, str) and (calls or members or to.answer):
        members["content"] = None
    elif type(content) is list and not content:
        members["content"] = ""
    else:
        members["content"] = content
    annotations = _annotations(said, to)
    if annotations:
        members["annotations"] = annotations
    members.update(_thoughts(thoughts, to, bool(calls)))
    if calls:
        members["tool_calls"] = calls
    return members


def _add_image(block: canon.Image, members: dict[str, Any], to: Writing) -> None:
    """Pictures that a model drew: OpenRouter's `images`."""
    if not (to.answer or to.own):
        to.losses.add("image")
        return
    image = write_image(block, to)
    if image is not None:
        members.setdefault("images", []).append(image)


def _audio(block: canon.Audio, to: Writing) -> dict[str, Any]:
    value: dict[str, Any] = {"id": block.id}
    if to.answer:
        value = {
            "id": block.id or "audio_0",
            "data": block.source.data,
            "transcript": block.transcript,
            "expires_at": 0,
        }
    return to.fill(value, block.extra)


def _annotations(said: list[canon.Block], to: Writing) -> list[dict[str, Any]]:
    """The links among the citations, counted in the text of the whole message."""
    found: list[dict[str, Any]] = []
    at = 0
    for block in said:
        if not isinstance(block, canon.Text):
            continue
        for citation in block.citations:
            link = write_citation(citation, at, at + len(block.text)) if to.answer or to.own else None
            if link is None:
                to.losses.add("citations")
            else:
                found.append(link)
        at += len(block.text)
    return found


def _thoughts(thoughts: list[canon.Reasoning], to: Writing, called: bool) -> dict[str, Any]:
    """Thinking, as far as the client (in an answer) or the model (in a request) has a place for it."""
    own = own_members(thoughts) if to.own else None
    if own is not None:
        return own
    for block in thoughts:
        if not to.own:
            to.losses.rest(block)
    if not thoughts:
        return {}
    if to.answer:
        return write_members(thoughts)
    history = to.family.history
    if history == "details":
        return write_members(thoughts, "reasoning")
    if any(block.signature or block.encrypted for block in thoughts):
        to.losses.add("thinking_signature")
    text = "\n\n".join(text for text in map(shown, thoughts) if text)
    if not text:
        return {}
    if not history:
        to.losses.add("thinking")
        return {}
    return {history: text}


def write_call(block: canon.ToolCall, to: Writing) -> dict[str, Any]:
    """One member of `tool_calls`."""
    call_id = write_call_id(block.id, to)
    value: dict[str, Any]
    if block.custom and (to.own or to.answer or to.family.openai):
        value = {"id": call_id, "type": "custom", "custom": {"name": block.name, "input": block.arguments}}
    else:
        arguments = block.arguments
        if block.custom:
            to.losses.add("custom_tools")
            arguments = encoded({"input": arguments}).decode()
        elif not to.own and not arguments.strip():
            arguments = "{}"
        function = {"name": block.name, "arguments": arguments}
        value = {"id": call_id, "type": "function", "function": function}
    if block.signature and (to.own or to.answer or to.family.signatures):
        value["extra_content"] = {"google": {"thought_signature": block.signature}}
    elif block.signature:
        to.losses.add("thinking_signature")
    return to.rest(value, block.cache, block.extra)


def with_results(turns: list[canon.Turn], losses: canon.Losses) -> list[canon.Turn]:
    """The turns with every result right behind its call, one made up where there is none; the given are left alone."""
    if _in_order(turns):
        return turns
    results: dict[str, list[canon.ToolResult]] = {}
    for turn in turns:
        for block in turn.blocks:
            if isinstance(block, canon.ToolResult):
                results.setdefault(block.call_id, []).append(block)
    found: list[canon.Turn] = []
    placed: set[int] = set()
    for turn in turns:
        blocks: list[canon.Block] = []
        for block in turn.blocks:
            if not isinstance(block, canon.ToolResult):
                blocks.append(block)
            elif id(block) not in placed:
                losses.add("tool_results")  # its call is nowhere before it
                blocks += block.blocks
                results[block.call_id] = [other for other in results[block.call_id] if other is not block]
        if blocks or not turn.blocks:
            found.append(canon.Turn(turn.role, blocks, turn.name, turn.extra))
        answers: list[canon.Block] = []
        for block in blocks:
            if not isinstance(block, canon.ToolCall):
                continue
            waiting = results.get(block.id)
            if not waiting:
                losses.add("tool_results")
            result = waiting.pop(0) if waiting else canon.ToolResult(block.id, [canon.Text(NO_RESULT)])
            placed.add(id(result))
            answers.append(result)
        if answers:
            found.append(canon.Turn("user", answers))
    return found


def _in_order(turns: list[canon.Turn]) -> bool:
    """Whether every turn with calls is followed by one with just their results, and no result stands elsewhere."""
    waiting: list[str] = []
    for turn in turns:
        results = [block.call_id for block in turn.blocks if isinstance(block, canon.ToolResult)]
        if sorted(results) != sorted(waiting):
            return False
        waiting = [block.id for block in turn.blocks if isinstance(block, canon.ToolCall)]
    return not waiting
