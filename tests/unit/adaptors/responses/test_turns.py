"""The items of `input` as turns, and turns as items."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini import request as gemini
from burncloud.adaptors.responses.parts import Writing
from burncloud.adaptors.responses.request import read_request, write_request
from burncloud.adaptors.responses.turns import call_id_of, write_turns
from burncloud.errors import Refusal

ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be kind"}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
    {"type": "message", "role": "assistant", "id": "msg_1", "phase": "commentary", "status": "completed",
     "content": [{"type": "output_text", "text": "I look", "annotations": []}]},
    {"type": "message", "role": "assistant", "id": "msg_2", "status": "completed",
     "content": [{"type": "output_text", "text": "it up", "annotations": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "namespace": "n", "arguments": "{}"},
    {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "patch", "input": "+x"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "function_call_output", "call_id": "c1", "output": "1"},
    {"type": "custom_tool_call_output", "call_id": "c2",
     "output": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
    {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
    {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "now be brief"}]},
]  # fmt: skip


def read(items: Any, **rest: Any) -> canon.Request:
    return read_request(json.dumps({"model": "m", "input": items, **rest}).encode())


def test_there_and_back() -> None:
    request = read(ITEMS, instructions="be good")
    assert [turn.role for turn in request.turns] == ["user", "assistant", "user", "system"]
    assert [block.text for block in request.system if isinstance(block, canon.Text)] == ["be good", "be kind"]
    calls = [block for block in request.turns[1].blocks if isinstance(block, canon.ToolCall)]
    assert [(call.name, call.custom) for call in calls] == [("n__f", False), ("patch", True)]
    losses = canon.Losses()
    want = [{**item, "name": "n__f"} if item.get("name") == "f" else item for item in ITEMS]
    instructions, written = write_turns(request, Writing(losses, own=True))
    assert instructions == "be good"
    assert [{**item, "name": "n__f"} if item.get("name") == "f" else item for item in written] == want
    assert not losses


def test_for_another_vendor() -> None:
    losses = canon.Losses()
    request = read(ITEMS[:-1], instructions="be good")
    request.dialect = "chat"
    instructions, written = write_turns(request, Writing(losses, own=False, model="some-model"))
    assert instructions == "be good\n\nbe kind"
    assert [item["type"] for item in written] == [
        "message", "reasoning", "message", "function_call", "function_call", "function_call_output",
        "function_call_output",
    ]  # fmt: skip
    assert written[2]["content"] == "I lookit up"
    assert json.loads(written[4]["arguments"]) == {"input": "+x"}
    assert losses.names() == ["custom_tools", "mcp_approval_response", "web_search_call"]


@pytest.mark.parametrize(
    ("item", "why"),
    [({"id": "msg_1"}, "stored"), ({"type": "item_reference", "id": "x"}, "stored"), ({"type": "compaction"}, "read")],
)
def test_bound(item: dict[str, Any], why: str) -> None:
    assert why in read([item]).bound
    assert read("hi").bound == ""


@pytest.mark.parametrize(
    ("items", "where"),
    [
        (5, "input"),
        ([5], r"input\[0\]"),
        ([{"role": "tool", "content": "x"}], "role"),
        ([{"role": "user"}], "content"),
        ([{"type": "function_call", "name": "f"}], "call_id"),
        ([{"type": "function_call_output", "output": ""}], "call_id"),
    ],
)
def test_malformed(items: Any, where: str) -> None:
    with pytest.raises(Refusal, match=where):
        read(items)


def test_ids_of_calls() -> None:
    assert call_id_of("c") == "c"
    long = call_id_of("c" * 65)
    assert len(long) <= 64
    assert long == call_id_of("c" * 65) != call_id_of("c" * 66)


def test_results_find_their_calls() -> None:
    losses = canon.Losses()
    call = canon.ToolCall("c", "f", "")
    turns = [canon.Turn("assistant", [call]), canon.Turn("user", [canon.Text("so?")])]
    _, written = write_turns(canon.Request("m", turns), Writing(losses, own=False, model="gpt-5"))
    assert [item["type"] for item in written] == ["function_call", "function_call_output", "message"]
    assert written[0]["arguments"] == "{}"
    assert losses.names() == ["tool_results"]


def test_a_picture_that_was_drawn_earlier() -> None:
    """It goes back as it was; to Gemini as a picture of the model's."""
    item = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "iVBORw0KGgo="}
    body = {"model": "m", "input": [{"role": "user", "content": "draw"}, item, {"role": "user", "content": "again"}]}
    request = read_request(json.dumps(body).encode())
    losses = canon.Losses()
    assert json.loads(write_request(request, losses))["input"][1] == item
    told = json.loads(gemini.write_request(request, losses))["contents"]
    assert told[1] == {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}
    assert not losses, losses.names()
