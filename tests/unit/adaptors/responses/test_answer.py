"""Plain answers, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.responses.answer import read_answer, read_failure, write_answer, write_failure
from burncloud.domain.usage import Usage

BODY: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 5, "status": "completed", "model": "m", "tools": [],
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "final_answer",
         "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": [
             {"token": "hi", "logprob": -1, "bytes": [104, 105], "top_logprobs": []}]}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ],
    "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "cost": 4}, "billing": {"payer": "x"},
}  # fmt: skip


def test_there_and_back() -> None:
    losses = canon.Losses()
    answer = read_answer(json.dumps(BODY).encode())
    body = json.loads(write_answer(answer, losses))
    assert not losses
    assert body["output"] == BODY["output"]
    assert (body["id"], body["created_at"], body["billing"], body["usage"]["cost"]) == ("resp_1", 5, {"payer": "x"}, 4)


def test_what_it_means() -> None:
    answer = read_answer(json.dumps(BODY).encode())
    choice = answer.choices[0]
    assert [type(block) for block in choice.blocks] == [canon.Reasoning, canon.Text, canon.ToolCall, canon.Raw]
    assert choice.stop == canon.Stop("tool", "completed")
    assert choice.logprobs is not None
    assert (answer.usage, answer.extra) == (Usage(1, 2), {"billing": {"payer": "x"}, "usage.cost": 4})


def test_of_another_dialect() -> None:
    blocks: list[canon.Block] = [
        canon.Reasoning("thought", signature="s", origin="messages"),
        canon.Text("hi", [{"type": "web_search_result_location", "url": "u", "title": "t"}]),
        canon.Text(" there"),
        canon.ToolCall("c", "f", "", "g"),
        canon.Image(canon.Source("image/png", "AAAA")),
        canon.Raw("messages", {"type": "server_tool_use"}),
    ]
    losses = canon.Losses()
    choice = canon.Choice(blocks, canon.Stop("tool"))
    body = json.loads(write_answer(canon.Answer("msg_1", "m", [choice], Usage(1, 2), dialect="messages"), losses))
    kinds = [item["type"] for item in body["output"]]
    assert kinds == ["reasoning", "message", "reasoning", "function_call", "image_generation_call"]
    assert body["id"] == "resp_msg_1"
    assert body["output"][0]["summary"] == [{"type": "summary_text", "text": "thought"}]
    assert [part["text"] for part in body["output"][1]["content"]] == ["hi", " there"]
    assert body["output"][1]["content"][0]["annotations"][0]["end_index"] == 2
    assert body["output"][3]["arguments"] == "{}"
    assert losses.names() == ["server_tool_use"]
    assert body["store"] is False


def test_several_choices() -> None:
    losses = canon.Losses()
    choices = [canon.Choice([canon.Text("a")]), canon.Choice([canon.Text("b")])]
    assert b'"b"' not in write_answer(canon.Answer("x", "m", choices), losses)
    assert losses.names() == ["n"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"x", "JSON"),
        (b"[]", "no response"),
        (b'{"choices":[]}', "no response"),
        (b'{"output":[5]}', "malformed"),
        (b'{"output":[],"status":"failed","error":{"code":"server_error","message":"oh no"}}', "oh no"),
    ],
)
def test_unreadable(body: bytes, said: str) -> None:
    with pytest.raises(canon.Unreadable, match=said):
        read_answer(body)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        read_answer(body)


def test_failures() -> None:
    failure = read_failure(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}')
    assert failure == canon.Failure(429, "slow down", "rate_limit_error")
    assert json.loads(write_failure(failure))["error"]["message"] == "slow down"


@pytest.mark.parametrize("given", [False, {"a": 1}, 5, "x"])
def test_logprobs_that_are_no_list_stay_as_they_are(given: Any) -> None:
    content = [{"type": "output_text", "text": "yes", "annotations": [], "logprobs": given}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    answer = read_answer(json.dumps({"id": "r", "status": "completed", "output": [item]}).encode())
    assert answer.choices[0].logprobs is None
    (block,) = answer.choices[0].blocks
    assert isinstance(block, canon.Text)
    assert block.text == "yes"
