"""Messages become turns and come back; results stand right behind their calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Losses, Request, Text, ToolCall, ToolResult, Turn
from burncloud.adaptors.chat.blocks import Writing
from burncloud.adaptors.chat.turns import (
    NO_RESULT,
    read_said,
    read_turns,
    with_results,
    write_call,
    write_said,
    write_turns,
)
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.messages import request as messages
from burncloud.errors import Refusal

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "sig"}}}


def read(*messages: Any) -> Request:
    request = Request("m", [], dialect="chat")
    read_turns(Fields({"messages": list(messages)}), request)
    return request


def write(request: Request, model: str = "m", dialect: str = "chat") -> tuple[list[dict[str, Any]], list[str]]:
    losses = Losses()
    request.dialect = dialect
    return write_turns(request, Writing(losses, own=dialect == "chat", model=model)), losses.names()


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        [{"role": "developer", "content": "d"}, {"role": "user", "content": "u", "name": "joe"}],
        [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}, {"role": "user", "content": "u"}],
        [{"role": "user", "content": "u"}, {"role": "developer", "content": "d"}],
        [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": None, "tool_calls": [SIGNED], "reasoning_content": "why"},
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
            {"role": "user", "content": "v"},
        ],
        [
            {"role": "assistant", "content": "x", "refusal": "no", "prefix": True},
            {"role": "assistant", "content": "y", "audio": {"id": "a1"}},
        ],
        [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "r"},
        ],
        [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x y"}}
        ]}],
    ],
)  # fmt: skip
def test_there_and_back(messages: list[dict[str, Any]]) -> None:
    assert write(read(*messages)) == (messages, [])


def test_results_stand_in_a_turn_of_the_user() -> None:
    request = read(
        {"role": "user", "content": "u"},
        {"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "content": "2"},
        {"role": "user", "content": "v"},
    )
    assert [turn.role for turn in request.turns] == ["user", "assistant", "user", "user"]
    results = request.turns[2].blocks
    assert [block.call_id for block in results if isinstance(block, ToolResult)] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (5, r"messages\[0\] must be an object"),
        ({}, r"messages\[0\].role must be given"),
        ({"role": "robot"}, r"messages\[0\].role must be system"),
        ({"role": "user"}, r"messages\[0\].content must be given"),
        ({"role": "assistant", "tool_calls": [{"id": "x"}]}, r"messages\[0\].tool_calls\[0\].function must be given"),
    ],
)
def test_malformed(message: Any, error: str) -> None:
    with pytest.raises(Refusal, match=error):
        read(message)


def test_no_messages() -> None:
    with pytest.raises(Refusal, match="at least one"):
        read()


def test_a_tool_with_a_picture_for_another_vendor() -> None:
    image = canon.Image(canon.Source("image/png", "AA"))
    result = ToolResult("c1", [Text("see"), image], is_error=True)
    turns = [Turn("assistant", [ToolCall("c1", "f", "")]), Turn("user", [result, Text("and?")])]
    messages, losses = write(Request("m", turns), "gpt-4o", "messages")
    assert [message["role"] for message in messages] == ["assistant", "tool", "user"]
    assert messages[0]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert messages[1]["content"] == "see"
    assert [part["type"] for part in messages[2]["content"]] == ["text", "image_url", "text"]
    assert losses == ["tool_error", "tool_result_media"]


def test_system_messages_for_other_vendors() -> None:
    turns = [Turn("user", [Text("u")]), Turn("developer", [Text("d")])]
    request = Request("m", turns, system=[Text("a"), Text("b")])
    assert [message["role"] for message in write(request, "gpt-5", "responses")[0]] == ["system", "user", "developer"]
    messages, losses = write(request, "llama", "responses")
    assert messages[0] == {"role": "system", "content": "a\n\nb"}
    assert messages[2]["role"] == "system"
    assert not losses


def test_mistral_takes_no_user_right_after_a_tool() -> None:
    turns = [Turn("assistant", [ToolCall("c1", "f", "{}")]), Turn("user", [ToolResult("c1", [Text("r")], name="f")])]
    messages, _ = write(Request("m", [*turns, Turn("user", [Text("u")])]), "mistral-large", "messages")
    assert [message["role"] for message in messages] == ["assistant", "tool", "assistant", "user"]
    assert messages[1]["tool_call_id"] == messages[0]["tool_calls"][0]["id"]


@pytest.mark.parametrize(
    ("model", "members", "losses"),
    [
        ("gpt-4o", {}, ["thinking", "thinking_signature"]),
        ("deepseek-chat", {"reasoning_content": "why"}, ["thinking_signature"]),
        ("gpt-oss-20b", {"reasoning": "why"}, ["thinking_signature"]),
        (
            "anthropic/claude-sonnet-4",
            {"reasoning": "why", "reasoning_details": [{
                "type": "reasoning.text", "text": "why", "signature": "s", "format": "anthropic-claude-v1", "index": 0,
            }]},
            [],
        ),
    ],
)  # fmt: skip
def test_earlier_thinking(model: str, members: dict[str, Any], losses: list[str]) -> None:
    turn = Turn("assistant", [canon.Reasoning("why", [], "s", origin="messages"), Text("so")])
    messages, found = write(Request("m", [turn]), model, "messages")
    assert messages == [{"role": "assistant", "content": "so", **members}]
    assert found == losses


def test_results_are_put_behind_their_calls() -> None:
    losses = Losses()
    turns = [
        Turn("user", [ToolResult("lost", [Text("whose?")])]),
        Turn("assistant", [ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")]),
        Turn("user", [Text("wait")]),
        Turn("user", [ToolResult("a", [Text("1")])]),
        Turn("assistant", [Text("so")]),
    ]
    found = with_results(turns, losses)
    assert [turn.role for turn in found] == ["user", "assistant", "user", "user", "assistant"]
    assert found[0].blocks == [Text("whose?")]
    assert found[2].blocks == [ToolResult("a", [Text("1")]), ToolResult("b", [Text(NO_RESULT)])]
    assert found[3].blocks == [Text("wait")]
    assert losses.names() == ["tool_results"]
    assert type(turns[0].blocks[0]) is ToolResult


def test_the_same_ids_again_and_again() -> None:
    """Some vendors count their calls from 0 in every turn."""
    turns = [
        part
        for said in ("1", "2")
        for part in (Turn("assistant", [ToolCall("0", "f", "{}")]), Turn("user", [ToolResult("0", [Text(said)])]))
    ]
    losses = Losses()
    assert with_results(turns, losses) is turns
    shuffled = with_results([Turn("user", [ToolResult("x", [])]), *turns], losses)
    assert [block.blocks for turn in shuffled for block in turn.blocks if isinstance(block, ToolResult)] == [
        [Text("1")], [Text("2")],
    ]  # fmt: skip


def test_what_an_assistant_says() -> None:
    link = {"type": "url_citation", "url_citation": {"url": "u", "title": "", "start_index": 0, "end_index": 1}}
    message = {
        "content": "a", "annotations": [link, {"type": "file"}],
        "images": [{"image_url": {"url": "data:image/png;base64,A"}}],
        "audio": {"id": "", "data": ""}, "function_call": {"name": "", "arguments": ""},
        "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}, "custom": {"name": ""}}],
    }  # fmt: skip
    fields = Fields(message)
    blocks = read_said(fields, "id")
    assert blocks == [
        Text("a", [link]), canon.Image(canon.Source("image/png", "A")), ToolCall("call_id_0", "f", '{"x":1}'),
    ]  # fmt: skip
    assert fields.rest() == {"annotations": [{"type": "file"}]}


def test_a_signature_of_the_whole_message() -> None:
    """Gemini's door signs the message; with a call, the signature is the call's."""
    signed: dict[str, Any] = {"content": "a", "extra_content": {"google": {"thought_signature": "s"}}}
    assert read_said(Fields(signed), "")[0] == canon.Reasoning(
        signature="s", origin="gemini", said={"extra_content": {"google": {"thought_signature": "s"}}}
    )
    call = read_said(Fields({**signed, "tool_calls": [CALL]}), "")[1]
    assert isinstance(call, ToolCall)
    assert call.signature == "s"


def test_an_answer_of_elsewhere() -> None:
    losses = Losses()
    blocks: list[canon.Block] = [
        canon.Reasoning("why", [], "s", origin="messages"),
        Text("ab", [{"type": "web_search_result_location", "url": "u", "title": "t"}]),
        Text("cd", [{"type": "char_location"}]),
        canon.Refusal("no"),
        canon.Audio(canon.Source(data="AA"), "hi"),
        canon.Raw("messages", {"type": "server_tool_use"}),
    ]
    said = write_said(blocks, Writing(losses, own=False, answer=True))
    assert said["content"] == "abcd"
    assert said["annotations"][0]["url_citation"]["end_index"] == 2
    assert said["refusal"] == "no"
    assert said["audio"]["transcript"] == "hi"
    assert said["reasoning_content"] == "why"
    assert said["reasoning_details"][0]["signature"] == "s"
    assert losses.names() == ["citations", "server_tool_use"]


def test_custom_calls_for_those_who_have_none() -> None:
    losses = Losses()
    call = write_call(ToolCall("c", "patch", "a b", custom=True), Writing(losses, own=False, model="llama"))
    assert call["function"]["arguments"] == '{"input":"a b"}'
    assert losses.names() == ["custom_tools"]


def test_thinking_of_claude_goes_through_a_chat_client_without_a_loss() -> None:
    """What an answer told is sent back, and Messages writes it with its signature."""
    thought = canon.Reasoning("why", [], "sig", origin="messages")
    told = write_said([thought, ToolCall("c1", "f", "{}")], Writing(Losses(), own=False, answer=True))
    request = read({"role": "user", "content": "u"}, {"role": "assistant", **told}, {"role": "tool", "content": "r"})
    request.model, losses = "claude-sonnet-4-5", Losses()
    content = json.loads(messages.write_request(request, losses))["messages"][1]["content"]
    assert content[0] == {"type": "thinking", "thinking": "why", "signature": "sig"}
    assert not losses
