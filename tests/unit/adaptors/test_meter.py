"""The meter over long and odd answers: bounded memory, the same numbers, fair estimates."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from typing import Any

import pytest

from burncloud.adaptors.meter import EVENT_BYTES_MAX, HOLD_BYTES, PLAIN_BYTES_MAX, Meter, billable, squeezed
from burncloud.adaptors.reading import Reading
from burncloud.domain.usage import Usage

WORDS = ["the", "quick", "brown", 'fox said \\"jump\\"', "over", "é", "你好", "and", "ran", "away"]


def chat_events(count: int, usage_in_each: bool = False) -> list[bytes]:
    """Chunks as OpenAI sends them with include_usage."""
    events = []
    for n in range(count):
        usage = json.dumps({"prompt_tokens": 9, "completion_tokens": n + 1}) if usage_in_each else "null"
        word = WORDS[n % len(WORDS)]
        events.append(
            f'data: {{"id":"c-A","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,'
            f'"delta":{{"content":" {word}"}},"logprobs":null,"finish_reason":null}}],"usage":{usage}}}\n\n'.encode()
        )
    return events


FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1000,"total_tokens":1009}}\n\n'
DONE = b"data: [DONE]\n\n"


def read(
    data: bytes,
    size: int,
    dialect: str = "openai",
    endpoint: str = "chat.completions",
    sse: bool = True,
    encoding: str = "",
) -> Reading:
    meter = Meter(dialect, endpoint, sse, encoding)
    for start in range(0, len(data), size):
        meter.feed(data[start : start + size])
        assert meter._held <= EVENT_BYTES_MAX + size
    return meter.finish()


@pytest.mark.parametrize("size", [11, 300, 5000, 10_000_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_long_stream(size: int, end: bytes) -> None:
    data = b"".join([*chat_events(1000), FINISH, USAGE, DONE]).replace(b"\n", end)
    assert read(data, size) == Reading(Usage(9, 1000), True, "stop", False, 0)


def test_what_is_held_of_a_stream_is_bounded() -> None:
    meter = Meter("openai", "chat.completions", True)
    for event in chat_events(3000):
        meter.feed(event)
        assert meter._held <= HOLD_BYTES


@pytest.mark.parametrize("size", [60, 300, 333, 1000, 20_000])
def test_the_estimate_of_a_long_cut_stream_is_fair(size: int) -> None:
    events = chat_events(2000)
    said = sum(len(json.loads(event[6:])["choices"][0]["delta"]["content"].encode()) for event in events)
    reading = read(b"".join(events), size)
    assert (reading.usage, reading.complete) == (None, False)
    assert reading.output_estimate_tokens == pytest.approx(said / 4, rel=0.1)


@pytest.mark.parametrize("size", [300, 20_000])
def test_usage_that_stands_in_what_was_dropped_is_kept(size: int) -> None:
    totals = chat_events(500, usage_in_each=True)
    assert read(b"".join([*totals, *chat_events(500)]), size).usage == Usage(9, 500)


def test_an_end_far_before_the_last_byte() -> None:
    tail = b'data: {"choices":[],"citations":["%b"],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n' % (
        b"x" * 40_000
    )
    assert read(b"".join([*chat_events(200), FINISH, tail]), 777) == Reading(Usage(1, 2), True, "stop", False, 0)


@pytest.mark.parametrize("size", [100, 777, 3100])
def test_a_short_end_before_a_long_event(size: int) -> None:
    long = b'data: {"choices":[],"padding":"%b"}\n\n' % (b"x" * 2500)
    assert read(b"".join([*chat_events(200), FINISH, long, USAGE]), size) == Reading(
        Usage(9, 1000), True, "stop", False, 0
    )


def test_an_end_and_a_long_usage_before_a_longer_event() -> None:
    """As OpenAI's moderation comes behind the usage (recorded: test_openai_moderation_stream)."""
    finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"obfuscation":"%b"}\n\n' % (b"x" * 200)
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5},"padding":"%b"}\n\n' % (b"x" * 400)
    long = b'data: {"choices":[],"moderation":"%b"}\n\n' % (b"x" * 2850)
    said = b"".join([*chat_events(5), finish, usage, long, b"data: [DONE]\n\n"])
    assert read(said, 1000) == Reading(Usage(9, 5), True, "stop", False, 0)


def test_long_events_are_not_kept() -> None:
    """Thousands of streams are open at once: of one that speaks in long events, what is held is little, too."""
    meter, held = Meter("openai", "chat.completions", True), 0
    for _ in range(200):
        meter.feed(b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"tokens " * 134))
        held += meter._held
    assert held / 200 < HOLD_BYTES


