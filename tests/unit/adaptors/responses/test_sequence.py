"""What events say, as blocks one after the other."""

from __future__ import annotations

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Closed, Delta, Event, Opened
from burncloud.adaptors.responses.sequence import Sequence


def test_a_text_that_goes_on_after_its_end() -> None:
    sequence, found = Sequence(), list[Event]()
    item = sequence.add({"type": "message", "id": "msg_1"}, found)
    sequence.text(sequence.content(item, 0, canon.Text, found), "a", found)
    other = sequence.add({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f"}, found)
    sequence.end(other.blocks[0], found)
    sequence.text(sequence.content(item, 0, canon.Text, found), "b", found)
    sequence.end_all(found)
    assert [type(event) for event in found] == [Opened, Delta, Closed, Opened, Closed, Opened, Delta, Closed]
    assert sequence.called


def test_nothing_is_told_twice() -> None:
    sequence, found = Sequence(), list[Event]()
    item = sequence.add({"type": "message", "id": "msg_1"}, found)
    part = {"type": "output_text", "text": "abc", "annotations": [{"type": "url_citation", "url": "u"}]}
    sequence.text(sequence.content(item, 0, canon.Text, found), "a", found)
    sequence.part(item, 0, part, found)
    sequence.finish(item, {"type": "message", "content": [part]}, found)
    deltas = [event for event in found if isinstance(event, Delta)]
    assert [(delta.text, delta.citation) for delta in deltas] == [
        ("a", None), ("bc", None), ("", part["annotations"][0]),
    ]  # fmt: skip


def test_several_summaries() -> None:
    sequence, found = Sequence(), list[Event]()
    item = sequence.add({"type": "reasoning", "id": "rs_1"}, found)
    sequence.summary(item, 0, "a", found)
    sequence.summary(item, 1, "b", found)
    texts = [{"type": "summary_text", "text": text} for text in ("a", "bc")]
    sequence.finish(item, {"type": "reasoning", "summary": texts, "encrypted_content": "e"}, found)
    deltas = [(event.text, event.part, event.encrypted) for event in found if isinstance(event, Delta)]
    assert deltas == [("a", False, ""), ("\n\n", True, ""), ("b", False, ""), ("c", False, ""), ("", False, "e")]


def test_annotations_that_are_no_links() -> None:
    sequence, found = Sequence(), list[Event]()
    item = sequence.add({"type": "message"}, found)
    note = {"type": "file_citation", "file_id": "f"}
    sequence.cite(sequence.content(item, 0, canon.Text, found), note, found)
    assert found[-1] == canon.Foreign("responses", {"type": "annotations", "annotation": note})
