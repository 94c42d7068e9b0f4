"""Large bodies of every plausible kind, requests and answers in each dialect, for the stalls bench."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

MIB: Final = 1 << 20
WORDS: Final = 'The quick brown fox said: "jump over the lazy dog".\n'
USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
Parts = list[bytes]


def packed(value: object) -> bytes:
    """Compact JSON, as most SDKs send it."""
    return json.dumps(value, separators=(",", ":")).encode()


def text(size: int) -> str:
    """Words with quotes and line ends; about `size` bytes in JSON."""
    return WORDS * (size // (len(WORDS) + 3))


@functools.lru_cache(2)
def blob(size: int) -> str:
    """Base64 of about this many bytes."""
    return (
        base64.b64encode(os.urandom(3 * MIB // 4)).decode() * (size // MIB)
        + base64.b64encode(os.urandom(size % MIB * 3 // 4)).decode()
    )


def turns(size: int, **more: Any) -> list[dict[str, Any]]:
    """Many short turns."""
    said, answered = {"role": "user", "content": "How are you today?" * 4}, {"role": "assistant", "content": "Fine."}
    return [said, answered] * (size // 155) + [said]


# Requests


def _with(model: str, size: int, what: str, wrap: Callable[[str], Any], **more: Any) -> bytes:
    content: Any = wrap(blob(size)) if what == "base64" else text(size)
    messages = turns(size) if what == "turns" else [{"role": "user", "content": content}]
    return packed({"model": model, "max_tokens": 9, "messages": messages, **more})


def chat(model: str, what: str) -> Callable[[int], bytes]:
    """A Chat request of text, base64 or turns."""
    url = "data:image/png;base64,"
    return lambda size: _with(model, size, what, lambda data: [{"type": "image_url", "image_url": {"url": url + data}}])


def spaced(model: str) -> Callable[[int], bytes]:
    """One with spaces, as json.dumps writes it, and indented."""
    return lambda size: json.dumps({"messages": turns(size * 3 // 5), "model": model}, indent=1).encode()


def messages(model: str, what: str) -> Callable[[int], bytes]:
    """A Messages request."""
    source = {"type": "base64", "media_type": "image/png"}
    return lambda size: _with(model, size, what, lambda data: [{"type": "image", "source": source | {"data": data}}])


def responses(model: str, what: str) -> Callable[[int], bytes]:
    """A Responses request."""
    return lambda size: packed({"model": model, "input": text(size) if what == "text" else turns(size)})


def gemini(size: int) -> bytes:
    """A generateContent request with an image."""
    return packed({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": blob(size)}}]}]})


def embeddings(model: str, what: str) -> Callable[[int], bytes]:
    """Tokens or many texts."""
    return lambda size: packed(
        {
            "model": model,
            "input": list(range(10_000, 99_000)) * (size // 534_000) + list(range(10_000, 10_000 + size % 534_000 // 6))
            if what == "numbers"
            else ["word"] * (size // 7),
        }
    )


def rubbish(model: str) -> Callable[[int], bytes]:
    """Structure without end in a member that nobody knows."""
    item = {"a": 1, "b": [1, 2], "c": {"d": "e"}}
    return lambda size: packed({"model": model, "messages": turns(100), "x": [item] * (size // 34)})


def form(size: int) -> bytes:
    """A transcription."""
    part = '--XX\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    head = part.format("model", "") + "on-chat\r\n" + part.format("file", '; filename="a.wav"')
    return head.encode() + os.urandom(MIB)[: max(1, size % MIB)] + bytes(size // MIB * MIB) + b"\r\n--XX--\r\n"


# Answers


def _http(body: bytes, content_type: str = "application/json", status: str = "200 OK", more: str = "") -> Parts:
    return [
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{more}content-length: {len(body)}\r\n\r\n".encode(),
        body,
    ]


def streamed(body: bytes, content_type: str = "text/event-stream") -> Parts:
    """In chunks of 64 KiB."""
    step = 64 << 10
    parts = [f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()]
    for at in range(0, len(body), step):
        piece = body[at : at + step]
        parts.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return [*parts, b"0\r\n\r\n"]


def chat_answer(content: Any, **more: Any) -> bytes:
    """A chat completion."""
    message = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return packed(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    )


def chat_text(size: int) -> Parts:
    """One long text."""
    return _http(chat_answer(text(size)))


def chat_unusual(size: int) -> Parts:
    """Without usage: it must be estimated."""
    return _http(chat_answer(text(size)).replace(b'"usage"', b'"nothing"'))


def chat_chunked(size: int) -> Parts:
    """Of a length not told."""
    return streamed(chat_answer(text(size)), "application/json")


def chat_zipped(size: int) -> Parts:
    """Compressed though nobody asked for it."""
    return _http(gzip.compress(chat_answer(text(size)), 1), more="content-encoding: gzip\r\n")


def chat_calls(size: int) -> Parts:
    """Very many tool calls."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"b"}'}}
    return _http(chat_answer(None, tool_calls=[call] * (size // 85)))


def chat_error(size: int) -> Parts:
    """A refusal that never ends."""
    body = packed({"error": {"message": text(size), "type": "invalid_request_error", "param": None, "code": None}})
    return _http(body, status="400 Bad Request")


def image_answer(size: int) -> Parts:
    """Images in base64."""
    return _http(
        packed({"created": 1, "data": [{"b64_json": blob(size)}], "usage": {"input_tokens": 5, "output_tokens": 5}})
    )


def floats(size: int) -> Parts:
    """Embeddings."""
    row = {"object": "embedding", "index": 0, "embedding": [-0.01234567] * 1536}
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return _http(packed({"object": "list", "model": "m", "data": [row] * (size // 18500 + 1), "usage": usage}))


def gemini_floats(size: int) -> Parts:
    """Gemini's."""
    return _http(packed({"embeddings": [{"values": [-0.01234567] * 1536}] * (size // 18470 + 1)}))


def gemini_body(size: int) -> bytes:
    """An image from generateContent."""
    part = {"inlineData": {"mimeType": "image/png", "data": blob(size)}}
    return packed(
        {
            "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 10},
            "modelVersion": "m", "responseId": "r",
        }
    )  # fmt: skip


def gemini_image(size: int) -> Parts:
    """Plain."""
    return _http(gemini_body(size))


def gemini_event(size: int) -> Parts:
    """The same as one event of a stream."""
    return streamed(b"data: " + gemini_body(size) + b"\n\n")


def gemini_array(size: int) -> Parts:
    """A stream as one JSON array."""
    part = {"candidates": [{"content": {"role": "model", "parts": [{"text": "word "}]}}], "modelVersion": "m"}
    return streamed(b"[" + b",".join([packed(part)] * (size // 95)) + b"," + gemini_body(9) + b"]", "application/json")


def audio(size: int) -> Parts:
    """Sound."""
    return _http(bytes(size), "audio/mpeg")


_CHUNK: Final = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def _delta(delta: object, finish: str | None = None) -> bytes:
    chunk = _CHUNK | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + packed(chunk) + b"\n\n"


_LAST: Final = (
    _delta({}, "stop") + b"data: " + packed(_CHUNK | {"choices": [], "usage": USAGE}) + b"\n\ndata: [DONE]\n\n"
)


def chat_stream(size: int) -> Parts:
    """Small events as fast as they go."""
    event = _delta({"content": " word"})
    return streamed(_delta({"role": "assistant", "content": ""}) + event * (size // len(event)) + _LAST)


def chat_event(size: int) -> Parts:
    """A stream with one huge event of text."""
    return streamed(_delta({"role": "assistant", "content": "A"}) + _delta({"content": text(size)}) + _LAST)


def responses_stream(size: int) -> Parts:
    """Responses' events; the last one says all again."""
    said = text(size // 2)
    part = {"type": "output_text", "text": said, "annotations": []}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
    whole = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item],
             "usage": {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}}  # fmt: skip
    started = whole | {"status": "in_progress", "output": [], "usage": None}
    delta = {
        "type": "response.output_text.delta",
        "item_id": "i",
        "output_index": 0,
        "content_index": 0,
        "delta": "w " * 20,
    }
    opened = item | {"content": [], "status": "in_progress"}
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
        *[delta] * (size // 2 // 200),
        {"type": "response.completed", "response": whole},
    ]  # fmt: skip
    return streamed(b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), packed(event)) for event in events))


def messages_answer(size: int) -> Parts:
    """Anthropic's."""
    return _http(
        packed(
            {
                "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": text(size)}], "stop_sequence": None,
                "usage": {"input_tokens": 5, "output_tokens": 5},
            }
        )
    )  # fmt: skip


def converse_answer(size: int) -> Parts:
    """Bedrock's."""
    return _http(
        packed(
            {
                "output": {"message": {"role": "assistant", "content": [{"text": text(size)}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": 5, "outputTokens": 5, "totalTokens": 10}, "metrics": {"latencyMs": 1},
            }
        )
    )  # fmt: skip


def frame(kind: str, payload: bytes) -> bytes:
    """One frame of AWS's event stream."""
    headers = b""
    for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
    prelude = struct.pack("!II", len(headers) + len(payload) + 16, len(headers))
    whole = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return whole + struct.pack("!I", zlib.crc32(whole))


def converse_stream(size: int) -> Parts:
    """Small frames."""
    delta = frame("contentBlockDelta", packed({"contentBlockIndex": 0, "delta": {"text": " word"}}))
    usage = {"usage": {"inputTokens": 5, "outputTokens": 5, "totalTokens": 10}, "metrics": {"latencyMs": 1}}
    body = b"".join([
        frame("messageStart", b'{"role":"assistant"}'), delta * (size // len(delta)),
        frame("contentBlockStop", b'{"contentBlockIndex":0}'), frame("messageStop", b'{"stopReason":"end_turn"}'),
        frame("metadata", packed(usage)),
    ])  # fmt: skip
    return streamed(body, "application/vnd.amazon.eventstream")


def small(answer: Callable[[int], Parts]) -> Callable[[int], Parts]:
    """The answer to a large request."""
    return lambda size: answer(100)


@dataclass(frozen=True)
class Case:
    """One kind of exchange."""

    name: str
    path: str
    request: Callable[[int], bytes]
    answer: Callable[[int], Parts]
    down: bool = False
    """The answer is what is large."""
    status: int = 200
    least: float = 0.2
    """An answer of this part of the size at least."""
    most: int = 64 * MIB
    content_type: str = "application/json"


def hello(model: str, **more: Any) -> Callable[[int], bytes]:
    """A short request."""
    value = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **more}
    return lambda size: packed(value)


def _up(name: str, path: str, request: Callable[[int], bytes], answer: Callable[[int], Parts], **more: Any) -> Case:
    return Case(f"up {name}", path, request, small(answer), **more)


def _down(name: str, path: str, request: Callable[[int], bytes], answer: Callable[[int], Parts], **more: Any) -> Case:
    return Case(f"down {name}", path, request, answer, down=True, **more)


def said_to_gemini(size: int) -> bytes:
    """A short request."""
    return packed({"contents": [{"parts": [{"text": "hi"}]}]})


def inputs(model: str) -> Callable[[int], bytes]:
    """As many short texts as an answer of this size has embeddings."""
    return lambda size: packed({"model": model, "input": ["hi"] * (size // 18470 + 1)})


def draw(size: int) -> bytes:
    """A short request of another kind."""
    return packed({"model": "on-chat", "prompt": "hi"})


CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
PLAIN, STREAM = hello("on-chat"), hello("on-chat", stream=True)
GEMINI, GEMINI_STREAM = "/v1beta/models/{}:generateContent", "/v1beta/models/on-gemini:streamGenerateContent"
FORM = "multipart/form-data; boundary=XX"
EVENT_MOST: Final = 12 * MIB
"""A longer event than 16 MiB is no event (adaptors/splitter.py)."""

CASES: Final[tuple[Case, ...]] = (
    # as it came
    _up("chat: text", CHAT, chat("on-chat", "text"), chat_text),
    _up("chat: base64", CHAT, chat("on-chat", "base64"), chat_text),
    _up("chat: short turns", CHAT, chat("on-chat", "turns"), chat_text),
    _up("chat: indented", CHAT, spaced("on-chat"), chat_text),
    _up("chat: structure", CHAT, rubbish("on-chat"), chat_text),
    _up("chat: model renamed, a parameter set", CHAT, chat("on-chat-renamed", "turns"), chat_text),
    _up("messages: text (looked at for seals)", MESSAGES, messages("on-messages", "text"), messages_answer),
    _up("embeddings: numbers", "/v1/embeddings", embeddings("on-chat", "numbers"), floats),
    _up("transcription: a form", "/v1/audio/transcriptions", form, chat_text, content_type=FORM),
    _up("messages to InvokeModel: text (signed)", MESSAGES, messages("on-invoke", "text"), messages_answer),
    _up("messages to InvokeModel: base64 (signed)", MESSAGES, messages("on-invoke", "base64"), messages_answer),
    _down("chat: text", CHAT, PLAIN, chat_text),
    _down("chat: text without usage", CHAT, PLAIN, chat_unusual),
    _down("chat: text, chunked", CHAT, PLAIN, chat_chunked),
    _down("chat: text, gzip unasked", CHAT, PLAIN, chat_zipped, least=0),
    _down("chat: tool calls", CHAT, PLAIN, chat_calls),
    _down("images: base64", "/v1/images/generations", draw, image_answer),
    _up("embeddings: words", "/v1/embeddings", embeddings("on-chat", "words"), floats),
    _down("embeddings: floats", "/v1/embeddings", inputs("on-chat"), floats),
    _down("speech: audio", "/v1/audio/speech", draw, audio),
    _down("gemini: array", GEMINI_STREAM, said_to_gemini, gemini_array),
    _down("chat stream: small events", CHAT, STREAM, chat_stream),
    _down("chat stream: one event", CHAT, STREAM, chat_event),
    _down("gemini stream: one event", GEMINI_STREAM + "?alt=sse", said_to_gemini, gemini_event),
    # translated
    _up("messages to chat: text", MESSAGES, messages("on-chat", "text"), chat_text),
    _up("messages to chat: base64", MESSAGES, messages("on-chat", "base64"), chat_text),
    _up("messages to chat: short turns", MESSAGES, messages("on-chat", "turns"), chat_text),
    _up("chat to messages: text", CHAT, chat("on-messages", "text"), messages_answer),
    _up("chat to messages: short turns", CHAT, chat("on-messages", "turns"), messages_answer),
    _up("responses to chat: short turns", RESPONSES, responses("on-chat", "turns"), chat_text),
    _up("chat to gemini: base64", CHAT, chat("on-gemini", "base64"), gemini_image),
    _up("chat to gemini: short turns", CHAT, chat("on-gemini", "turns"), gemini_image),
    _up("gemini to chat: base64", GEMINI.format("on-chat"), gemini, chat_text),
    _up("messages to converse: text (signed)", MESSAGES, messages("on-converse", "text"), converse_answer),
    _up("embeddings to gemini: words", "/v1/embeddings", embeddings("on-gemini", "words"), gemini_floats, most=8 * MIB),
    _down("messages from chat: text", MESSAGES, PLAIN, chat_text),
    _down("messages from chat: tool calls", MESSAGES, PLAIN, chat_calls),
    _down("messages from chat: text, gzip unasked", MESSAGES, PLAIN, chat_zipped),
    _down("messages from chat: an error", MESSAGES, PLAIN, chat_error, status=400, least=0),
    _down("chat from gemini: an image", CHAT, hello("on-gemini"), gemini_image),
    _down("chat from messages: text", CHAT, hello("on-messages"), messages_answer),
    _down("chat from converse: text", CHAT, hello("on-converse"), converse_answer),
    _down("embeddings from gemini: floats", "/v1/embeddings", inputs("on-gemini"), gemini_floats),
    _down("messages from a chat stream: small events", MESSAGES, STREAM, chat_stream),
    _down("messages from a chat stream: one event", MESSAGES, STREAM, chat_event, most=EVENT_MOST),
    _down("chat from a gemini stream: one image", CHAT, hello("on-gemini", stream=True), gemini_event, most=EVENT_MOST),
    _down("chat from a responses stream", CHAT, hello("on-responses", stream=True), responses_stream, most=EVENT_MOST),
    _down("chat from a converse stream: small frames", CHAT, hello("on-converse", stream=True), converse_stream),
    _down("messages collected from a chat stream", MESSAGES, PLAIN, chat_stream, least=0.01),
    _down("messages as a stream from a whole chat", MESSAGES, STREAM, chat_text),
)  # fmt: skip