def anthropic(count: int) -> bytes:
    events: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 27, "output_tokens": 1, "cache_read_input_tokens": 5}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    events += [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "four "}} for _ in range(count)]
    return b": first\n\n" + b"".join(
        b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events
    )


@pytest.mark.parametrize("size", [1, 100, 10_000_000])
def test_the_head_of_a_long_stream_counts(size: int) -> None:
    end = (
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
        b'"usage":{"output_tokens":800}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    reading = read(anthropic(800) + end, size, "anthropic", "messages")
    assert reading == Reading(Usage(27, 800, 5), True, "end_turn", False, 0)


def test_a_cut_stream_is_billed_for_what_was_delivered() -> None:
    reading = read(anthropic(800), 500, "anthropic", "messages")
    assert reading.usage == Usage(27, 1, 5)
    assert not reading.complete
    usage, estimated = billable(reading, 9999)
    assert estimated
    assert usage.input == 27
    assert usage.output == pytest.approx(1000, rel=0.05)
    assert reading.usage == Usage(27, 1, 5), "the reading itself is left alone"


def test_billable() -> None:
    assert billable(Reading(Usage(5, 6), True, "stop", False, 0), 77) == (Usage(5, 6), False)
    assert billable(Reading(None, True, "stop", False, 12), 77) == (Usage(77, 12), True)
    assert billable(Reading(Usage(5, 60, reasoning=40), False, "", False, 90), 77) == (
        Usage(5, 60, reasoning=40),
        False,
    )
    assert billable(Reading(Usage(5, 60, reasoning=40), False, "", False, 110), 7) == (Usage(5, 70, reasoning=40), True)


@pytest.mark.parametrize("size", [1000, 65536, 100_000_000])
def test_a_huge_event(size: int) -> None:
    image = "A" * (EVENT_BYTES_MAX + 1_000_000)
    for text, want in (
        ("x" * 100_000, "completed"),
        (image, "completed"),
    ):
        response = {
            "status": "completed",
            "output": [{"type": "image_generation_call", "result": text}],
            "usage": {"input_tokens": 14, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 8},
            "user": None,
        }
        event = json.dumps({"type": "response.completed", "response": response}).encode()
        data = (
            b'event: response.created\ndata: {"type":"response.created"}\n\nevent: response.completed\ndata: %b\n\n'
            % event
        )
        assert read(data, size, endpoint="responses") == Reading(Usage(10, 8, 4), True, want, False, 0)
        assert read(data + b": bye\n\n", size, endpoint="responses").usage == Usage(10, 8, 4)


@pytest.mark.parametrize("size", [999, 65536, 100_000_000])
def test_a_large_plain_answer(size: int) -> None:
    said = 'text with "usage": {"prompt_tokens": 1} in it, ' * 20_000
    answer = {
        "choices": [{"message": {"content": said}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 300_000},
        "x": {"usage": {"prompt_tokens": 5}},
    }
    data = json.dumps(answer).encode()
    assert len(data) > PLAIN_BYTES_MAX
    reading = read(data, size, sse=False)
    assert (reading.usage, reading.complete, reading.error) == (Usage(9, 300_000), True, False)
    cut = read(data[:-400], size, sse=False)
    assert not cut.complete
    assert cut.output_estimate_tokens > 200_000
    embeddings = b'{"data":[{"embedding":[%b]}],"usage":{"prompt_tokens":8,"total_tokens":8}}' % b",".join(
        [b"-0.0123"] * 90_000
    )
    assert read(embeddings, size, endpoint="embeddings", sse=False) == Reading(Usage(8), True, "", False, 0)
    assert read(b"{" + b"x" * 600_000, size, sse=False).usage is None


@pytest.mark.parametrize("size", [500, 65536, 100_000_000])
def test_a_long_json_array(size: int) -> None:
    chunk = {
        "candidates": [{"content": {"parts": [{"text": 'brackets ]}" \\ ' * 20}]}}],
        "usageMetadata": {"promptTokenCount": 3},
    }
    last = {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 70},
    }
    data = ("[" + "\n,\r\n".join([json.dumps(chunk)] * 1500 + [json.dumps(last)]) + "\n]").encode()
    reading = read(data, size, "gemini", "streamGenerateContent", sse=False)
    assert reading == Reading(Usage(3, 70), True, "STOP", False, 0)
    cut = read(data[:-300], size, "gemini", "streamGenerateContent", sse=False)
    assert not cut.complete
    assert cut.output_estimate_tokens > 100_000


@pytest.mark.parametrize("size", [1, 100, 1_000_000])
def test_compressed_answers(size: int) -> None:
    stream = b"".join([*chat_events(100), FINISH, USAGE, DONE])
    assert read(gzip.compress(stream), size, encoding="gzip").usage == Usage(9, 1000)
    assert read(zlib.compress(stream), size, encoding="deflate").complete
    assert read(stream, size, encoding="identity").complete
    unknown = read(b"\x01" * 4000, size, encoding="rot13")
    assert (unknown.usage, unknown.complete, unknown.output_estimate_tokens) == (None, True, 1000)


def test_json_lines() -> None:
    data = b'{"choices":[{"delta":{"content":"a"}}]}\n'
    data += b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n'
    reading = read(data, 9, sse=False)
    assert (reading.usage, reading.complete, reading.finish) == (Usage(1, 2), True, "stop")


def test_what_is_no_json() -> None:
    assert read(b"\xff\xfb\x90\x00" * 2000, 100, endpoint="audio", sse=False) == Reading(None, True, "", False, 0)
    assert read(b"\xff\xfb\x90\x00" * 200_000, 5000, endpoint="audio", sse=False) == Reading(None, True, "", False, 0)
    subtitles = "1\n00:00 --> 00:01\nhé\n".encode()
    assert read(subtitles, 5, endpoint="audio", sse=False).output_estimate_tokens == (len(subtitles) + 3) // 4
    assert read(b"<html>", 3, sse=False).usage is None
    assert read(b"", 1, sse=False) == Reading(None, True, "", False, 0)
    assert read(b"", 1) == Reading(None, False, "", False, 0)


def test_a_plain_answer_without_usage_is_estimated_from_its_text() -> None:
    reading = read(b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}' % (b"x" * 400), 50, sse=False)
    assert (reading.usage, reading.output_estimate_tokens) == (None, 100)


def test_an_error_event_with_odd_data() -> None:
    reading = read(b'data: {"choices":[]}\n\nevent: error\ndata: overloaded\n\n', 5)
    assert (reading.error, reading.complete) == (True, False)


def test_the_middle_of_a_long_string_is_left_out() -> None:
    """Base64 in progress: the rest of the event is as good JSON as it was; text and numbers are left alone."""
    start = b'data: {"parts":[{"inlineData":{"mimeType":"image/png","data":"'
    kept = squeezed(start + b"A" * 2_000_000)
    assert len(kept) < 200_000
    assert json.loads((kept + b'"}}]}')[6:])["parts"][0]["inlineData"]["mimeType"] == "image/png"
    url = squeezed(b'{"url":"data:image/png;base64,' + b"A" * 2_000_000)
    assert json.loads(url + b'"}')["url"].startswith("data:image/png;base64,AAA")
    for other in (b'{"a":"' + b"line\\n" * 100_000, b'{"a":[' + b"0.5," * 100_000, b'{"a":"x"' + b" " * 100_000):
        assert squeezed(other) == other


@pytest.mark.parametrize("size", [1000, 65_536, 10_000_000])
@pytest.mark.parametrize("array", [False, True])
def test_a_huge_image_in_one_event(size: int, array: bool) -> None:
    """All of it is understood, and little is held: Gemini says the end and the usage in the same event."""
    part = {"inlineData": {"mimeType": "image/png", "data": "iVBOR" * 1_200_000}}
    value = {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12},
    }
    event = json.dumps(value).encode()
    data = b"[" + event + b"]" if array else b"data: " + event + b"\n\n"
    meter = Meter("gemini", "generateContent", not array)
    for start in range(0, len(data), size):
        meter.feed(data[start : start + size])
        assert meter._held <= max(size, EVENT_BYTES_MAX) * 2
    reading = meter.finish()
    assert (reading.complete, reading.finish, reading.usage) == (True, "STOP", Usage(5, 7))


def test_the_text_of_a_long_array_is_sampled() -> None:
    """Without usage it is estimated, from a sample of what came at once."""
    dice = random.Random(7)
    items = [{"candidates": [{"content": {"parts": [{"text": "four" * dice.randint(1, 3)}]}}]} for _ in range(3000)]
    truth = sum(len(item["candidates"][0]["content"]["parts"][0]["text"]) for item in items) // 4
    data = json.dumps(items, separators=(",", ":")).encode()
    for size in (500, 65_536, len(data)):
        meter = Meter("gemini", "generateContent", False)
        for start in range(0, len(data), size):
            meter.feed(data[start : start + size])
        assert meter.finish().output_estimate_tokens == pytest.approx(truth, rel=0.15)
