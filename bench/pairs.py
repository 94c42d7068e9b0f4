"""What a translated plain exchange costs, by pair of dialects: request and answer, in memory, without a network.

    python bench/run.py pairs [--only messages,…] [--rounds 9]

µs of CPU, the least of the rounds: reading and writing the request, reading and writing the answer.  The exchange is
a small one, a question and a sentence; `tools` has a system prompt, two tools, a call and its result.
"""

from __future__ import annotations

import argparse
import time
import timeit
from collections.abc import Callable, Sequence
from typing import Any

from bench.bodies import packed
from burncloud.adaptors import canon
from burncloud.adaptors.spoken import SPOKEN
from burncloud.adaptors.translation import Job, Translation, work

MODEL = "claude-or-gpt"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "Where"}}, "required": ["city"]}
QUESTION = "The quick brown fox jumps over the lazy dog. " * 3
SAID = "Hello! How can I assist you today?"
CALLED = '{"city":"Paris"}'
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {
        "model": MODEL, "max_tokens": 64, "temperature": 0.7, "messages": [{"role": "user", "content": QUESTION}],
    },
    "messages": {
        "model": MODEL, "max_tokens": 64, "temperature": 0.7, "messages": [{"role": "user", "content": QUESTION}],
    },
    "responses": {"model": MODEL, "max_output_tokens": 64, "temperature": 0.7, "input": QUESTION},
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": QUESTION}]}],
        "generationConfig": {"maxOutputTokens": 64, "temperature": 0.7},
    },
}  # fmt: skip
TOOLS: dict[str, dict[str, Any]] = {
    "chat": REQUESTS["chat"] | {
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": CALLED}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
        ],
        "tools": [
            {"type": "function", "function": {"name": name, "description": "Says it", "parameters": SCHEMA}}
            for name in ("weather", "time")
        ],
    },
    "messages": REQUESTS["messages"] | {
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Sunny"}]},
        ],
        "tools": [{"name": name, "description": "Says it", "input_schema": SCHEMA} for name in ("weather", "time")],
    },
    "responses": REQUESTS["responses"] | {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": QUESTION},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": CALLED},
            {"type": "function_call_output", "call_id": "call_1", "output": "Sunny"},
        ],
        "tools": [
            {"type": "function", "name": name, "description": "Says it", "parameters": SCHEMA, "strict": False}
            for name in ("weather", "time")
        ],
    },
    "gemini": REQUESTS["gemini"] | {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": QUESTION}]},
            {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Paris"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "Sunny"}}}]},
        ],
        "tools": [{"functionDeclarations": [
            {"name": name, "description": "Says it", "parameters": SCHEMA} for name in ("weather", "time")
        ]}],
    },
}  # fmt: skip
ANSWERS: dict[str, dict[str, Any]] = {
    "chat": {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1741569952,
        "model": "gpt-4.1-2025-04-14",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": SAID, "refusal": None, "annotations": []},
            "logprobs": None, "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
    },
    "messages": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {
            "input_tokens": 19, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 10,
            "service_tier": "standard",
        },
    },
    "responses": {
        "id": "resp_1", "object": "response", "created_at": 1741569952, "status": "completed", "model": "gpt-4.1",
        "error": None, "incomplete_details": None, "parallel_tool_calls": True, "tools": [], "tool_choice": "auto",
        "output": [{
            "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": SAID, "annotations": [], "logprobs": []}],
        }],
        "usage": {
            "input_tokens": 19, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 29,
        },
    },
    "gemini": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": SAID}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 19, "candidatesTokenCount": 10, "totalTokenCount": 29},
        "modelVersion": "gemini-2.5-flash", "responseId": "r1",
    },
    "converse": {
        "output": {"message": {"role": "assistant", "content": [{"text": SAID}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 19, "outputTokens": 10, "totalTokens": 29}, "metrics": {"latencyMs": 500},
    },
}  # fmt: skip


def least_us(call: Callable[[], object], rounds: int) -> float:
    """µs of CPU of one call."""
    return min(timeit.repeat(call, timer=time.process_time, number=500, repeat=rounds)) * 2000


def parts(client: str, upstream: str, tools: bool, rounds: int) -> list[float]:
    """µs of reading and writing the request, reading and writing the answer."""
    theirs, ours = SPOKEN[client], SPOKEN[upstream]
    body, answer = packed((TOOLS if tools else REQUESTS)[client]), packed(ANSWERS[upstream])
    job = Job(client, upstream, MODEL, "other", False)
    content, done = work(job, body)
    assert content
    told = ours.read_answer(answer, done.asked)

    def write_request() -> bytes:
        return ours.write_request(done.asked.request, canon.Losses())

    def write_answer() -> bytes:
        return theirs.write_answer(told, done.asked, canon.Losses())

    def whole() -> bytes:
        _, read = work(job, body)
        return Translation(theirs, ours, read.asked, canon.Losses(read.losses)).whole(answer)

    calls: tuple[Callable[[], object], ...] = (
        lambda: theirs.read_request(body, model=MODEL, stream=False), write_request,
        lambda: ours.read_answer(answer, done.asked), write_answer, whole,
    )  # fmt: skip
    return [least_us(call, rounds) for call in calls]


def main(words: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench/run.py pairs", description="A translated plain exchange, by pair.")
    parser.add_argument("--only", default="", help="clients' dialects, comma between")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(words)
    print("| µs of CPU             |         | read request | write it | read answer | write it |   all |")
    print("|-----------------------|---------|--------------|----------|-------------|----------|-------|")
    for tools in (False, True):
        for client in REQUESTS:
            if options.only and client not in options.only.split(","):
                continue
            for upstream in ANSWERS:
                if client == upstream:
                    continue
                a, b, c, d, whole = parts(client, upstream, tools, options.rounds)
                kind = "tools" if tools else "small"
                pair = f"{client} → {upstream}"
                print(f"| {pair:<21} | {kind:<7} | {a:12.1f} | {b:8.1f} | {c:11.1f} | {d:8.1f} | {whole:5.1f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
