"""Micro-benchmarks of the adaptors' hot functions against their budgets: python -m bench.adaptors.

Prints the least CPU time of several rounds in µs, with the cost of calling a function at all taken off.
On a machine that does other things as well, only the least means anything.
"""

from __future__ import annotations

import base64
import json
import os
import time
import timeit
from collections.abc import Callable, Iterable
from typing import Any

from burncloud.adaptors.commit import UsageStripper, first_content
from burncloud.adaptors.estimate import prompt_tokens
from burncloud.adaptors.meter import Meter, read_plain
from burncloud.adaptors.peek import Peek, SlicedPeek, force_usage, peek_json, splice

ROUNDS = 9


def compact(value: object) -> bytes:
    """As most SDKs write JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


QUESTION = "What is the capital of France, and how many people lived there in the year 2024?"
SMALL: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant that answers briefly and kindly."},
        {"role": "user", "content": QUESTION},
    ],
    "max_tokens": 256,
    "temperature": 0.7,
}
LARGE = SMALL | {"messages": [{"role": "user", "content": "Lorem ipsum dolor sit amet. " * 3560}]}
CHUNK = compact(
    {
        "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_b8bc95a0ac",
        "choices": [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}],
        "usage": None,
    }
)
EVENT = b"data: " + CHUNK + b"\n\n"
LAST = [
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n',
    (
        b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":60,"total_tokens":69,'
        b'"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":8}}}\n\n'
    ),
    b"data: [DONE]\n\n",
]
ANSWER = compact(
    {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris; about 2.1 million people.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
    }
)


def least_us(call: Callable[[], object], number: int) -> float:
    """Microseconds of one call."""
    empty = min(timeit.repeat(lambda: None, timer=time.process_time, number=number, repeat=ROUNDS))
    return (min(timeit.repeat(call, timer=time.process_time, number=number, repeat=ROUNDS)) - empty) / number * 1e6


def metered(pieces: Iterable[bytes], sse: bool = True) -> Callable[[], object]:
    """A whole answer through a new meter."""
    pieces = list(pieces)

    def run() -> object:
        meter = Meter("openai", "chat.completions", sse)
        feed = meter.feed
        for piece in pieces:
            feed(piece)
        return meter.finish()

    return run


def slices(body: bytes) -> float:
    """Milliseconds of the dearest 256 KiB slice of a large body."""
    worst = 0.0
    for _ in range(3):
        peek, dearest = SlicedPeek("openai"), 0.0
        for start in range(0, len(body), 1 << 18):
            piece = body[start : start + (1 << 18)]
            began = time.process_time()
            peek.feed(piece)
            dearest = max(dearest, time.process_time() - began)
        peek.finish()
        worst = min(worst or dearest, dearest)
    return worst * 1e3


def main() -> None:
    """Print the table."""
    small, large = compact(SMALL), compact(LARGE)
    streamed = compact(SMALL | {"stream": True, "stream_options": {"include_usage": True}})
    spaced = json.dumps(SMALL).encode()
    short, long = [EVENT] * 50, [EVENT] * 2000
    stripper = UsageStripper()
    head = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n' + EVENT
    rows: list[tuple[str, float, str]] = [
        (f"peek {len(small)} B compact", least_us(lambda: peek_json(small, "openai"), 20_000), "1.2"),
        (
            f"peek {len(streamed)} B compact, stream_options",
            least_us(lambda: peek_json(streamed, "openai"), 20_000),
            "",
        ),
        (f"peek {len(spaced)} B with spaces", least_us(lambda: peek_json(spaced, "openai"), 20_000), ""),
        (f"peek {len(large) // 1000} kB compact", least_us(lambda: peek_json(large, "openai"), 1000), "12"),
        ("splice model", least_us(lambda: splice(small, {"model": b'"other"'}), 10_000), ""),
        ("force usage", least_us(lambda: force_usage(small, Peek("m")), 10_000), ""),
        (f"estimate {len(small)} B", least_us(lambda: prompt_tokens(small), 20_000), "few"),
        (f"estimate {len(large) // 1000} kB", least_us(lambda: prompt_tokens(large), 2000), "20"),
        (f"meter, plain {len(ANSWER)} B, whole", least_us(metered([ANSWER], sse=False), 5000), ""),
        (
            f"plain {len(ANSWER)} B, at once",
            least_us(lambda: read_plain("openai", "chat.completions", ANSWER), 5000),
            "",
        ),
        ("meter, stream of 53, each", least_us(metered(short + LAST), 300) / 53, ""),
        ("meter, stream of 2003, each", least_us(metered(long + LAST), 10) / 2003, "0.5"),
        ("strip usage, each", least_us(lambda: stripper.strip(EVENT), 20_000), ""),
        ("commit point, two events", least_us(lambda: first_content(head, "openai", "chat.completions"), 5000), ""),
    ]
    blob = base64.b64encode(os.urandom(6 << 20)).decode()
    turns = [{"role": "user", "content": 'a "quoted" line\n' * 40}, {"role": "assistant", "content": "short"}] * 3000
    bodies = {
        "base64": SMALL | {"messages": blob},
        "many messages": SMALL | {"messages": turns},
        "numbers": SMALL | {"input": list(range(600_000))},
        "tiny objects": SMALL | {"x": [{"a": 1, "b": [1, 2], "c": {"d": "e"}}] * 100_000},
    }
    for name, us, budget in rows:
        print(f"{name:42} {us:9.2f} µs   {('≤ ' + budget) if budget else ''}")
    for name, value in bodies.items():
        body = compact(value)
        print(f"sliced peek, {len(body) / 1e6:.1f} MB {name:14} {slices(body):21.2f} ms a slice at most   ≤ 2")


if __name__ == "__main__":
    main()
