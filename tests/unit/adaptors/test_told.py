"""What a client has been told of an answer that broke off."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.spoken import SPOKEN, Asked, StreamReader, StreamWriter
from burncloud.adaptors.told import CALL, TEXT, THOUGHT, Told, stand
from burncloud.adaptors.translation import read
from tests.speech import body_of, chat, delta
from tests.speech import event as sse


def told(*events: canon.Event) -> Told:
    made = Told()
    for event in events:
        made.note(event)
    return made


def stands(reader: StreamReader, delivered: list[bytes], writer: StreamWriter | None = None) -> Told:
    """All steps at once."""
    return counted(stand(reader, delivered, writer))[0]


def counted(steps: Generator[None, None, Told]) -> tuple[Told, int]:
    """What comes of them, and how many there were."""
    count = 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as end:
            told: Told = end.value
            return told, count


def test_blocks_in_their_order() -> None:
    """Texts put together, what is open, and the text that a model could go on from."""
    made = told(
        canon.Started("x", "m"), canon.Opened(0, canon.Reasoning("hm")), canon.Closed(0),
        canon.Opened(1, canon.Text("The ")), canon.Delta(1, "quick "), canon.Delta(1, "fox"),
    )  # fmt: skip
    assert [(part.kind, part.text, part.closed) for part in made.parts] == [
        (THOUGHT, "hm", True),
        (TEXT, "The quick fox", False),
    ]
    assert (made.prefix(), made.reason(), made.next_index, made.started) == ("The quick fox", "", 2, True)
    assert made.text_bytes == 2 + 13


def test_a_call_is_no_beginning() -> None:
    """It can only be told again."""
    made = told(canon.Opened(0, canon.ToolCall("id", "look", "")), canon.Delta(0, '{"a"'))
    assert [(part.kind, part.name, part.text) for part in made.answer] == [(CALL, "look", '{"a"')]
    assert (made.prefix(), made.reason()) == ("", "")


@pytest.mark.parametrize("events", [
    [canon.Opened(0, canon.Text(""), 1)],
    [canon.Opened(0, canon.Audio(canon.Source()))],
    [canon.Opened(0, canon.Raw("messages", {}))],
    [canon.Opened(0, canon.Reasoning("", signature="s"))],
    [canon.Opened(0, canon.Reasoning("", origin="messages"))],
    [canon.Opened(0, canon.Reasoning("")), canon.Delta(0, signature="s")],
    [canon.Opened(0, canon.Text("")), canon.Delta(0, "a", logprobs={})],
    [canon.Foreign("responses", {})],
    [canon.Stopped(canon.Stop("stop"))],
])  # fmt: skip
def test_what_nobody_can_go_on_with(events: list[canon.Event]) -> None:
    """And why."""
    assert told(*events).reason()


def test_responses_are_numbered_on() -> None:
    """Above the numbers of the upstream, whose events are not told as ours; an item without a word is nobody's."""
    asked = Asked(read("responses", body_of({"model": "gpt-4", "input": "Hi", "stream": True}), "gpt-4", True), "")
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "object": "response"}}
    added = {"type": "response.output_item.added", "sequence_number": 40, "output_index": 0, "item": item}
    text = {"type": "response.output_text.delta", "sequence_number": 70, "output_index": 0, "content_index": 0,
            "item_id": "msg_1", "delta": "Hi"}  # fmt: skip
    for events, reason in (((created, added, text), ""), ((created, added), "a block without a word")):
        writer = SPOKEN["responses"].writer(asked, canon.Losses())
        made = stands(SPOKEN["responses"].reader(asked), [b"".join(map(sse, events))], writer)
        assert made.reason() == reason
        if not reason:
            assert b'"sequence_number":71' in writer.write(canon.Delta(made.parts[0].index, " there"))


def test_a_writer_stands_where_the_client_stands() -> None:
    """Read from the delivered bytes: what it writes next has the same id, and no second beginning."""
    asked = Asked(read("chat", body_of(chat(stream=True)), "gpt-4", True), "")
    writer = SPOKEN["chat"].writer(asked, canon.Losses())
    made = stands(SPOKEN["chat"].reader(asked), [delta("", role="assistant") + delta("Hi")], writer)
    assert made.prefix() == "Hi"
    more = writer.write(canon.Delta(made.parts[0].index, " there"))
    assert b'"id":"chatcmpl-1"' in more
    assert b'"content":" there"' in more
    assert b"role" not in more


@pytest.mark.parametrize("size", [997, 20_000, 1 << 30])
def test_a_long_stream_is_read_in_slices(size: int) -> None:
    """Of whole lines, however long they are; nothing is lost on the way."""
    asked = Asked(read("chat", body_of(chat()), "gpt-4", True), "gpt-4")
    said = [f"word {n} " * (1 if n % 50 else 4000) for n in range(200)]
    stream = delta("", role="assistant") + b"".join(map(delta, said))
    blocks = [stream[pos : pos + size] for pos in range(0, len(stream), size)]
    made, count = counted(stand(SPOKEN["chat"].reader(asked), blocks, None))
    assert made.prefix() == "".join(said)
    assert count >= len(stream) / (80 << 10)
