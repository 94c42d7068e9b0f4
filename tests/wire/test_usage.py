"""The meter over every recording of a dialect of ours: usage to the token, however the bytes are cut."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from burncloud.adaptors.meter import Meter
from burncloud.adaptors.reading import Reading
from burncloud.domain.usage import Usage
from tests.wire.recordings import ABSENT, Recording, index, recordings

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

NAMES = ("input", "output", "cached", "cache_write", "reasoning")
COUNTED = "it counts a prompt; nothing was used"
GROK = "Azure's Grok reports more cached than prompt tokens; its total counts the prompt alone: cached is cut to it"
HIDDEN = "Gemini's OpenAI door leaves thoughts out of completion_tokens, but in the total: they are billed as reasoning"
BESIDE = "Mistral counts audio beside prompt_tokens; the total and audio_tokens say so"
AZURE = "azure/chat.completions/ruby_llm--"
EXCEPTIONS: dict[str, tuple[str, dict[str, int] | None]] = {
    "anthropic/count_tokens/": (COUNTED, None),
    AZURE + "chat_function_calling_azure_grok-4-1-fast-non-reasoning_can_use_tools_without_paramete-ce120531--3": (
        GROK, {"input": 347, "output": 18, "cached": 347},
    ),
    AZURE + "chat_streaming_responses_azure_grok-4-1-fast-non-reasoning_": (
        GROK, {"input": 7, "output": 8, "cached": 7},
    ),
    AZURE + "chat_with_schema_with_azure_grok-4-1-fast-non-reasoning_allows_removing_": (
        GROK, {"input": 78, "output": 9, "cached": 78},
    ),
    "gemini/chat.completions/pydantic-ai--test_compatible_api_with_tool_calls_without_id--1": (
        HIDDEN, {"input": 35, "output": 12 + 62, "reasoning": 62},
    ),
    "gemini/chat.completions/pydantic-ai--test_compatible_api_with_tool_calls_without_id--2": (
        HIDDEN, {"input": 66, "output": 6 + 28, "reasoning": 28},
    ),
    "mistral/chat.completions/rig--multimodal_content-blocking_agent_sends_audio--1": (
        BESIDE, {"input": 11 + 375, "output": 15, "cached": 9},
    ),
    "mistral/chat.completions/rig--multimodal_content-streaming_agent_sends_audio--1": (
        BESIDE, {"input": 11 + 375, "output": 15, "cached": 9},
    ),
}  # fmt: skip
"""How a recording's file begins → why its numbers are not simply those of the index, and what they must be."""

FINISHES = {
    "anthropic/completions/openllmetry--test_anthropic_completion_legacy--1.json": "Anthropic's Text Completions",
    "openai/completions/ai-gateway--completion-token-batch--1.json": "two choices; ours is the last one's",
}
"""File → why its finish is not that of the index.  (Vertex's numbers for reasons are not in the index at all.)"""

CUT = {"writer/completions/openllmetry--test_writer_streaming_completions_legacy--1.stream.json": "Writer's own events"}
"""Streams without an error and without an end that this dialect knows."""

XAI_CHAT = ("xai", "chat.completions")


def read(recording: Recording, size: int) -> Reading:
    """The meter's reading with the content cut into pieces of `size` bytes."""
    meter = Meter(recording.dialect, recording.endpoint, recording.sse)
    content = recording.content
    for start in range(0, len(content), size):
        meter.feed(content[start : start + size])
    return meter.finish()


def sides(usage: Usage) -> dict[str, int]:
    """Our kinds added up the way the index has them."""
    read_in = usage.cache_read + usage.cache_write + usage.cache_write_1h + usage.audio_input + usage.image_input
    return {
        "input": usage.input + read_in,
        "output": usage.output + usage.reasoning + usage.audio_output + usage.image_output,
        "cached": usage.cache_read,
        "cache_write": usage.cache_write + usage.cache_write_1h,
        "reasoning": usage.reasoning,
    }


def expected(recording: Recording) -> dict[str, int] | None:
    """The index's numbers by the conventions of the corpus' README."""
    for name, (_, numbers) in EXCEPTIONS.items():
        if recording.name.startswith(name):
            return None if numbers is None else dict.fromkeys(NAMES, 0) | numbers
    stated: dict[str, Any] | None = recording.row["usage"]
    if stated is None:
        return None
    if "search_units" in stated:
        return dict.fromkeys(NAMES, 0)
    if stated.keys() == {"total"}:
        stated = {"input": stated["total"]}
    number = {name: stated.get(name) or 0 for name in NAMES}
    beside = 0
    if recording.dialect == "anthropic":
        number["input"] += number["cached"] + number["cache_write"]
    elif recording.dialect == "gemini":
        beside = number["reasoning"]
        if "total" in stated:  # what tools put into the prompt is in the total alone
            number["input"] = stated["total"] - number["output"] - number["reasoning"]
    elif (recording.row["provider"], recording.endpoint) == XAI_CHAT or number["reasoning"] > number["output"]:
        beside = number["reasoning"]  # the second: Vercel's gateway; the price it states proves it
    number["output"] += beside
    return number


def sizes(recording: Recording) -> tuple[int, ...]:
    """Whole, 7 bytes and, unless that takes too long, 1 byte."""
    whole = len(recording.content) or 1
    return (whole, 7, 1) if whole <= 50_000 else (whole, 7)


def test_usage_is_read_to_the_token() -> None:
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    met: set[str] = set()
    for recording in recordings():
        met.update(name for name in EXCEPTIONS if recording.name.startswith(name))
        want = expected(recording)
        for size in sizes(recording):
            reading = read(recording, size)
            got = None if reading.usage is None else sides(reading.usage)
            if got != want:
                wrong.append(f"{recording.name} in pieces of {size}: {got} instead of {want}")
                break
        counts[f"{recording.dialect} {recording.endpoint} {'stream' if recording.sse else 'plain'}"] += 1
    print(*(f"{count:5} {name}" for name, count in sorted(counts.items())), f"{sum(counts.values()):5}", sep="\n")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)
    assert met == set(EXCEPTIONS), "an exception is not needed any more"
    assert sum(counts.values()) > 900


def test_kinds_add_up_to_the_stated_total() -> None:
    for recording in recordings():
        total = (recording.row["usage"] or {}).get("total")
        usage = read(recording, 4096).usage
        if total and usage is not None and recording.row["provider"] != "vercel-gateway":
            assert usage.total() == total, recording.name


def test_ends_are_seen() -> None:
    for recording in recordings():
        reading = read(recording, 1000)
        finish = recording.row["finish"] or ""
        if recording.name not in FINISHES and not reading.finish.isdigit():
            assert reading.finish == finish, recording.name
        if recording.sse and recording.name not in CUT and not reading.error:
            assert reading.complete, recording.name
        if not recording.sse:
            assert reading.complete, recording.name
        if "error-in-stream" in recording.tags:
            assert reading.error, recording.name


def test_half_a_stream_is_not_complete_and_never_raises() -> None:
    for recording in recordings():
        if recording.sse and recording.row["status"] == 200:
            content = recording.content
            for share in (0.2, 0.5):
                half = recording._replace(content=content[: int(len(content) * share)])
                reading = read(half, 333)
                assert not (reading.complete and reading.usage is None and reading.output_estimate_tokens == 0)
