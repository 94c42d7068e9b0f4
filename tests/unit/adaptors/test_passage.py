"""Claude's stream out of InvokeModel's frames, over the recordings and piece by piece."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.converse.invoke import wrapped
from burncloud.adaptors.passage import INVOKE, Passage


def event(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def test_content_is_known_when_it_comes() -> None:
    """Openings and pings are none (the commit point), text is; the end is the stream's own."""
    passage = Passage()
    start = event("message_start", message={"usage": {"input_tokens": 1, "output_tokens": 1}})
    assert passage.strip(wrapped([start])) == b"event: message_start\ndata: " + start + b"\n\n"
    passage.strip(wrapped([event("ping")]))
    assert not passage.content
    passage.strip(wrapped([event("content_block_delta", index=0, delta={"type": "text_delta", "text": "H"})]))
    assert passage.content
    assert not passage.ended
    assert b'"type":"error"' in passage.cut("It broke")
    passage.strip(wrapped([event("message_stop")]))
    assert passage.ended
    assert passage.cut("It broke") == passage.finish() == b""


def test_bytes_that_are_no_frames_say_nothing() -> None:
    assert Passage().strip(b"event: message_start\ndata: {}\n\n") == b""


def test_whole_answers_and_errors() -> None:
    passage = Passage()
    assert passage.whole(b' {"a": 1}') == b' {"a": 1}'
    own = b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'
    assert passage.failed(529, own) == own
    said = json.loads(passage.failed(403, b'{"Message":"not authorized to perform: bedrock:InvokeModel"}'))
    assert said["error"]["type"] == "permission_error"
    with pytest.raises(Unreadable):
        passage.collected()


def test_the_row_is_metered_as_frames() -> None:
    assert (INVOKE.family, INVOKE.endpoint) == ("bedrock", "invoke")
    assert INVOKE.name == "messages"
