"""The order of contents, and the signatures on calls."""

from __future__ import annotations

from typing import Any

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.blocks import Writing
from burncloud.adaptors.gemini.names import Names
from burncloud.adaptors.gemini.turns import DUMMY_SIGNATURE, own_contents, read_contents, write_contents


def call(key: str, name: str = "f", signature: str = "") -> canon.ToolCall:
    return canon.ToolCall(key, name, '{"a":1}', signature)


def result(key: str, text: str = "ok") -> canon.ToolResult:
    return canon.ToolResult(key, [canon.Text(text)])


def contents(turns: list[canon.Turn], model: str = "gemini-3-flash-preview") -> tuple[list[dict[str, Any]], list[str]]:
    losses = canon.Losses()
    request = canon.Request(model, turns, dialect="chat")
    return write_contents(request, Writing(losses, own=False, model=model)), losses.names()


TURNS = [
    canon.Turn("user", [canon.Text("one")]),
    canon.Turn("assistant", [call("c1")]),
    canon.Turn("user", [result("c1")]),
    canon.Turn("assistant", [canon.Text("done")]),
    canon.Turn("user", [canon.Text("two")]),
    canon.Turn("assistant", [call("c2", "g"), call("c3", "h")]),
    canon.Turn("user", [result("c3"), result("c2", '{"n":2}')]),
]


def test_results_stand_in_the_order_of_their_calls() -> None:
    found, losses = contents(TURNS)
    assert [content["role"] for content in found] == ["user", "model", "user", "model", "user", "model", "user"]
    answers = [part["functionResponse"] for part in found[-1]["parts"]]
    assert answers == [
        {"id": "c2", "name": "g", "response": {"n": 2}},
        {"id": "c3", "name": "h", "response": {"output": "ok"}},
    ]
    assert losses == []


def test_only_the_first_call_of_the_current_turn_gets_the_dummy() -> None:
    found, _ = contents(TURNS)
    signatures = [part.get("thoughtSignature") for content in found for part in content["parts"]]
    assert signatures == [None, None, None, None, None, DUMMY_SIGNATURE, None, None, None]
    older, _ = contents(TURNS, "gemini-2.5-flash")
    assert DUMMY_SIGNATURE not in str(older)


def test_a_real_signature_stays() -> None:
    turns = [canon.Turn("user", [canon.Text("x")]), canon.Turn("assistant", [call("c", signature="REAL")])]
    found, _ = contents([*turns, canon.Turn("user", [result("c")])])
    assert found[1]["parts"][0]["thoughtSignature"] == "REAL"


def test_an_assistant_that_speaks_first_and_a_late_system_text() -> None:
    turns = [
        canon.Turn("assistant", [canon.Text("Hi")]),
        canon.Turn("system", [canon.Text("Be brief")]),
        canon.Turn("user", [canon.Text("x")]),
    ]
    found, losses = contents(turns)
    assert [content["role"] for content in found] == ["user", "model", "user"]
    assert found[2]["parts"] == [{"text": "<system>Be brief</system>"}, {"text": "x"}]
    assert losses == ["first_turn", "mid_conversation_system"]


def test_calls_without_ids_get_some_and_lose_them_again() -> None:
    body = [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": name, "args": {}}} for name in ("f", "g", "f")]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": name, "response": {"result": str(at)}}} for at, name in enumerate("fgf")
        ]},
    ]  # fmt: skip
    request = canon.Request("m", [], dialect="gemini")
    read_contents(Names({"contents": body}), request)
    calls = [block.id for block in request.turns[1].blocks if isinstance(block, canon.ToolCall)]
    assert calls == ["gcall_0", "gcall_1", "gcall_2"]
    assert [block.call_id for block in request.turns[2].blocks if isinstance(block, canon.ToolResult)] == calls
    assert own_contents(request, Writing(canon.Losses(), own=True)) == body


def test_foreign_thinking_does_not_go_back_to_gemini() -> None:
    thought = canon.Reasoning("hm", signature="sig", origin="messages")
    turns = [
        canon.Turn("user", [canon.Text("x")]),
        canon.Turn("assistant", [thought, call("c")]),
        canon.Turn("user", [result("c")]),
    ]
    losses = canon.Losses()
    model = "gemini-3-pro-preview"
    request = canon.Request(model, turns, dialect="gemini")
    found = own_contents(request, Writing(losses, own=True, model=model))
    assert found[1]["parts"][0] == {"text": "hm", "thought": True}
    assert found[1]["parts"][1]["thoughtSignature"] == DUMMY_SIGNATURE
    assert losses.names() == ["thinking_signature"]
