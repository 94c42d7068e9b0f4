"""What the official SDKs make of a translated answer: validated by their own objects, folded by their own machinery.

One row for each inbound dialect.  Nothing of the product is used here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from google.genai import types
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.wire.cases import events_in
from tests.wire.meaning import arguments_of
from tests.wire.test_translate_responses import ENDS, ordered


class Heard(NamedTuple):
    """What a user of the SDK sees of the first choice."""

    text: str
    calls: list[tuple[str, Any]]
    thinking: str
    stop: str
    usage: tuple[int, int]


CHUNK: Final[TypeAdapter[Any]] = TypeAdapter(ChatCompletionChunk)
COMPLETION: Final[TypeAdapter[Any]] = TypeAdapter(ChatCompletion)
RESPONSE: Final[TypeAdapter[Any]] = TypeAdapter(Response)
RESPONSE_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(ResponseStreamEvent)
MESSAGE: Final[TypeAdapter[Any]] = TypeAdapter(Message)
MESSAGE_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(RawMessageStreamEvent)


def _completion(whole: ChatCompletion) -> Heard:
    if not whole.choices:
        return Heard("", [], "", "", (0, 0))
    choice = whole.choices[0]
    message = choice.message
    calls: list[tuple[str, Any]] = []
    for call in message.tool_calls or []:
        if call.type == "custom":
            calls.append((call.custom.name, call.custom.input))
        else:
            calls.append((call.function.name, arguments_of(call.function.arguments)))
    spoken = message.audio.transcript if message.audio else ""
    text = (message.content or "") + (message.refusal or "") + (spoken or "")
    thinking = (message.model_extra or {}).get("reasoning_content") or ""
    usage = whole.usage
    counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return Heard(text, calls, thinking, choice.finish_reason or "", counts)


def chat_plain(data: bytes) -> Heard:
    """A ChatCompletion."""
    return _completion(COMPLETION.validate_json(data))


def chat_stream(data: bytes) -> Heard:
    """Chunks, put together by the SDK's stream state."""
    assert data.endswith(b"data: [DONE]\n\n")
    state = ChatCompletionStreamState()
    for value in events_in(data):
        state.handle_chunk(CHUNK.validate_python(value))
    return _completion(state.current_completion_snapshot)


def _response(whole: Response) -> Heard:
    text, thinking = "", ""
    calls: list[tuple[str, Any]] = []
    for item in whole.output:
        if item.type == "message":
            text += "".join(part.text if part.type == "output_text" else part.refusal for part in item.content)
        elif item.type == "reasoning":
            thinking += "\n\n".join(part.text for part in item.content or item.summary)
        elif item.type == "function_call":
            calls.append((item.name, arguments_of(item.arguments)))
        elif item.type == "custom_tool_call":
            calls.append((item.name, item.input))
    reason = whole.incomplete_details.reason if whole.incomplete_details else None
    usage = whole.usage
    counts = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
    return Heard(text, calls, thinking, f"{whole.status}:{reason}" if reason else str(whole.status), counts)


def responses_plain(data: bytes) -> Heard:
    """A Response."""
    return _response(RESPONSE.validate_json(data))


def responses_stream(data: bytes) -> Heard:
    """Events in OpenAI's order; what the deltas say and the SDK's state gathers is what the last event holds."""
    values = events_in(data)
    ordered(values, "stream")
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    last: Response | None = None
    told = {"response.output_text.delta": "", "response.refusal.delta": ""}
    for value in values:
        event = RESPONSE_EVENT.validate_python(value)
        state.handle_event(event)
        if event.type in told:
            told[event.type] += event.delta
        if event.type in ENDS:
            last = event.response
    assert last is not None
    heard = _response(last)
    assert len(heard.text) == sum(map(len, told.values())), "deltas and the last event differ"
    return heard


