"""The commit point and the usage stripper over every recorded stream."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors import events
from burncloud.adaptors.commit import UsageStripper, first_content
from tests.wire.recordings import ABSENT, Recording, index, recordings
from tests.wire.test_usage import CUT

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

HELD_BYTES_MAX = 16 << 10
WORDLESS = {"openrouter/chat.completions/req_llm--openrouter-minimax_minimax_m1-object_streaming--1.stream.json"}
"""A role, then [DONE]: no word, no call, no finish_reason. That is no answer, and another channel is asked."""


def commit_point(recording: Recording) -> tuple[int, str]:
    """After how many bytes, event by event, there was a verdict, and which."""
    content, pos = recording.content, 0
    while True:
        end = events.event_end(content, pos)
        if end < 0:
            return len(content), "wait"
        pos = end
        verdict = first_content(content[:pos], recording.dialect, recording.endpoint)
        if verdict != "wait":
            return pos, verdict


def test_every_stream_commits_before_its_end_or_fails_before_it() -> None:
    errors, held = [], 0
    for recording in recordings():
        if not recording.sse or recording.row["status"] != 200 or recording.name in CUT:
            continue
        after, verdict = commit_point(recording)
        assert verdict != "wait", recording.name
        if verdict == "error":
            errors.append(recording.name)
            assert "error-in-stream" in recording.tags or recording.name in WORDLESS, recording.name
        held += after > HELD_BYTES_MAX
    assert errors, "some recorded streams fail before their first word"
    assert set(errors) >= WORDLESS
    assert held < 10, "the head of a stream is seldom longer than what may be held"


def is_usage_chunk(payload: bytes) -> bool:
    """By an independent reader."""
    try:
        chunk = json.loads(payload)
    except ValueError:
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_stripper_takes_the_usage_chunk_alone(size: int) -> None:
    taken = 0
    for recording in recordings():
        if not recording.sse or recording.endpoint not in ("chat.completions", "completions"):
            continue
        content = recording.content
        if size == 1 and len(content) > 20_000:
            continue
        stripper = UsageStripper()
        kept = (
            b"".join(stripper.strip(content[at : at + size]) for at in range(0, len(content), size)) + stripper.finish()
        )
        before, after = events.payloads(events.unify(content)), events.payloads(events.unify(kept))
        gone = [payload for payload in before if is_usage_chunk(payload)]
        assert after == [payload for payload in before if not is_usage_chunk(payload)], recording.name
        taken += len(gone)
        if not gone:
            assert kept == content, recording.name
    assert taken > 50
