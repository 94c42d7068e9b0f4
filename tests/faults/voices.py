"""How an upstream of each dialect says things when all is well, and how it words its errors.

The answer is always the same text of TOKENS tokens, each four ASCII bytes, so that an estimate by length is exact.
Written by hand from the vendors' references; nothing of the product is used.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

TOKENS: Final = 60
WORDS: Final = [f"{a}{b}{c} " for a, b, c in itertools.islice(itertools.product("bdfgk", "aeiou", "lmnrst"), TOKENS)]
TEXT: Final = "".join(WORDS)
PROMPT: Final = "Explain why a gateway earns trust only when the provider behind it misbehaves."
IN: Final = 21
"""Prompt tokens of PROMPT, as every upstream counts them; a prefill is counted on top."""
OUT: Final = TOKENS

Body = dict[str, Any]


class Asked(NamedTuple):
    """One request, as far as a script may depend on it."""

    n: int
    """Which request of this upstream, from 1."""
    since_s: float
    """Since its first request."""
    who: str
    """primary · spare."""
    voice: Voice
    stream: bool
    body: Body
    prefill: str
    """The beginning of the answer that it is to go on from; "" = there is none."""

    read: int = 0
    """Tokens that came besides the prompt and are not gone on from."""

    @property
    def begun(self) -> int:
        """Tokens of the answer that the request brings with it."""
        return len(self.prefill) // 4 if self.prefill and TEXT.startswith(self.prefill) else 0

    @property
    def words(self) -> list[str]:
        """What is still to be said; a token that the prefill cuts is said to its end."""
        if not self.begun and not TEXT.startswith(self.prefill):
            return WORDS
        rest = TEXT[len(self.prefill) :]
        first = len(rest) % 4
        return [rest[:first]] * bool(first) + [rest[at : at + 4] for at in range(first, len(rest), 4)]


class Voice(NamedTuple):
    """One upstream dialect."""

    dialect: str
    vendor: str
    options: tuple[tuple[str, Any], ...]
    """Of its channel."""
    base_path: str
    whole: Callable[[Asked, str], Body]
    """(asked, finish) → a plain answer."""
    stream: Callable[[Asked, str], tuple[list[bytes], list[bytes], list[bytes]]]
    """(asked, finish) → events before the text, one a token, and after it."""
    error: Callable[[int, str, str], Body]
    """(status, code, message) → an error's body."""
    error_event: Callable[[Body], bytes]
    ping: bytes
    """A sign of life that is no content."""
    prefill: Callable[[Body], str]
    filtered: str
    """The finish that says that the content filter stopped it."""
    stop: str


def event(data: object, name: str = "") -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def _used(asked: Asked) -> tuple[int, int]:
    return IN + asked.begun + asked.read, len(asked.words)


# Chat


def _chat_usage(asked: Asked) -> Body:
    given, made = _used(asked)
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _chat_head(asked: Asked, kind: str) -> Body:
    return {
        "id": f"chatcmpl-{asked.who}{asked.n}", "object": kind, "created": 1_700_000_000, "model": f"{asked.who}-model",
    }  # fmt: skip


def _chat_whole(asked: Asked, finish: str) -> Body:
    message = {"role": "assistant", "content": "".join(asked.words), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**_chat_head(asked, "chat.completion"), "choices": [choice], "usage": _chat_usage(asked)}


def _chat_stream(asked: Asked, finish: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
    head = _chat_head(asked, "chat.completion.chunk")

    def chunk(delta: Body, reason: str | None = None) -> bytes:
        return event({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]})

    after = [chunk({}, finish)]
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        after.append(event({**head, "choices": [], "usage": _chat_usage(asked)}))
    texts = [chunk({"content": word}) for word in asked.words]
    return [chunk({"role": "assistant", "content": "", "refusal": None})], texts, [*after, event("[DONE]")]


