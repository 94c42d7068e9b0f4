"""What a session used, read off its events (shapes: OpenAI API reference, "Realtime server events")."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors.openai_realtime import TRANSCRIBED, RealtimeMeter
from burncloud.adaptors.reading import TOKENS_MAX
from burncloud.domain.usage import Usage

DONE: dict[str, Any] = {
    "type": "response.done", "event_id": "event_1", "response": {
        "id": "resp_1", "object": "realtime.response", "status": "completed", "output": [],
        "usage": {
            "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 70, "audio_tokens": 50, "image_tokens": 12, "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 44, "audio_tokens": 20, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
    },
}  # fmt: skip


def read(*events: object) -> Usage:
    """The sum of these events."""
    meter = RealtimeMeter()
    for event in events:
        meter.feed(event if isinstance(event, bytes) else msgspec.json.encode(event))
    reading = meter.reading()
    assert reading.usage is not None
    assert reading.complete
    return reading.usage


def test_kinds_are_disjoint() -> None:
    """Cached tokens are taken from the kind that they are of; nothing is counted twice."""
    usage = read(DONE)
    assert usage == Usage(input=26, output=30, cache_read=64, audio_input=30, audio_output=91, image_input=12)
    assert usage.total() == 253


def test_answers_add_up() -> None:
    """A session is many answers."""
    assert read(DONE, DONE).total() == 2 * 253


def test_cached_tokens_without_their_kinds() -> None:
    """They are text first."""
    details = {"text_tokens": 6, "audio_tokens": 4, "cached_tokens": 5}
    event = {"type": "response.done", "response": {"usage": {
        "input_tokens": 10, "output_tokens": 1, "total_tokens": 11, "input_token_details": details}}}  # fmt: skip
    assert read(event) == Usage(input=1, output=1, cache_read=5, audio_input=4)


def test_the_responses_api_s_spelling() -> None:
    """Others who speak this API write `…_tokens_details`."""
    usage = {
        "input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
        "input_tokens_details": {"audio_tokens": 8}, "output_tokens_details": {"audio_tokens": 4},
    }  # fmt: skip
    event = {"type": "response.done", "response": {"usage": usage}}
    assert read(event) == Usage(input=2, output=1, audio_input=8, audio_output=4)


def test_transcripts() -> None:
    """Tokens count; seconds are no tokens."""
    usage = {"type": "tokens", "total_tokens": 22, "input_tokens": 13, "output_tokens": 9,
             "input_token_details": {"text_tokens": 0, "audio_tokens": 13}}  # fmt: skip
    event = {"type": TRANSCRIBED, "item_id": "i", "transcript": "Hey", "usage": usage}
    assert read(event) == Usage(output=9, audio_input=13)
    assert read(event | {"usage": {"type": "duration", "seconds": 3}}) == Usage()


@pytest.mark.parametrize("event", [
    {"type": "response.created", "response": DONE["response"]},
    {"type": "response.output_text.delta", "delta": '"usage"'},
    {"type": "response.done", "response": {"usage": None}},
    {"type": "response.done", "response": None},
    {"type": "response.done", "response": {"usage": {"total_tokens": 3}}},
    {"type": 3, "usage": DONE["response"]["usage"]},
    b'{"usage"', b"\xff\xfe", b"[]", b'"usage"',
])  # fmt: skip
def test_nothing_else_counts(event: object) -> None:
    """Nor does it harm."""
    assert read(event) == Usage()


def test_types_of_its_own() -> None:
    """A field of another type is left out, the others count."""
    event = {"type": "response.done", "response": {"id": 3, "usage": {
        "input_tokens": 4.0, "output_tokens": 2, "input_token_details": "none"}}}  # fmt: skip
    assert read(event) == Usage(input=4, output=2)


def test_a_sum_is_never_changed_in_place() -> None:
    """Records of the journal hold it."""
    meter = RealtimeMeter()
    first = meter.usage
    assert meter.feed(msgspec.json.encode(DONE))
    assert first == Usage()
    assert not meter.feed(b"{}")


@given(st.integers(), st.integers(), st.integers(), st.integers(), st.integers())
def test_any_numbers(total: int, told: int, cached: int, audio: int, cached_audio: int) -> None:
    """No count is negative, and no sum leaves its bounds."""
    details = {"cached_tokens": cached, "audio_tokens": audio, "cached_tokens_details": {"audio_tokens": cached_audio}}
    usage = {"input_tokens": told, "output_tokens": told, "total_tokens": total, "input_token_details": details}
    found = read(*[{"type": "response.done", "response": {"usage": usage}}] * 3)
    assert all(0 <= count <= TOKENS_MAX for count in msgspec.structs.astuple(found))
