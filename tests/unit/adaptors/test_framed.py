"""Readings of event streams."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from burncloud.adaptors.eventstream import write_frame
from burncloud.adaptors.framed import FrameMeter
from burncloud.adaptors.meter import read_plain
from burncloud.adaptors.reading import Reading
from burncloud.domain.usage import Usage


def frame(kind: str, **value: Any) -> bytes:
    return write_frame({":event-type": kind, ":message-type": "event"}, json.dumps(value).encode())


def chunk(**event: Any) -> bytes:
    return frame("chunk", bytes=base64.b64encode(json.dumps(event).encode()).decode(), p="abc")


CONVERSE = [
    frame("messageStart", role="assistant"),
    frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "x" * 40}),
    frame("messageStop", stopReason="end_turn"),
    frame("metadata", usage={"inputTokens": 3, "outputTokens": 2}),
]
INVOKE = [
    chunk(type="message_start", message={"usage": {"input_tokens": 3, "output_tokens": 1}}),
    chunk(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "x" * 40}),
    chunk(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
    chunk(type="message_stop"),
]
FAILED = write_frame({":message-type": "exception", ":exception-type": "throttlingException"}, b"{}")


def read(endpoint: str, data: bytes, size: int = 1 << 20) -> Reading:
    meter = FrameMeter(endpoint)
    for start in range(0, len(data), size):
        meter.feed(data[start : start + size])
    return meter.finish()


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(("endpoint", "frames"), [("converse", CONVERSE), ("invoke", INVOKE)])
def test_whole(endpoint: str, frames: list[bytes], size: int) -> None:
    assert read(endpoint, b"".join(frames), size) == Reading(Usage(3, 2), True, "end_turn", False, 0)


@pytest.mark.parametrize(("endpoint", "frames"), [("converse", CONVERSE), ("invoke", INVOKE)])
def test_cut_off(endpoint: str, frames: list[bytes]) -> None:
    reading = read(endpoint, b"".join(frames[:2]) + frames[2][:-1])
    assert (reading.complete, reading.finish, reading.error) == (False, "", False)
    assert reading.output_estimate_tokens > 5


def test_failed() -> None:
    assert read("converse", CONVERSE[0] + FAILED).error
    assert read("converse", CONVERSE[0] + b"no frame at all" + CONVERSE[3]) == Reading(None, False, "", False, 0)
    assert read("invoke", frame("chunk", bytes=1) + INVOKE[0]).usage is None


def test_plain() -> None:
    body = json.dumps({"stopReason": "end_turn", "usage": {"inputTokens": 3, "outputTokens": 2}}).encode()
    assert read_plain("bedrock", "converse", body) == Reading(Usage(3, 2), True, "end_turn", False, 0)
    body = json.dumps(
        {"type": "message", "stop_reason": "x", "usage": {"input_tokens": 3, "output_tokens": 2}}
    ).encode()
    assert read_plain("bedrock", "invoke", body) == Reading(Usage(3, 2), True, "x", False, 0)