def _openai_error(status: int, code: str, message: str) -> Body:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _text_of(content: object) -> str:
    """The text of a message's content, in any dialect's spelling."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content) if isinstance(content, list) else ""


def _chat_prefill(body: Body) -> str:
    last = body["messages"][-1]
    return _text_of(last.get("content")) if last["role"] == "assistant" else ""


# Responses


def _response(asked: Asked, status: str, output: list[Body], usage: Body | None) -> Body:
    reason = {"incomplete": {"reason": "content_filter"}}.get(status)
    return {
        "id": f"resp_{asked.who}{asked.n}", "object": "response", "created_at": 1_700_000_000, "status": status,
        "error": None, "incomplete_details": reason, "instructions": None, "metadata": {},
        "model": f"{asked.who}-model", "output": output, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "store": False, "usage": usage,
    }  # fmt: skip


def _item(asked: Asked, status: str, text: str | None) -> Body:
    content = [] if text is None else [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {
        "id": f"msg_{asked.who}{asked.n}", "type": "message", "role": "assistant", "status": status, "content": content,
    }  # fmt: skip


def _responses_whole(asked: Asked, finish: str) -> Body:
    given, made = _used(asked)
    usage = {
        "input_tokens": given, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": given + made,
    }  # fmt: skip
    return _response(asked, finish, [_item(asked, finish, "".join(asked.words))], usage)


def _responses_stream(asked: Asked, finish: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
    shell, whole = _response(asked, "in_progress", [], None), _responses_whole(asked, finish)
    text, done = "".join(asked.words), _item(asked, finish, "".join(asked.words))
    place = {"output_index": 0, "content_index": 0, "item_id": done["id"]}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    numbers = itertools.count()

    def said(kind: str, **data: Any) -> bytes:
        return event({"type": kind, "sequence_number": next(numbers), **data}, kind)

    before = [
        said("response.created", response=shell),
        said("response.in_progress", response=shell),
        said("response.output_item.added", output_index=0, item=_item(asked, "in_progress", None)),
        said("response.content_part.added", **place, part=part),
    ]
    texts = [said("response.output_text.delta", **place, delta=word, logprobs=[]) for word in asked.words]
    after = [
        said("response.output_text.done", **place, text=text, logprobs=[]),
        said("response.content_part.done", **place, part={**part, "text": text}),
        said("response.output_item.done", output_index=0, item=done),
        said(f"response.{finish}", response=whole),
    ]
    return before, texts, after


def _responses_error_event(error: Body) -> bytes:
    inner = error["error"]
    data = {"type": "error", "sequence_number": 30, "code": inner["code"], "message": inner["message"], "param": None}
    return event(data, "error")


def _responses_prefill(body: Body) -> str:
    last = body["input"][-1] if isinstance(body["input"], list) else {}
    return _text_of(last.get("content")) if last.get("role") == "assistant" else ""


# Messages


def _message(asked: Asked, content: list[Body], finish: str | None, usage: Body) -> Body:
    return {
        "id": f"msg_{asked.who}{asked.n}", "type": "message", "role": "assistant", "model": f"{asked.who}-model",
        "content": content, "stop_reason": finish, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _messages_whole(asked: Asked, finish: str) -> Body:
    given, made = _used(asked)
    content = [{"type": "text", "text": "".join(asked.words)}]
    return _message(asked, content, finish, {"input_tokens": given, "output_tokens": made})


def _messages_stream(asked: Asked, finish: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
    given, made = _used(asked)
    start = _message(asked, [], None, {"input_tokens": given, "output_tokens": 1})

    def said(kind: str, **data: Any) -> bytes:
        return event({"type": kind, **data}, kind)

    before = [
        said("message_start", message=start),
        said("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        said("ping"),
    ]
    texts = [said("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in asked.words]
    stop = {"stop_reason": finish, "stop_sequence": None}
    after = [
        said("content_block_stop", index=0),
        said("message_delta", delta=stop, usage={"output_tokens": made}),
        said("message_stop"),
    ]
    return before, texts, after


def _messages_error(status: int, code: str, message: str) -> Body:
    kind = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
    return {"type": "error", "error": {"type": kind.get(status, "api_error"), "message": message}}


def _messages_prefill(body: Body) -> str:
    last = body["messages"][-1]
    return _text_of(last["content"]) if last["role"] == "assistant" else ""


# Gemini


def _generated(asked: Asked, text: str, finish: str | None, made: int) -> Body:
    given = _used(asked)[0]
    candidate: Body = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": given, "candidatesTokenCount": made, "totalTokenCount": given + made}
    return {
        "candidates": [candidate], "usageMetadata": usage, "modelVersion": f"{asked.who}-model",
        "responseId": f"gem-{asked.who}{asked.n}",
    }  # fmt: skip


def _gemini_whole(asked: Asked, finish: str) -> Body:
    return _generated(asked, "".join(asked.words), finish, len(asked.words))


def _gemini_stream(asked: Asked, finish: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
    words = asked.words
    texts = [event(_generated(asked, word, None, at)) for at, word in enumerate(words, 1)]
    return [], texts, [event(_generated(asked, "", finish, len(words)))]


def _gemini_error(status: int, code: str, message: str) -> Body:
    names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}
    return {"error": {"code": status, "message": message, "status": names.get(status, "UNAVAILABLE")}}


def _gemini_prefill(body: Body) -> str:
    last = body["contents"][-1]
    return _text_of(last["parts"]) if last.get("role") == "model" else ""


_COMMENT: Final = b": ping\n\n"
VOICES: Final[dict[str, Voice]] = {
    voice.dialect: voice
    for voice in (
        Voice(
            "chat", "openai-compatible", (), "/v1", _chat_whole, _chat_stream, _openai_error, event, _COMMENT,
            _chat_prefill, "content_filter", "stop",
        ),
        Voice(
            "responses", "openai", (("speaks", ["responses"]),), "/v1", _responses_whole, _responses_stream,
            _openai_error, _responses_error_event, _COMMENT, _responses_prefill, "incomplete", "completed",
        ),
        Voice(
            "messages", "anthropic", (), "", _messages_whole, _messages_stream, _messages_error,
            lambda error: event(error, "error"), event({"type": "ping"}, "ping"), _messages_prefill,
            "refusal", "end_turn",
        ),
        Voice(
            "gemini", "gemini", (), "", _gemini_whole, _gemini_stream, _gemini_error, event,
            event({"candidates": [{"content": {"role": "model"}, "index": 0}]}), _gemini_prefill, "SAFETY", "STOP",
        ),
    )
}  # fmt: skip
