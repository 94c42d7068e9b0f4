"""Thinking in the members of several vendors becomes blocks, and comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors.canon import Reasoning
from burncloud.adaptors.chat.reasoning import own_members, read_details, read_reasoning, write_members
from burncloud.adaptors.fields import Fields


@pytest.mark.parametrize(
    "members",
    [
        {"reasoning_content": "why"},
        {"reasoning": "why"},
        {"reasoning": "why", "reasoning_details": [{"type": "reasoning.text", "text": "why", "format": "unknown"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "why", "signature": "s", "format": "x"}]},
    ],
)
def test_members_come_back_as_they_were(members: dict[str, Any]) -> None:
    fields = Fields({**members, "content": "so"})
    blocks = read_reasoning(fields)
    assert [block.text for block in blocks] == ["why"]
    assert own_members(blocks) == members
    assert fields.rest() == {"content": "so"}


def test_blocks_of_elsewhere_have_no_members_of_their_own() -> None:
    assert own_members([Reasoning("why", origin="messages")]) is None


@pytest.mark.parametrize(
    "blocks",
    [
        [Reasoning("why", [], "sig", origin="messages"), Reasoning("and", [], "sig2", origin="messages")],
        [Reasoning("", [], "", "redacted", origin="messages"), Reasoning("why", [], "sig", origin="messages")],
        [Reasoning("", ["one", "two"], "", "enc", "rs_1", "responses")],
        [Reasoning("", [], "", "enc", "rs_1", "responses"), Reasoning("", ["b"], "", "enc2", "rs_2", "responses")],
        [Reasoning("why", [], "sig", origin="gemini")],
        [Reasoning("why", [], "sig", origin="converse")],
    ],
)
def test_signatures_survive_a_client(blocks: list[Reasoning]) -> None:
    """An answer's thinking is sent back by the client and read again: each dialect gets its own back."""
    read = read_reasoning(Fields(write_members(blocks)))
    for block in read:
        block.said = None
    assert read == blocks


def test_text_alone_needs_no_details() -> None:
    assert write_members([Reasoning("a"), Reasoning("", ["b"])]) == {"reasoning_content": "a\n\nb"}


def test_pieces_of_one_text_are_put_together() -> None:
    """Some clients send back the pieces of a stream; only the first says whose they are."""
    pieces = [
        {"type": "reasoning.text", "text": "w", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "hy", "index": 0},
        {"type": "reasoning.text", "signature": "sig", "index": 0},
        "nonsense",
    ]
    assert read_details(pieces) == [Reasoning("why", [], "sig", origin="messages")]
