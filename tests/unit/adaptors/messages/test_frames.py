"""The bytes of events are those that a JSON encoder would make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.messages import frames


def parsed(data: bytes) -> dict[str, Any]:
    """The event's data, after a look at its frame."""
    name, line, *rest = data.decode().split("\n")
    assert rest == ["", ""]
    value: dict[str, Any] = json.loads(line.removeprefix("data: "))
    assert name == f"event: {value['type']}"
    return value


@given(st.integers(0, 1000), st.text(st.characters(exclude_categories=["Cs"])))
def test_deltas(index: int, text: str) -> None:
    for kind, (name, member) in {
        frames.TEXT: ("text_delta", "text"),
        frames.THINKING: ("thinking_delta", "thinking"),
        frames.INPUT: ("input_json_delta", "partial_json"),
        frames.SIGNATURE: ("signature_delta", "signature"),
    }.items():
        want = {"type": "content_block_delta", "index": index, "delta": {"type": name, member: text}}
        assert parsed(frames.delta(index, kind, text)) == want
        assert frames.delta_prefix(index, kind) + frames.string(text) + frames.DELTA_END == frames.delta(
            index, kind, text
        )


def test_the_others() -> None:
    assert parsed(frames.PING) == {"type": "ping"}
    assert parsed(frames.MESSAGE_STOP) == {"type": "message_stop"}
    assert parsed(frames.block_stop(3)) == {"type": "content_block_stop", "index": 3}
    block = {"type": "text", "text": ""}
    assert parsed(frames.block_start(3, block)) == {"type": "content_block_start", "index": 3, "content_block": block}
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Unreadable):
        frames.event("x", {"deep": deep})
