"""Reasoning items: OpenAI's own as they are, other vendors' in an envelope and back."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.responses.parts import Writing
from burncloud.adaptors.responses.reasoning import (
    carried,
    carried_call,
    item,
    read_reasoning,
    with_signatures,
    write_reasoning,
)

ITEM: dict[str, Any] = {
    "type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a"}], "encrypted_content": "e",
    "content": [{"type": "reasoning_text", "text": "t"}], "status": "completed",
}  # fmt: skip


def test_its_own() -> None:
    block = read_reasoning(Fields(ITEM))
    assert (block.text, block.summary, block.encrypted, block.id, block.origin) == (
        "t",
        ["a"],
        "e",
        "rs_1",
        "responses",
    )
    assert write_reasoning(block, Writing(canon.Losses(), own=True)) == ITEM
    assert carried(block) == "e"
    losses = canon.Losses()
    written = write_reasoning(block, Writing(losses, own=False, model="gpt-5"))
    assert written == {name: value for name, value in ITEM.items() if name != "status"}
    assert not losses


@pytest.mark.parametrize(
    "block",
    [
        canon.Reasoning("thought", signature="s", origin="messages"),
        canon.Reasoning(encrypted="redacted", origin="messages"),
        canon.Reasoning("thought", signature="s", origin="gemini"),
        canon.Reasoning("thought", encrypted="e", id="i", origin="converse"),
    ],
)
def test_others_in_an_envelope(block: canon.Reasoning) -> None:
    back = read_reasoning(
        Fields(item("rs_9", ["something else"] if block.signature else [block.text], "", carried(block)))
    )
    assert (back.signature, back.encrypted, back.origin) == (block.signature, block.encrypted, block.origin)
    assert back.text == block.text


def test_nothing_to_carry() -> None:
    assert carried(canon.Reasoning("shown only", origin="chat")) == ""


def test_the_signature_of_a_call() -> None:
    call = canon.ToolCall("c1", "f", "{}")
    carrier = read_reasoning(Fields(item("", [], "", carried_call(canon.ToolCall("c1", "f", "{}", "sig")))))
    turns = [canon.Turn("assistant", [carrier, call])]
    with_signatures(turns)
    assert turns[0].blocks == [canon.ToolCall("c1", "f", "{}", "sig")]


def test_openrouter_names_the_origin() -> None:
    block = read_reasoning(Fields({"type": "reasoning", "encrypted_content": "s", "format": "google-gemini-v1"}))
    assert (block.origin, block.signature, block.encrypted) == ("gemini", "s", "")


@pytest.mark.parametrize(
    ("model", "shown", "lost"),
    [("gpt-5", False, ["thinking", "thinking_signature"]), ("deepseek-chat", True, ["thinking_signature"])],
)
def test_foreign_thinking_in_a_request(model: str, shown: bool, lost: list[str]) -> None:
    losses = canon.Losses()
    block = canon.Reasoning("thought", signature="s", origin="messages")
    written = write_reasoning(block, Writing(losses, own=False, model=model))
    assert (written is not None, losses.names()) == (shown, lost)
