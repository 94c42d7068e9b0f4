"""Answers of the three APIs for the SDK tests, in the providers' own form; a case has the name of its model."""

from __future__ import annotations

from typing import Any, Final

from tests.upstream.cases import Case, answer, events

CHAT_USAGE: Final = {
    "prompt_tokens": 24,
    "completion_tokens": 12,
    "total_tokens": 36,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}
TOOL_CALL: Final = {
    "id": "call_Q1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'},
}  # fmt: skip


def completion(model: str, message: dict[str, Any], finish: str = "stop", usage: Any = CHAT_USAGE) -> dict[str, Any]:
    """A chat completion."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1741569952, "model": f"{model}-2025-04-14",
        "choices": [{"index": 0, "message": {"role": "assistant", "refusal": None, **message}, "finish_reason": finish,
                     "logprobs": None}],
        "usage": usage, "service_tier": "default", "x_unknown_field": {"kept": [1, 2.50, None]},
    }  # fmt: skip


def chunk(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One chunk of a streamed chat completion."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1741569952, "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}],
    }  # fmt: skip


def usage_chunk(model: str) -> dict[str, Any]:
    """The chunk that only comes when it was asked for."""
    return {**chunk(model, {}), "choices": [], "usage": CHAT_USAGE}


def streams(model: str, chunks: list[dict[str, Any]], **fields: Any) -> tuple[Case, Case]:
    """A stream without and with usage."""
    return events(model, chunks, **fields), events(f"{model}+usage", [*chunks, usage_chunk(model)], **fields)


TEXT_CHUNKS: Final = [
    chunk("text-stream", {"role": "assistant", "content": ""}),
    *(chunk("text-stream", {"content": word}) for word in ("Guten", " Tag", " — ", "日本語", " 🎉")),
    chunk("text-stream", {}, "stop"),
]
TOOL_CHUNKS: Final = [
    chunk("tool-stream", {"role": "assistant", "content": None, "tool_calls": [
        {"index": 0, **TOOL_CALL, "function": {"name": "get_weather", "arguments": ""}}]}),
    *(chunk("tool-stream", {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
      for part in ('{"ci', 'ty":"Z', 'ürich"}')),
    chunk("tool-stream", {}, "tool_calls"),
]  # fmt: skip

RESPONSE: Final[dict[str, Any]] = {
    "id": "resp_1", "object": "response", "created_at": 1741569952, "status": "completed", "error": None,
    "incomplete_details": None, "instructions": None, "max_output_tokens": None, "model": "responses",
    "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}],
    "parallel_tool_calls": True, "previous_response_id": None, "temperature": 1.0, "tool_choice": "auto", "tools": [],
    "top_p": 1.0, "truncation": "disabled", "metadata": {},
    "usage": {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 6}, "output_tokens": 87,
              "output_tokens_details": {"reasoning_tokens": 80}, "total_tokens": 123},
}  # fmt: skip


def _typed(values: list[dict[str, Any]]) -> bytes:
    """Server-sent events with an `event:` line, as Responses and Messages streams have them."""
    import json

    return "".join(f"event: {value['type']}\ndata: {json.dumps(value)}\n\n" for value in values).encode()


SSE: Final = (("content-type", "text/event-stream; charset=utf-8"),)
RESPONSE_EVENTS: Final = _typed([
    {"type": "response.created", "sequence_number": 0,
     "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}},
    {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_1", "output_index": 0,
     "content_index": 0, "delta": "Hel", "logprobs": []},
    {"type": "response.output_text.delta", "sequence_number": 2, "item_id": "msg_1", "output_index": 0,
     "content_index": 0, "delta": "lo", "logprobs": []},
    {"type": "response.completed", "sequence_number": 3, "response": RESPONSE},
])  # fmt: skip

MESSAGE: Final[dict[str, Any]] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "Bonjour"}],
    "usage": {"input_tokens": 21, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 400,
              "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
              "output_tokens": 33, "service_tier": "standard"},
}  # fmt: skip
MESSAGE_EVENTS: Final = _typed([
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None,
                                          "usage": {**MESSAGE["usage"], "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Bon"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "jour"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
     "usage": {"output_tokens": 33}},
    {"type": "message_stop"},
])  # fmt: skip


def generated(text: str, finish: str | None, usage: dict[str, int] | None) -> dict[str, Any]:
    """A Gemini answer, or one part of a streamed one."""
    return {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0,
                        **({"finishReason": finish} if finish else {})}],
        **({"usageMetadata": usage} if usage else {}), "modelVersion": "gemini-2.5-flash", "responseId": "r1",
    }  # fmt: skip


GEMINI_USAGE: Final = {
    "promptTokenCount": 50, "cachedContentTokenCount": 20, "candidatesTokenCount": 9, "thoughtsTokenCount": 31,
    "totalTokenCount": 90,
}  # fmt: skip

OPENAI_CASES: Final[tuple[Case, ...]] = (
    answer("text", completion("text", {"content": "Guten Tag — 日本語 🎉"})),
    answer("tool", completion("tool", {"content": None, "tool_calls": [TOOL_CALL]}, "tool_calls")),
    *streams("text-stream", TEXT_CHUNKS),
    *streams("tool-stream", TOOL_CHUNKS),
    *streams("bytewise-stream", TEXT_CHUNKS, pieces=1),
    answer("embedding", {
        "object": "list", "model": "embedding", "usage": {"prompt_tokens": 8, "total_tokens": 8},
        "data": [{"object": "embedding", "index": n, "embedding": [0.25, -1.5e-3, float(n)]} for n in range(2)],
    }),
    answer("transcription", {"text": "The sun rises in the east.",
                             "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
                                       "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}}),
    Case("speech", bytes(range(256)) * 400, headers=(("content-type", "audio/mpeg"),), framing="chunked", pieces=4096),
    answer("image", {"created": 1713833628, "data": [{"b64_json": "aGVsbG8="}],
                     "usage": {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210,
                               "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}}),
    answer("responses", RESPONSE),
    Case("responses-stream", RESPONSE_EVENTS, headers=SSE, framing="chunked", pieces="event"),
    answer("moderation", {"id": "modr-1", "model": "moderation",
                          "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}),
    answer("bad-request", {"error": {"message": "temperature is too hot", "type": "invalid_request_error",
                                     "param": "temperature", "code": "too_hot"}}, status=400),
)  # fmt: skip
ANTHROPIC_CASES: Final[tuple[Case, ...]] = (
    answer("claude", MESSAGE),
    Case("claude-stream", MESSAGE_EVENTS, headers=SSE, framing="chunked", pieces="event"),
    answer("claude-overlong", {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"},
                               "request_id": "req_1"}, status=400),
)  # fmt: skip
GEMINI_CASES: Final[tuple[Case, ...]] = (
    answer("gemini", generated("Ciao", "STOP", GEMINI_USAGE)),
    events("gemini-stream", [
        generated("Ci", None, {"promptTokenCount": 50, "totalTokenCount": 50}), generated("ao", "STOP", GEMINI_USAGE),
    ], done=False),
    answer("gemini-embed", {"embeddings": [{"values": [0.1, 0.2]}]}),
)  # fmt: skip


def models(cases: tuple[Case, ...]) -> list[str]:
    """The models that these cases are answers of."""
    return [case.name for case in cases if not case.name.endswith("+usage")]
