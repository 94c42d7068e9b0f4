"""Items and their parts as they are told."""

from __future__ import annotations

from burncloud.adaptors import canon
from burncloud.adaptors.responses.making import Output


def output(*, own: bool = False) -> Output:
    found = Output(canon.Losses(), None)
    found.own, found.made = own, "x"
    return found


def test_texts_in_a_row_are_one_message() -> None:
    made = output()
    blocks: list[canon.Block] = [canon.Text("a"), canon.Refusal("b"), canon.Text("")]
    for index, block in enumerate(blocks):
        made.open(index, block)
        made.close(index)
    made.end(complete=False)
    (item,) = made.items
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]
    assert (item["id"], item["status"], made.refused) == ("msg_x_0", "incomplete", True)


def test_its_own_messages_stay_apart() -> None:
    made = output(own=True)
    for index, key in enumerate(["msg_1", "msg_2"]):
        made.open(index, canon.Text("a", said={"id": key}))
        made.close(index)
    made.end(complete=True)
    assert [item["id"] for item in made.items] == ["msg_1", "msg_2"]


def test_thinking_without_anything_leaves_no_trace() -> None:
    made = output()
    assert made.open(0, canon.Reasoning(origin="messages")) + made.close(0) + made.end(complete=True) == b""
    assert made.items == []


def test_thinking_itself_and_summaries() -> None:
    made = output()
    for index, block in enumerate([canon.Reasoning("a", ["b", "c"], origin="responses"), canon.Reasoning("d")]):
        made.open(index, block)
        made.close(index)
    first, second = made.items
    assert [part["text"] for part in first["summary"]] == ["b", "c"]
    assert first["content"] == [{"type": "reasoning_text", "text": "a"}]
    assert second["summary"] == [{"type": "summary_text", "text": "d"}]
    assert "content" not in second


def test_a_signature_that_comes_after_its_call() -> None:
    made = output()
    made.open(0, canon.ToolCall("c", "f", ""))
    made.delta(canon.Delta(0, "{}", "sig"))
    made.close(0)
    assert [item["type"] for item in made.items] == ["function_call", "reasoning"]


def test_logprobs_have_bytes() -> None:
    made = output()
    made.open(0, canon.Text("hi"))
    made.delta(canon.Delta(0, "!", logprobs={"content": [{"token": "é", "logprob": -1, "bytes": None}]}))
    made.close(0)
    made.end(complete=True)
    part = made.items[0]["content"][0]
    assert part["text"] == "hi!"
    assert part["logprobs"] == [{"token": "é", "logprob": -1, "bytes": [195, 169], "top_logprobs": []}]


def test_what_cannot_be_said_is_named() -> None:
    losses = canon.Losses()
    made = Output(losses, None)
    made.open(0, canon.Document(canon.Source(text="x")))
    made.open(1, canon.Raw("gemini", {"type": "executable_code"}))
    made.open(2, canon.Image(canon.Source(url="https://x.test")))
    assert made.delta(canon.Delta(0, "x")) == b""
    assert losses.names() == ["document", "executable_code", "image_url"]
