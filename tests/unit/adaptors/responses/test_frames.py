"""The bytes of events."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.responses import frames


def test_an_event() -> None:
    assert frames.event("x", 5, {"a": "b"}) == b'event: x\ndata: {"type":"x","sequence_number":5,"a":"b"}\n\n'


def test_a_delta_is_an_event() -> None:
    place = {"item_id": "i", "output_index": 0, "content_index": 1}
    built = frames.delta_head("x.delta") + b"5" + frames.delta_middle(place) + frames.string('"\n') + frames.TEXT_END
    assert built == frames.event("x.delta", 5, {**place, "delta": '"\n', "logprobs": []})
    assert json.loads(built.partition(b"data: ")[2])["delta"] == '"\n'


def test_what_cannot_be_written() -> None:
    with pytest.raises(canon.Unreadable):
        frames.event("x", 0, {"text": "\ud800"})
