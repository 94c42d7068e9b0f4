"""The meter over every recording of a dialect of ours: usage to the token, however the bytes are cut."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from burncloud.adaptors.meter import Meter, Reading
from burncloud.domain.usage import Usage
from tests.wire.recordings import ABSENT, Recording, index, recordings

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

EXCEPTIONS: dict[str, str] = {}
"""File → why its numbers are not those of the index."""


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
    return {
        "input": usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h
        + usage.audio_input + usage.image_input,
        "output": usage.output + usage.reasoning + usage.audio_output + usage.image_output,
        "cached": usage.cache_read,
        "cache_write": usage.cache_write + usage.cache_write_1h,
        "reasoning": usage.reasoning,
    }  # fmt: skip


def expected(recording: Recording) -> dict[str, int] | None:
    """The index's numbers by the conventions of the corpus' README."""
    stated: dict[str, Any] | None = recording.row["usage"]
    if stated is None:
        return None
    if "search_units" in stated:
        return dict.fromkeys(("input", "output", "cached", "cache_write", "reasoning"), 0)
    if stated.keys() == {"total"}:
        stated = {"input": stated["total"]}
    number = {name: stated.get(name) or 0 for name in ("input", "output", "cached", "cache_write", "reasoning")}
    beside = 0
    if recording.dialect == "anthropic":
        number["input"] += number["cached"] + number["cache_write"]
    elif recording.dialect == "gemini":
        beside = number["reasoning"]
        if "total" in stated:  # what tools put into the prompt is in the total alone
            number["input"] = stated["total"] - number["output"] - number["reasoning"]
    elif (recording.row["provider"], recording.endpoint) == XAI_CHAT or number["reasoning"] > number["output"]:
        beside = number["reasoning"]
    number["output"] += beside
    return number


def test_usage_is_read_to_the_token() -> None:
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    for recording in recordings():
        if recording.name in EXCEPTIONS:
            continue
        want = expected(recording)
        for size in (len(recording.content) or 1, 7, 1):
            if size == 1 and len(recording.content) > 50_000:
                continue
            reading = read(recording, size)
            got = None if reading.usage is None else sides(reading.usage)
            if got != want:
                wrong.append(f"{recording.name} in pieces of {size}: {got} instead of {want}")
                break
        counts[f"{recording.dialect} {recording.endpoint} {'stream' if recording.sse else 'plain'}"] += 1
    print(*(f"{count:5} {name}" for name, count in sorted(counts.items())), sep="\n")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)
    assert sum(counts.values()) > 500
