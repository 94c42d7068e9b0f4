"""The commit point (rule 13) and the usage chunk that the client did not ask for."""

from __future__ import annotations

import gzip
import json

import pytest

from burncloud.adaptors.commit import HELD_BYTES_MAX, UsageStripper, first_content


def sse(*objects: object) -> bytes:
    return b"".join(
        b"data: " + (o.encode() if isinstance(o, str) else json.dumps(o).encode()) + b"\n\n" for o in objects
    )


def delta(**fields: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


CHAT = [
    (b"", "wait"),
    (b": OPENROUTER PROCESSING\n\n", "wait"),
    (sse(delta(role="assistant", content="")), "wait"),
    (sse(delta(role="assistant", content=None, refusal=None)), "wait"),
    (sse({"choices": [], "prompt_filter_results": [{}]}), "wait"),
    (sse(delta(role="assistant"))[:-1], "wait"),
    (sse(delta(content="H"))[:-1], "wait"),
    (sse(delta(role="assistant", content=""), delta(content="H")), "content"),
    (sse(delta(reasoning_content="H")), "content"),
    (sse(delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}])), "content"),
    (sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}), "content"),
    (sse("[DONE]"), "error"),
    (sse("not json"), "content"),
    (sse({"error": {"message": "overloaded"}}), "error"),
    (sse(delta(role="assistant"), {"error": "overloaded"}), "error"),
    (b'event: error\ndata: "overloaded"\n\n', "error"),
    (sse({"error": None, **delta(role="assistant")}), "wait"),
    (sse(delta(content="H"), {"error": {"message": "late"}}), "content"),
    (sse(delta(content="H")).replace(b"\n", b"\r\n"), "content"),
]


@pytest.mark.parametrize(("head", "want"), CHAT)
def test_chat(head: bytes, want: str) -> None:
    assert first_content(head, "openai", "chat.completions") == want


START = {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}}
TEXT_START = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}


@pytest.mark.parametrize(
    ("head", "want"),
    [
        (sse(START), "wait"),
        (sse(START, {"type": "ping"}, TEXT_START), "wait"),
        (sse(START, {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f"}}), "content"),
        (sse(START, {"type": "content_block_start", "content_block": {"type": "redacted_thinking"}}), "content"),
        (
            sse(START, TEXT_START, {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}),
            "content",
        ),
        (sse(START, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}), "content"),
        (sse(START, {"type": "error", "error": {"type": "overloaded_error"}}), "error"),
        (sse({"type": "a_new_kind"}), "wait"),
    ],
)
def test_anthropic(head: bytes, want: str) -> None:
    assert first_content(head, "anthropic", "messages") == want


CREATED = {"type": "response.created", "response": {"status": "in_progress", "error": None}}


@pytest.mark.parametrize(
    ("head", "want"),
    [
        (sse(CREATED, {"type": "response.in_progress", "response": {}}), "wait"),
        (sse(CREATED, {"type": "response.output_item.added", "item": {"type": "message"}}), "wait"),
        (sse(CREATED, {"type": "response.output_item.added", "item": {"type": "function_call"}}), "content"),
        (sse(CREATED, {"type": "response.output_text.delta", "delta": "x"}), "content"),
        (sse(CREATED, {"type": "response.web_search_call.in_progress"}), "content"),
        (sse(CREATED, {"type": "response.completed", "response": {"status": "completed"}}), "content"),
        (sse(CREATED, {"type": "response.failed", "response": {"status": "failed", "error": {"code": "x"}}}), "error"),
        (sse({"type": "error", "message": "no"}), "error"),
    ],
)
def test_responses(head: bytes, want: str) -> None:
    assert first_content(head, "openai", "responses") == want


@pytest.mark.parametrize(
    ("head", "want"),
    [
        (sse({"usageMetadata": {"promptTokenCount": 3}}), "wait"),
        (sse({"candidates": [{"content": {"role": "model"}}]}), "wait"),
        (sse({"candidates": [{"content": {"parts": [{"text": "x"}]}}]}), "content"),
        (sse({"candidates": [{"finishReason": "STOP"}]}), "content"),
        (sse({"promptFeedback": {"blockReason": "SAFETY"}}), "content"),
        (sse({"error": {"code": 503}}), "error"),
    ],
)
def test_gemini(head: bytes, want: str) -> None:
    assert first_content(head, "gemini", "streamGenerateContent") == want


def test_encoded() -> None:
    """It is looked into, where we can."""
    role, both = sse(delta(role="assistant")), sse(delta(role="assistant"), delta(content="H"))
    for content, verdict in ((role, "wait"), (both, "content")):
        assert first_content(gzip.compress(content), "openai", "chat.completions", "gzip") == verdict
    assert first_content(role, "openai", "chat.completions", "secret") == "content"


BEFORE = sse(
    {"choices": [], "prompt_filter_results": [{"content_filter_results": {}}]},
    {"choices": [{"delta": {"tool_calls": []}}], "usage": None},
    {"choices": [{"delta": {"content": '"choices":[],"usage":{'}}], "usage": None},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": None},
    {"choices": [], "usage": None},
)
USAGE = sse({"id": "x", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
AFTER = b": bye\n\n" + sse("[DONE]")


def strip(content: bytes, size: int) -> bytes:
    stripper = UsageStripper()
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(stripper.strip(piece) for piece in pieces) + stripper.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 7, 50, 100_000])
@pytest.mark.parametrize(
    "usage", [USAGE, USAGE.replace(b"[]", b"[ ]"), USAGE.replace(b": ", b":"), b": note\n" + USAGE]
)
def test_only_the_usage_chunk_goes(end: bytes, size: int, usage: bytes) -> None:
    before, usage, after = (part.replace(b"\n", end) for part in (BEFORE, usage, AFTER))
    assert strip(before + usage + after, size) == before + after
    assert strip(before + after, size) == before + after
    assert strip(before + usage, size) == before
    assert strip(before + usage.rstrip(b"\r\n"), size) == before, "the last event lacks its blank line"
    assert strip(before + usage[:-40], size) == before + usage[:-40], "a cut chunk is passed on"


def test_usage_in_a_chunk_with_choices_stays() -> None:
    content = sse({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})
    assert strip(content, 10) == content


def test_content_passes_at_once() -> None:
    stripper = UsageStripper()
    chunk = sse(delta(content="Hello"))
    assert stripper.strip(chunk) == chunk
    half = chunk[: chunk.index(b"Hello")]
    assert stripper.strip(half) == half, "an event in progress that has choices is let through"
    assert stripper.strip(chunk[len(half) :]) == chunk[len(half) :]
    assert stripper.strip(b'data: {"id":"x","choi') == b"", "one that may be the usage chunk waits"
    assert stripper.strip(b'ces":[{"delta"') == b'data: {"id":"x","choices":[{"delta"'


def test_holding_is_bounded() -> None:
    stripper = UsageStripper()
    assert stripper.strip(b"data: " + b"x" * HELD_BYTES_MAX) != b""
