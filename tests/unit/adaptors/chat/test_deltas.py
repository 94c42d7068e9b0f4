"""Deltas in every vendor's words, as blocks one after the other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Closed, Opened, Reasoning, Text
from burncloud.adaptors.chat.calls import Numbers
from burncloud.adaptors.chat.deltas import Choice, Delta

CLAUDE = {"type": "reasoning.text", "format": "anthropic-claude-v1"}


def say(*deltas: dict[str, Any]) -> list[canon.Event]:
    choice, found = Choice(0, "x", Numbers()), list[canon.Event]()
    for delta in deltas:
        choice.say(msgspec.convert(delta, Delta), found)
    choice.close(found)
    return found


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thinking_then_text(name: str) -> None:
    assert say({name: "why"}, {name: None, "content": "so"}, {"content": "!"}) == [
        Opened(0, Reasoning(origin="chat")), canon.Delta(0, "why"), Closed(0),
        Opened(1, Text("")), canon.Delta(1, "so"), canon.Delta(1, "!"), Closed(1),
    ]  # fmt: skip


def test_nothing_in_all_its_forms() -> None:
    empty = {
        "content": "", "refusal": "", "tool_calls": [], "audio": {"id": "", "data": ""}, "reasoning": "",
        "function_call": {"name": "", "arguments": ""}, "annotations": [], "images": [], "reasoning_details": [],
    }  # fmt: skip
    assert say(empty, {}) == []


def test_details_with_a_signature() -> None:
    assert say(
        {"reasoning": "why", "reasoning_details": [{**CLAUDE, "text": "why"}]},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "s"}]},
        {"reasoning": "and", "reasoning_details": [{**CLAUDE, "text": "and"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "format": "anthropic-claude-v1", "data": "d"}]},
    ) == [
        Opened(0, Reasoning(origin="messages")), canon.Delta(0, "why"), canon.Delta(0, "", "s"), Closed(0),
        Opened(1, Reasoning(origin="messages")), canon.Delta(1, "and"), Closed(1),
        Opened(2, Reasoning(origin="messages")), canon.Delta(2, "", "", "d"), Closed(2),
    ]  # fmt: skip


def test_details_of_gemini_and_openai() -> None:
    gemini = say({"reasoning_details": [{"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "d"}]})
    assert gemini[1] == canon.Delta(0, "", "d")
    detail = {"type": "reasoning.encrypted", "format": "openai-responses-v1", "data": "d", "id": "rs_1"}
    openai = say({"reasoning_details": [detail]})
    assert openai[:2] == [Opened(0, Reasoning(id="rs_1", origin="responses")), canon.Delta(0, "", "", "d")]


def test_details_without_anything_new() -> None:
    assert say({"reasoning": "why", "reasoning_details": ["x", {"type": "reasoning.text"}]})[1] == canon.Delta(0, "why")


def test_content_in_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]}
    events = say({"content": [thinking, {"type": "text", "text": "so"}, {"type": "reference", "ids": [1]}, "x"]})
    assert [event.text for event in events if isinstance(event, canon.Delta)] == ["why", "so"]
    assert [event.value["type"] for event in events if isinstance(event, canon.Foreign)] == ["reference"]
    assert say({"content": {"a": 1}})[1] == canon.Delta(0, '{"a":1}')


def test_refusal_audio_images_annotations() -> None:
    link = {"type": "url_citation", "url_citation": {"url": "u"}}
    events = say(
        {"refusal": "no"},
        {"audio": {"id": "a"}}, {"audio": {"data": "AA", "transcript": "hi"}}, {"audio": {"expires_at": 5}},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}, "x"]},
        {"annotations": [link, {"type": "file"}]},
    )  # fmt: skip
    assert events == [
        Opened(0, canon.Refusal("")), canon.Delta(0, "no"), Closed(0),
        Opened(1, canon.Audio(canon.Source(), id="a")), canon.Delta(1, "AA", transcript="hi"), Closed(1),
        Opened(2, canon.Image(canon.Source("image/png", "AA"))), Closed(2),
        Opened(3, Text("")), canon.Delta(3, citation=link),
        canon.Foreign("chat", {"type": "annotations", "delta": {"annotations": [{"type": "file"}]}}), Closed(3),
    ]  # fmt: skip


def test_text_closes_calls_and_calls_close_text() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    events = say({"content": "x"}, {"tool_calls": [call]}, {"content": "y"})
    assert [type(event).__name__ for event in events] == ["Opened", "Delta", "Closed"] * 3
    assert say({"function_call": {"name": "f"}}, {"function_call": {"arguments": "{}"}})[0] == Opened(
        0, canon.ToolCall("call_x_0", "f", "")
    )


def test_signatures_of_geminis_door() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    assert say(signed)[:2] == [Opened(0, Reasoning(origin="gemini")), canon.Delta(0, "", "s")]
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    opened = say({**signed, "tool_calls": [call]})[0]
    assert opened == Opened(0, canon.ToolCall("a", "f", "", "s"))