def _message(whole: Message) -> Heard:
    calls: list[tuple[str, Any]] = [(block.name, block.input) for block in whole.content if block.type == "tool_use"]
    usage = whole.usage
    sent = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return Heard(
        "".join(block.text for block in whole.content if block.type == "text"),
        calls,
        "".join(block.thinking for block in whole.content if block.type == "thinking"),
        whole.stop_reason or "",
        (sent, usage.output_tokens),
    )


def messages_plain(data: bytes) -> Heard:
    """A Message."""
    return _message(MESSAGE.validate_json(data))


def messages_stream(data: bytes) -> Heard:
    """Events, put together by the SDK's accumulator."""
    whole = None
    buffers: dict[int, bytes] = {}
    is_open: int | None = None
    kind = ""
    for value in events_in(data):
        kind = value["type"]
        if kind == "ping":
            continue
        if kind == "content_block_start":
            assert is_open is None, "blocks overlap"
            is_open = value["index"]
        elif kind in ("content_block_delta", "content_block_stop"):
            assert is_open == value["index"], "a delta outside its block"
            is_open = is_open if kind == "content_block_delta" else None
        event = MESSAGE_EVENT.validate_python(value)
        whole = accumulate_event(event=event, current_snapshot=whole, json_bufs=buffers)
    assert whole is not None
    assert kind == "message_stop"
    return _message(whole)


def _content(chunks: list[types.GenerateContentResponse]) -> Heard:
    text, thinking, stop, counts = "", "", "", (0, 0)
    calls: list[tuple[str, Any]] = []
    for chunk in chunks:
        usage = chunk.usage_metadata
        if usage is not None:
            sent = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
            counts = (sent, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0))
        candidates = [candidate for candidate in chunk.candidates or [] if not candidate.index]
        for candidate in candidates:
            stop = str(candidate.finish_reason.value) if candidate.finish_reason else stop
            for part in (candidate.content.parts if candidate.content else None) or []:
                if part.function_call:
                    calls.append((part.function_call.name or "", part.function_call.args or {}))
                elif part.thought:
                    thinking += part.text or ""
                else:
                    text += part.text or ""
    return Heard(text, calls, thinking, stop, counts)


def gemini_plain(data: bytes) -> Heard:
    """A GenerateContentResponse."""
    return _content([types.GenerateContentResponse.model_validate(json.loads(data))])


def gemini_stream(data: bytes) -> Heard:
    """Chunks, each of them a GenerateContentResponse."""
    return _content([types.GenerateContentResponse.model_validate(value) for value in events_in(data)])


HEARD: Final[dict[str, tuple[Callable[[bytes], Heard], Callable[[bytes], Heard]]]] = {
    "chat": (chat_plain, chat_stream),
    "responses": (responses_plain, responses_stream),
    "messages": (messages_plain, messages_stream),
    "gemini": (gemini_plain, gemini_stream),
}
"""Inbound dialect → (plain, stream)."""

STOPS: Final[dict[str, dict[str, set[str]]]] = {
    "chat": {
        "tool": {"tool_calls"}, "length": {"length"}, "filter": {"content_filter"},
        "refusal": {"content_filter", "stop"}, "*": {"stop", "tool_calls"},
    },
    "responses": {
        "length": {"incomplete:max_output_tokens"}, "filter": {"incomplete:content_filter"},
        "refusal": {"incomplete:content_filter", "completed"}, "error": {"failed"}, "*": {"completed"},
    },
    "messages": {
        "tool": {"tool_use"}, "length": {"max_tokens"}, "filter": {"refusal"}, "refusal": {"refusal"},
        "sequence": {"stop_sequence"}, "pause": {"pause_turn"}, "*": {"end_turn", "tool_use"},
    },
    "gemini": {
        "length": {"MAX_TOKENS"}, "filter": {"SAFETY"}, "refusal": {"SAFETY"}, "other": {"OTHER", "STOP"},
        "*": {"STOP"},
    },
}  # fmt: skip
"""Inbound dialect → canonical reason of the stop → the words that say it; "*" = any other."""
